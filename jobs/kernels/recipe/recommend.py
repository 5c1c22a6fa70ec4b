"""The whole recipe: choose from rolling cuts, fit on everything known, rank every user's candidates."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from jobs.kernels.recipe.candidates import Slice, candidates, of_one
from jobs.kernels.recipe.choose import LEARNED, UNLEARNED, Choice, choose, scores_of, with_far_views
from jobs.kernels.recipe.forest import Forest
from jobs.kernels.recipe.grid import Setting, Tuned, tried, tune
from jobs.kernels.recipe.labels import Events, label, sample, split
from jobs.kernels.recipe.model import Model, fit_model
from jobs.kernels.recipe.people import People
from jobs.kernels.recipe.ranker import Labeled, fit_rankers, order
from jobs.kernels.recipe.reasons import NOBODY, reasons, speakers

CUTS = (0.5, 0.6, 0.7, 0.8, 0.9)  # shares of the known events; what follows, to the end, is what a cut is judged by
SLICE_USERS = 700
FEWEST_EVENTS = 50
FEWEST_TAKEN = 20  # candidates taken at a cut that is worth learning from
USERS_AT_ONCE = 1_000
LEAST = 0.1  # score of a user's last candidate: 0 could be neither boosted nor drawn, and nothing stood below it


@dataclass(frozen=True)
class Recipe:
    """What the night chose: a setting of every source, the form of the ranking and its model."""

    chosen: dict[str, Setting]
    choice: Choice
    rankers: list[Forest]

    def __str__(self) -> str:
        by_single = self.choice.form in ("single", "blend")
        ranked = f"ranked by {self.choice.form}" + (f" ({self.choice.single})" if by_single else "")
        return f"{ranked}; {', '.join(map(str, self.chosen.values()))}"


@dataclass(frozen=True)
class Slates:
    """Of each user asked, in that order, ``(n_users, n)``: item codes padded with -1, and falling scores."""

    items: np.ndarray
    scores: np.ndarray
    recipe: Recipe


def recommend(events: Events, users: np.ndarray, n: int, seed: int = 0) -> Slates:
    """The ``n`` best unseen items of each of ``users`` after the positive events given.

    Items and users are coded anew, so that what only others know of changes nothing.
    """
    events, known_users, known_items = events.dense()
    recipe = learn(events, seed)
    past = events.past()
    model = fit_model(recipe.chosen, past, past.now)
    items, scores = rank(recipe, model, past, np.searchsorted(known_users, users), n)
    return Slates(np.where(items >= 0, known_items[items], -1), scores, recipe)


def learn(events: Events, seed: int) -> Recipe:
    """Choose sources' settings, then the form of the ranking, then fit its model on all cuts.

    With too few events to choose from, or half of them at their first moment, the first setting of each source, fused.
    """
    if len(events.user) < FEWEST_EVENTS or events.at(CUTS[0]) <= events.time_s.min():
        first = {name: tries[0] for name, tries in tried(events.n_items).items()}
        return Recipe(first, Choice("fused", UNLEARNED, ()), [])
    tuned = tune(events, seed)
    parts = [part for share in CUTS if (part := labeled(events, share, tuned, seed)) is not None]
    choice = choose(parts)
    rankers = fit_rankers(with_far_views(parts)) if choice.form in LEARNED else []
    return Recipe(tuned.chosen, choice, rankers)


def labeled(events: Events, share: float, tuned: Tuned, seed: int) -> Labeled | None:
    """Candidates at a cut with what became of them; None where too little did."""
    cut_s = events.at(share)
    past, future = split(events, cut_s)
    users = sample(future.users, SLICE_USERS, seed)
    if not len(users):
        return None
    part = candidates(fit_model(tuned.chosen, past, cut_s, tuned.fitted.get(share)), past, users)
    told = label(part, future)
    return (part, told) if told.taken.sum() > FEWEST_TAKEN else None


def rank(recipe: Recipe, model: Model, people: People, users: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Items ``(n_users, n)`` padded with -1, and their scores (0 where padded)."""
    items, scores = np.full((len(users), n), -1, np.int64), np.zeros((len(users), n))
    for start in range(0, len(users), USERS_AT_ONCE):
        part = looked_at(recipe, model, people, users[start : start + USERS_AT_ONCE], n)
        values, rows, places = ordered(recipe, part, n)
        items[start + part.user[rows], places] = part.item[rows]
        scores[start + part.user[rows], places] = values[rows]
    return items, scores


def lone_source(recipe: Recipe, model: Model) -> str | None:
    """The name of the source that ranks alone, if one does."""
    name = recipe.choice.single.removeprefix("score_")
    return name if recipe.choice.form == "single" and name in model.sources else None


def looked_at(
    recipe: Recipe, model: Model, people: People, users: np.ndarray, n: int, barred: sp.csr_matrix | None = None
) -> Slice:
    """Candidates as the form of the ranking needs them: where a source ranks alone nothing else is asked or described.

    ``n`` are wanted of each user, ``barred`` is as in ``candidates``.
    """
    name = lone_source(recipe, model)
    return of_one(name, model, people, users, n, barred) if name else candidates(model, people, users, barred)


def ordered(recipe: Recipe, part: Slice, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A value for every row; the rows of each user's ``n`` best in order, and their places from 0 on."""
    values = scores_of(recipe.choice.form, recipe.rankers, recipe.choice.single, part)
    rows, places = order(part, values)
    return values, rows[places < n], places[places < n]


@dataclass(frozen=True)
class Best:
    """Parallel arrays by user, then place: positions in the users asked, item codes, scores from 1 down to ``LEAST``.

    ``speaker`` and ``reason`` are those of ``reasons``.
    """

    user: np.ndarray
    place: np.ndarray
    item: np.ndarray
    score: np.ndarray
    speaker: np.ndarray
    reason: np.ndarray


def first(
    recipe: Recipe,
    model: Model,
    people: People,
    users: np.ndarray,
    n: int,
    barred: sp.csr_matrix | None = None,
    explain: bool = True,
) -> Best:
    """The ``n`` best candidates of each of ``users``, with their reasons if asked; ``barred`` as in ``candidates``."""
    part = looked_at(recipe, model, people, users, n, barred)
    values, rows, places = ordered(recipe, part, n)
    user, item = part.user[rows], part.item[rows]
    name = lone_source(recipe, model)
    speaker = speakers(part, 1 if name else len(model.sources))[rows]
    speaker = np.where(speaker >= 0, list(model.sources).index(name), speaker) if name else speaker
    reason = reasons(model, people, users[user], item, speaker) if explain else np.full(len(user), NOBODY)
    return Best(user, places, item, scaled(values, part.user, len(users))[rows], speaker, reason)


def scaled(values: np.ndarray, user: np.ndarray, n_users: int) -> np.ndarray:
    """Each user's values from 1, the highest, to ``LEAST``, the lowest; all 1 where they are equal."""
    high, low = np.full(n_users, -np.inf), np.full(n_users, np.inf)
    np.maximum.at(high, user, values)
    np.minimum.at(low, user, values)
    span = (high - low)[user]
    return LEAST + (1 - LEAST) * np.divide(values - low[user], span, out=np.ones(len(values)), where=span > 0)
