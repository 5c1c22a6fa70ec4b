"""What a nightly run would have lived through: fitted on what was known before each of some days, asked for that day.

Truth is what warm users took for the first time that day, of the items somebody had taken before it. Everything warm is
ranked and nothing split at random. Users the night could not know (cold) are told apart: only what needs no history is
made for them. Each source of the recipe is asked alone beside it. Codes of users and items are those of the events
given.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from jobs.kernels.recipe.candidates import BLOCK_USERS, best_columns, unseen
from jobs.kernels.recipe.labels import Events, sample
from jobs.kernels.recipe.model import Model, fit_model
from jobs.kernels.recipe.past import Past, latest
from jobs.kernels.recipe.people import DAY_S
from jobs.kernels.recipe.recommend import Recipe, rank
from jobs.kernels.segments import segment_of

RECIPE, LIVE, POPULAR = "recipe", "live", "popularity_30"
SOURCE = "source:"  # before the name of one of the recipe's sources: its own lists
HALF_LIFE_DAYS = 30  # of the baseline
N_LISTED = 20
FURTHEST_DAYS = 28  # how far back a day is looked for when the last ones were empty
PANEL_USERS = 200
NEW_DAYS = 30  # since its first event an item is new

Lists = dict[str, np.ndarray]  # by method: items (n_users, N_LISTED), best first, padded with -1


@dataclass(frozen=True)
class Tested:
    """Users, rising, with their segments (numbers of ``segments.NAMES``), truth ``(n_users, n_items)`` and lists."""

    users: np.ndarray
    segment: np.ndarray
    truth: sp.csr_matrix
    lists: Lists


@dataclass(frozen=True)
class Day:
    """One day from ``cut_s`` on.

    ``truth_user`` and ``truth_segment`` have an entry for each cell of truth, of those not drawn too. ``panel`` holds
    lists of known users, the same ones every day. ``n_train``: events of each item before the cut, ``(n_items,)``.
    """

    cut_s: float
    warm: Tested
    cold: Tested
    panel: Lists
    truth_user: np.ndarray
    truth_segment: np.ndarray
    n_train: np.ndarray
    is_new: np.ndarray


@dataclass(frozen=True)
class Cells:
    """Who first took what when: parallel arrays; and first times of users and items (infinite: never)."""

    user: np.ndarray
    item: np.ndarray
    first_s: np.ndarray
    user_first: np.ndarray
    item_first: np.ndarray

    def of_day(self, cut_s: float) -> np.ndarray:
        """Positions of the day's truth."""
        today = (self.first_s >= cut_s) & (self.first_s < cut_s + DAY_S)
        return np.flatnonzero(today & (self.item_first[self.item] < cut_s))

    def is_warm(self, at: np.ndarray, cut_s: float) -> np.ndarray:
        return self.user_first[self.user[at]] < cut_s


def roll(
    events: Events,
    recipe: Recipe,
    live: Recipe | None,
    end_s: float,
    days: int,
    max_users: int,
    seed: int,
    live_from_s: float = -np.inf,
) -> list[Day]:
    """The days of ``cuts``, the oldest first; at most ``max_users`` warm and as many cold users of each, by ``seed``.

    The recipe must have been learned from events before the first of these cuts. The live one is ranked from
    ``live_from_s`` on: until then it would be asked for what it has seen.
    """
    cells = first_cells(events)
    moments = busy_days(cells, end_s, days)
    if not len(moments):
        return []
    panel = sample(np.flatnonzero(cells.user_first < moments[0]), PANEL_USERS, seed)
    tested = []
    with threadpool_limits(1, "blas"):  # many small fits: threads spend more time waiting for each other
        for cut_s in moments:
            recipes = {RECIPE: recipe} | ({LIVE: live} if live is not None and cut_s >= live_from_s else {})
            tested.append(day_from(cut_s, events, cells, recipes, panel, max_users, seed))
    return tested


def cuts(events: Events, end_s: float, days: int) -> np.ndarray:
    """The last ``days`` beginnings of days before ``end_s`` on which a warm user took something new, rising.

    Fewer where the ``FURTHEST_DAYS`` before it (or ``days``, if more) have no more of them.
    """
    return busy_days(first_cells(events), end_s, days)


def busy_days(cells: Cells, end_s: float, days: int) -> np.ndarray:
    candidates = end_s - DAY_S * np.arange(1, max(days, FURTHEST_DAYS) + 1)
    busy = [cut_s for cut_s in candidates if cells.is_warm(cells.of_day(cut_s), cut_s).any()]
    return np.array(busy[:days][::-1])


