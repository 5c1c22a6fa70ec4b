"""Which source spoke most for a candidate, and which of the user's own items contributed most to what it said?"""

import numpy as np
import scipy.sparse as sp

from jobs.kernels.because import gram, strongest_reasons
from jobs.kernels.compiled import kernel, sparse_rows
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
    if not source.kept:
        source.kept["by_other"] = source.weights.T.tocsr()
    return strongest(people.history(source.history), source.weights, user, item, source.kept["by_other"])


def strongest(
    history: sp.csr_matrix,
    weights: sp.csr_matrix,
    user: np.ndarray,
    other: np.ndarray,
    by_other: sp.csr_matrix | None = None,
) -> np.ndarray:
    """Of each user, rising, and column of ``weights``: the item whose value in the user's history times its weight for
    the column is the greatest above 0, of equals the lowest; -1 where none is.

    ``by_other`` is ``weights`` transposed: with it a user's few columns are gone through where that is less than all
    their own items' weights.
    """
    found = np.full(len(user), NOBODY, np.int64)
    bounds = np.flatnonzero(np.diff(user, prepend=NOBODY, append=NOBODY))
    has_both, turned = by_other is not None, weights if by_other is None else by_other
    sides = (*sparse_rows(history), *sparse_rows(weights), *sparse_rows(turned))
    position = np.full(max(weights.shape), np.int32(NOBODY))
    tell_strongest(*sides, has_both, np.asarray(user), np.asarray(other), bounds, position, found)
    return found


@kernel
def tell_strongest(
    own_at,
    own,
    values,
    weight_at,
    column,
    weights,
    turned_at,
    row_of,
    turned,
    both,
    user,
    other,
    bounds,
    position,
    found,
):
    """``bounds`` are where each user's rows begin, and the end: a user's own items are gone through once."""
    best = np.zeros(len(user), np.float32)
    for some in range(len(bounds) - 1):
        rows, mine = (bounds[some], bounds[some + 1]), (own_at[user[bounds[some]]], own_at[user[bounds[some]] + 1])
        if both and cells(turned_at, other, rows) < cells(weight_at, own, mine):
            by_column(own, values, mine, turned_at, row_of, turned, other, rows, position, best, found)
        else:
            by_own(own, values, mine, weight_at, column, weights, other, rows, position, best, found)


@kernel
def cells(at, codes, part):
    """How many the lines of these codes hold."""
    n = 0
    for place in range(part[0], part[1]):
        n += at[codes[place] + 1] - at[codes[place]]
    return n


@kernel
def by_own(own, values, mine, weight_at, column, weights, other, rows, position, best, found):
    for row in range(rows[0], rows[1]):
        position[other[row]] = row
    for at in range(mine[0], mine[1]):
        for cell in range(weight_at[own[at]], weight_at[own[at] + 1]):
            row = position[column[cell]]
            if row != NOBODY and values[at] * weights[cell] > best[row]:
                best[row], found[row] = values[at] * weights[cell], own[at]
    for row in range(rows[0], rows[1]):
        position[other[row]] = NOBODY


@kernel
def by_column(own, values, mine, turned_at, row_of, turned, other, rows, position, best, found):
    for at in range(mine[0], mine[1]):
        position[own[at]] = at
    for row in range(rows[0], rows[1]):
        for cell in range(turned_at[other[row]], turned_at[other[row] + 1]):
            at = position[row_of[cell]]
            if at != NOBODY and values[at] * turned[cell] > best[row]:
                best[row], found[row] = values[at] * turned[cell], own[at]
    for at in range(mine[0], mine[1]):
        position[own[at]] = NOBODY


def by_factors(source: ByFactors, model: Model, people: People, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    if not source.kept:
        source.kept["gram"] = gram(source.items, ALS_RIDGE)
    found = np.full(len(user), NOBODY, np.int64)
    proposed_at = np.flatnonzero(np.diff(user, prepend=NOBODY, append=NOBODY))
    users = user[proposed_at[:-1]]
    begins, ends = np.searchsorted(people.cell_user, users), np.searchsorted(people.cell_user, users, "right")
    cells = ranges(begins, ends)
    confidence = confidences(source, model.cut_s - people.cell_last[cells])
    own_at = np.append(0, np.cumsum(ends - begins))
    own = people.cell_item[cells].astype(np.int64)
    asked = item.astype(np.int64), proposed_at, own, confidence, own_at
    strongest_reasons(source.items, source.kept["gram"], *asked, found)
    return found


def ranges(begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """All positions of ``[begin, end)``, range after range."""
    lengths = ends - begins
    return np.arange(lengths.sum()) + np.repeat(begins - np.append(0, np.cumsum(lengths)[:-1]), lengths)


def confidences(source: ByFactors, age_s: np.ndarray) -> np.ndarray:
    """Those of ``fit_als``, each item taken once."""
    alpha, days = source.options["alpha"], source.options["days"]
    if days is None:
        return np.full(len(age_s), float(alpha))
    return 1 + alpha * np.exp2(-np.maximum(age_s, 0) / (days * DAY_S))
