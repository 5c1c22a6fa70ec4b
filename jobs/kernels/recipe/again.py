"""What will be taken again, and what for the first time: one ranking of both, for shops that re-buy.

A ranker is taught by what became, after inner cuts, of every owned item (described by the user's habit with it) and of
some sources' first new ones; it says which places go to which owned items. The others go to the recipe's slates, in
their order. It ships only where, on later cuts than it learned from, it beat personal frequency (hard to beat: Li et
al. 2023, A Next Basket Recommendation Reality Check) and new items only.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jobs.kernels.recipe.candidates import Slice, candidates
from jobs.kernels.recipe.choose import FEWEST_USERS, JUDGES, low_mean
from jobs.kernels.recipe.describe import ITEM_NAMES, USER_NAMES, describe_users
from jobs.kernels.recipe.grid import Setting
from jobs.kernels.recipe.habits import CELL_NAMES, OF_ITEM_NAMES, OF_USER_NAMES, Habits, baskets_of, habits
from jobs.kernels.recipe.labels import Events, label, sample, taken_after
from jobs.kernels.recipe.model import Model, fit_model
from jobs.kernels.recipe.past import Past
from jobs.kernels.recipe.people import DAY_S
from jobs.kernels.recipe.ranker import Labeled, fit_rankers, ndcg, order, predict
from jobs.kernels.recipe.recommend import CUTS, FEWEST_TAKEN, SLICE_USERS, USERS_AT_ONCE, Slates

SOURCES = ("bm25", "walk_fading", "baskets")  # the quick ones: new items need a level here, not the best order
NEW_PLACES = 10  # of each source
MEMBERS = ({"seed": 1, "num_leaves": 15},)
SIMPLE = ("habit", "new")
RECENT_DAYS = 30  # in which events count for the popularity that orders items of equal frequency
TIES = 1e-9  # of that popularity beside a count
OWNED = "owned"


@dataclass(frozen=True)
class Again:
    """``items`` ``(n_users, n)`` padded with -1; what ranked them; and each form's mean NDCG@10 over judging users."""

    items: np.ndarray
    form: str
    judged: dict[str, float]

    def __str__(self) -> str:
        means = ", ".join(f"{form} {value:.3f}" for form, value in self.judged.items())
        return f"owned and new ranked by {self.form}" + (f" (judged: {means})" if means else "; nobody takes again")


def again(events: Events, users: np.ndarray, slates: Slates, seed: int = 0) -> Again:
    """The best items of each of ``users``, owned or not, after the positive events given.

    ``slates`` are those that ``recommend`` made of the same events for the same users: they say how long a list is,
    which settings the sources have, and in which order new items come. Where nobody takes anything again they are the
    answer, at no cost; else it is a fit of the quick sources at six cuts.
    """
    events, known_users, known_items = events.dense()
    chosen = {name: setting for name, setting in slates.recipe.chosen.items() if name in SOURCES}
    parts = [part for share in CUTS if (part := labeled(events, share, chosen, seed)) is not None]
    form, judged = chosen_form(parts)
    if form == "new":
        return Again(slates.items, form, judged)
    past, asked = events.past(), np.searchsorted(known_users, users)
    n = slates.items.shape[1]
    found = by_habit(past, asked, n) if form == "habit" else by_model(parts, chosen, past, asked, n)
    owned = np.isin(asked[:, None].astype(np.int64) * past.n_items + found, past.cell_key) & (found >= 0)
    return Again(woven(known_items[found], owned, slates.items), form, judged)


def labeled(events: Events, share: float, chosen: Mapping[str, Setting], seed: int) -> Labeled | None:
    """Owned items and new candidates at a cut with what became of them; None where too little was taken again."""
    cut_s = events.at(share)
    past = events.past(events.time_s < cut_s)
    future = taken_after(events, past, cut_s)
    if np.isin(future.cell_key, past.cell_key).sum() <= FEWEST_TAKEN:
        return None
    users = sample(future.users, SLICE_USERS, seed)
    part = rows(fit_model(chosen, past, cut_s), past, habits(past), users)
    return part, label(part, future)


def rows(model: Model, past: Past, known: Habits, users: np.ndarray) -> Slice:
    """All owned items of ``users`` (rising) and the first new ones of every source; what one kind lacks is NaN."""
    new = candidates(model, past, users)
    near = np.flatnonzero(new.column("rank_best") < np.log2(NEW_PLACES + 0.5))
    cells = np.flatnonzero(np.isin(past.cell_user, users))
    owner = np.searchsorted(users, past.cell_user[cells])
    user, item = np.r_[new.user[near], owner], np.r_[new.item[near], past.cell_item[cells]]
    habit = np.full((len(user), len(CELL_NAMES)), np.nan, np.float32)
    habit[len(near) :] = known.cells[cells]
    owned = np.arange(len(user)) >= len(near)
    shared = np.vstack([new.features[near], described(new.names, model, past, cells)])
    features = np.column_stack([shared, habit, known.items[item], known.users[users[user]], owned]).astype(np.float32)
    names = (*new.names, *CELL_NAMES, *OF_ITEM_NAMES, *OF_USER_NAMES, OWNED)
    by_user = np.lexsort((item, user))
    return Slice(new.cut_s, users, user[by_user], item[by_user], features[by_user], names)