def first_cells(events: Events) -> Cells:
    key = events.user.astype(np.int64) * events.n_items + events.item
    order = np.lexsort((events.time_s, key))
    key, at = np.unique(key[order], return_index=True)
    user_first = -latest(events.user, -events.time_s, events.n_users)
    item_first = -latest(events.item, -events.time_s, events.n_items)
    return Cells(key // events.n_items, key % events.n_items, events.time_s[order][at], user_first, item_first)


def day_from(
    cut_s: float,
    events: Events,
    cells: Cells,
    recipes: dict[str, Recipe],
    panel: np.ndarray,
    max_users: int,
    seed: int,
) -> Day:
    known, users, items = events.dense(events.time_s < cut_s)
    past = known.past()
    models = fit_models(past, recipes, cut_s)
    at = cells.of_day(cut_s)
    is_warm = cells.is_warm(at, cut_s)
    n_known = np.zeros(events.n_users, np.int64)
    n_known[users] = past.user_n
    shape = (events.n_users, events.n_items)
    truth = sp.csr_matrix((np.ones(len(at), np.float32), (cells.user[at], cells.item[at])), shape)
    warm = sample(np.unique(cells.user[at[is_warm]]), max_users, seed)
    cold = sample(np.unique(cells.user[at[~is_warm]]), max_users, seed)
    asked = np.union1d(warm, panel)
    lists = lists_of(past, recipes, models, np.searchsorted(users, asked))
    alone = source_lists(past, models[RECIPE], np.searchsorted(users, warm))
    lists, alone = coded(lists, items), coded(alone, items)
    n_train = np.zeros(events.n_items, np.int64)
    n_train[items] = np.bincount(past.item, minlength=len(items))
    return Day(
        cut_s,
        Tested(warm, segment_of(n_known[warm]), truth[warm], rows_of(lists, np.searchsorted(asked, warm)) | alone),
        Tested(cold, segment_of(n_known[cold]), truth[cold], {POPULAR: popular_to_all(past, items, len(cold))}),
        rows_of(lists, np.searchsorted(asked, panel)),
        cells.user[at],
        segment_of(n_known[cells.user[at]]),
        n_train,
        (cells.item_first >= cut_s - NEW_DAYS * DAY_S) & (cells.item_first < cut_s),
    )


def rows_of(lists: Lists, at: np.ndarray) -> Lists:
    return {method: items[at] for method, items in lists.items()}


def coded(lists: Lists, items: np.ndarray) -> Lists:
    """Positions in ``items`` become these."""
    return {method: np.where(own >= 0, items[own], -1) for method, own in lists.items()}


def events_before(events: Events, cut_s: float) -> Events:
    """Coded anew, in the same order: who and what comes later changes nothing."""
    return events.dense(events.time_s < cut_s)[0]


def fit_models(past: Past, recipes: dict[str, Recipe], cut_s: float) -> dict[str, Model]:
    """Of every method; sources that recipes have in common are fitted once."""
    models: dict[str, Model] = {}
    for method, recipe in recipes.items():
        fitted = {
            name: models[other].sources[name]
            for other in models
            for name, setting in recipe.chosen.items()
            if recipes[other].chosen.get(name) == setting
        }
        models[method] = fit_model(recipe.chosen, past, cut_s, fitted)
    return models


def lists_of(past: Past, recipes: dict[str, Recipe], models: dict[str, Model], users: np.ndarray) -> Lists:
    """Lists of every method for warm users."""
    found = {method: rank(recipe, models[method], past, users, N_LISTED)[0] for method, recipe in recipes.items()}
    return found | {POPULAR: popular_lists(past, users)}


def source_lists(past: Past, model: Model, users: np.ndarray) -> Lists:
    """What each source alone would have shown warm users: the new items it scores highest, as far as above 0."""
    found = {SOURCE + name: np.full((len(users), N_LISTED), -1, np.int64) for name in model.sources}
    for start in range(0, len(users), BLOCK_USERS):
        some = users[start : start + BLOCK_USERS]
        owned = past.user_items[some].nonzero()
        for name, source in model.sources.items():
            scores = unseen(source.score(past, some), owned, model.warm)
            top = best_columns(scores, N_LISTED)
            proposed = np.take_along_axis(scores, top, axis=1) > 0
            found[SOURCE + name][start : start + len(some), : top.shape[1]] = np.where(proposed, top, -1)
    return found


def popular_lists(past: Past, users: np.ndarray) -> np.ndarray:
    """The most popular of the last days that a user does not have; of equals the lower item. All items are known."""
    by_popularity = np.argsort(-past.popularity(HALF_LIFE_DAYS), kind="stable")
    first = by_popularity[: N_LISTED + int(past.user_n[users].max(initial=0))]  # nobody has more of them
    unseen = past.user_items[users][:, first].toarray() == 0
    place = unseen.cumsum(axis=1) - 1
    row, column = np.nonzero(unseen & (place < N_LISTED))
    lists = np.full((len(users), N_LISTED), -1, np.int64)
    lists[row, place[row, column]] = first[column]
    return lists


def popular_to_all(past: Past, items: np.ndarray, n_users: int) -> np.ndarray:
    """The same list for everybody of whom nothing is known."""
    first = items[np.argsort(-past.popularity(HALF_LIFE_DAYS), kind="stable")[:N_LISTED]]
    return np.tile(np.pad(first, (0, N_LISTED - len(first)), constant_values=-1), (n_users, 1))
