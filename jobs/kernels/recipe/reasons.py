"""Which source spoke most for a candidate, and which of the user's own items contributed most to what it said?"""

import itertools

import numpy as np
import scipy.sparse as sp

from jobs.kernels.because import gram, solved, strongest_reasons
from jobs.kernels.compiled import kernel
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
    return strongest(people.history(source.history), source.weights, user, item)


def strongest(history: sp.csr_matrix, weights: sp.csr_matrix, user: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of each user, rising, and column of ``weights``: the item whose value in the user's history times its weight for
    the column is the greatest above 0, of equals the lowest; -1 where none is.
    """
    found = np.full(len(user), NOBODY, np.int64)
    bounds = np.flatnonzero(np.diff(user, prepend=NOBODY, append=NOBODY))
    position = np.full(weights.shape[1], NOBODY)
    tell_strongest(*arrays(history), *arrays(weights), np.asarray(user), np.asarray(other), bounds, position, found)
    return found


def arrays(matrix: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Begins, columns and values, of the types the loop is compiled for."""
    parts = ((matrix.indptr, np.int32), (matrix.indices, np.int32), (matrix.data, np.float32))
    return tuple(np.require(part, kind, "C") for part, kind in parts)


@kernel
def tell_strongest(own_at, own, values, weight_at, column, weights, user, other, bounds, position, found):
    """``bounds`` are where each user's rows begin, and the end: a user's own items are gone through once."""
    best = np.zeros(len(user), np.float32)
    for some in range(len(bounds) - 1):
        begin, end = bounds[some], bounds[some + 1]
        for row in range(begin, end):
            position[other[row]] = row
        for at in range(own_at[user[begin]], own_at[user[begin] + 1]):
            for cell in range(weight_at[own[at]], weight_at[own[at] + 1]):
                row = position[column[cell]]
                if row != NOBODY and values[at] * weights[cell] > best[row]:
                    best[row], found[row] = values[at] * weights[cell], own[at]
        for row in range(begin, end):
            position[other[row]] = NOBODY


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