def described(names: tuple[str, ...], model: Model, past: Past, cells: np.ndarray) -> np.ndarray:
    """Owned cells under the columns of candidates: items and users described, sources' columns NaN."""
    found = np.full((len(cells), len(names)), np.nan, np.float32)
    at_item, at_user = names.index(ITEM_NAMES[0]), names.index(USER_NAMES[0])
    people = describe_users(past, model.items, model.cut_s)
    found[:, at_item : at_item + len(ITEM_NAMES)] = model.items[past.cell_item[cells]]
    found[:, at_user : at_user + len(USER_NAMES)] = people[past.cell_user[cells]]
    return found


def chosen_form(parts: list[Labeled]) -> tuple[str, dict[str, float]]:
    """The model where it surely beats the better simple form on the latest cuts; else that one; ``parts`` rising."""
    if not parts:
        return "new", {}
    early, late = parts[:-JUDGES], parts[-JUDGES:]
    scores = [simple_scores(part) for part, _ in late]
    rankers = fit_rankers(early, before_s=late[0][0].cut_s, members=MEMBERS) if early else []
    if rankers:
        scores = [one | {"model": predict(rankers, part)} for one, (part, _) in zip(scores, late, strict=True)]
    judged = {
        form: np.concatenate([ndcg(*part, one[form]) for one, part in zip(scores, late, strict=True)])
        for form in scores[0]
    }
    means = {form: float(values.mean()) for form, values in judged.items()}
    simple = max(SIMPLE, key=means.get)
    gain = judged.get("model", judged[simple]) - judged[simple]
    return ("model" if len(gain) >= FEWEST_USERS and low_mean(gain) > 0 else simple), means


def simple_scores(part: Slice) -> dict[str, np.ndarray]:
    """Personal frequency before recent popularity; and new items only, by their mean place in the sources."""
    owned = part.column(OWNED) > 0
    habit = np.where(owned, part.column("n_baskets"), 0) + TIES * part.column("popularity_30")
    return {"habit": habit, "new": np.where(owned, -np.inf, -part.column("rank_mean"))}


def by_habit(past: Past, users: np.ndarray, n: int) -> np.ndarray:
    """Owned items by the number of baskets with them, of equals the more popular lately; ``(n_users, n)``."""
    cells = np.flatnonzero(np.isin(past.cell_user, users))
    n_baskets = np.bincount(baskets_of(past).cell, minlength=len(past.cell_key))[cells]
    recent = past.time_s >= past.now - RECENT_DAYS * DAY_S
    popularity = np.bincount(past.item[recent], minlength=past.n_items) + 1e-6 * past.item_users
    user, item = np.searchsorted(users, past.cell_user[cells]), past.cell_item[cells]
    part = Slice(past.now, users, user, item, np.empty((len(cells), 0), np.float32), ())
    return first_places(part, n_baskets + TIES * popularity[item] / popularity.max(), n)


def by_model(parts: list[Labeled], chosen: Mapping[str, Setting], past: Past, users: np.ndarray, n: int) -> np.ndarray:
    """Taught by all parts, fitted on everything known; ``(n_users, n)``."""
    rankers, model, known = fit_rankers(parts, members=MEMBERS), fit_model(chosen, past, past.now), habits(past)
    found = [np.empty((0, n), np.int64)]
    for start in range(0, len(users), USERS_AT_ONCE):
        part = rows(model, past, known, users[start : start + USERS_AT_ONCE])
        found.append(first_places(part, predict(rankers, part), n))
    return np.concatenate(found)


def first_places(part: Slice, scores: np.ndarray, n: int) -> np.ndarray:
    """Of each user the ``n`` items with the highest scores, padded with -1."""
    items = np.full((len(part.users), n), -1, np.int64)
    best, places = order(part, scores)
    best, places = best[places < n], places[places < n]
    items[part.user[best], places] = part.item[best]
    return items


def woven(lists: np.ndarray, owned: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Places of ``lists`` that are not ``owned``, bool, get the items of ``new`` in their order; all of one shape."""
    nth = np.maximum(np.cumsum(~owned, axis=1) - 1, 0)
    items = np.where(owned, lists, np.take_along_axis(new, nth, axis=1))
    return np.take_along_axis(items, np.argsort(items < 0, axis=1, kind="stable"), axis=1)  # padding last
