"""Which source spoke most for a candidate, and which of the user's own items contributed most to what it said?"""

import itertools

import numpy as np
import scipy.sparse as sp

from jobs.kernels.because import gram, solved, strongest_reasons
from jobs.kernels.recipe.candidates import Slice
from jobs.kernels.recipe.model import FAR, Model
from jobs.kernels.recipe.people import DAY_S, People
from jobs.kernels.recipe.sources import ALS_RIDGE, ByFactors, ByNeighbors

NOBODY = -1
ROWS_AT_ONCE = 20_000


def speakers(part: Slice, n_sources: int) -> np.ndarray:
    """Of each row the position of the source that placed the item highest, ``NOBODY`` where none placed it."""
    places = part.features[:, 1 : 2 * n_sources : 2]
    best = places.argmin(axis=1)
    return np.where(places[np.arange(len(places)), best] < FAR, best, NOBODY)


def reasons(model: Model, people: People, user: np.ndarray, item: np.ndarray, speaker: np.ndarray) -> np.ndarray:
    """Of each row, which are by user, the own item that contributed most to the speaker's score; -1 for nobody's.

    A source by neighbors adds the weights its items have for each other; one by factors splits as in
    ``because.strongest_reasons``.
    """
    found = np.full(len(user), NOBODY, np.int64)
    for place, source in enumerate(model.sources.values()):
        rows = np.flatnonzero(speaker == place)
        of_source = by_neighbors if isinstance(source, ByNeighbors) else by_factors
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[start : start + ROWS_AT_ONCE]
            found[some] = of_source(source, model, people, user[some], item[some])
    return found


def by_neighbors(source: ByNeighbors, _: Model, people: People, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Ties: the lower item."""
    towards = source.weights.T.tocsr()[item]
    return strongest(people.history(source.history)[user].multiply(towards).tocsr())


def strongest(contributions: sp.csr_matrix) -> np.ndarray:
    """The column of the greatest cell above 0 of each row, -1 where there is none."""
    contributions.sort_indices()
    filled = np.flatnonzero(np.diff(contributions.indptr))
    found = np.full(contributions.shape[0], NOBODY, np.int64)
    if len(filled):
        begins = contributions.indptr[filled]
        greatest = np.maximum.reduceat(contributions.data, begins)
        cells = np.flatnonzero(contributions.data == np.repeat(greatest, np.diff(contributions.indptr)[filled]))
        first = cells[np.searchsorted(cells, begins)]
        found[filled] = np.where(greatest > 0, contributions.indices[first], NOBODY)
    return found


def by_factors(source: ByFactors, model: Model, people: People, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    if not source.kept:
        shared = gram(source.items, ALS_RIDGE)
        source.kept["reasons"] = source.items.astype(np.float64), shared, solved(source.items, shared)
    items, shared, alone = source.kept["reasons"]
    starts = np.searchsorted(people.cell_user, np.arange(people.n_users + 1))
    found = np.full(len(user), NOBODY, np.int64)
    bounds = np.flatnonzero(np.diff(user, prepend=NOBODY, append=NOBODY))
    for begin, end in itertools.pairwise(bounds):
        cells = slice(starts[user[begin]], starts[user[begin] + 1])
        own = people.cell_item[cells]
        if len(own):
            confidence = confidences(source, model.cut_s - people.cell_last[cells])
            of_own = items[own], confidence, shared, alone[own]
            found[begin:end] = own[strongest_reasons(items[item[begin:end]], *of_own)]
    return found


def confidences(source: ByFactors, age_s: np.ndarray) -> np.ndarray:
    """Those of ``fit_als``, each item taken once."""
    alpha, days = source.options["alpha"], source.options["days"]
    if days is None:
        return np.full(len(age_s), float(alpha))
    return 1 + alpha * np.exp2(-np.maximum(age_s, 0) / (days * DAY_S))
