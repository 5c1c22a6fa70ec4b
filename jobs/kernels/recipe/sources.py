"""Sources of candidates: an item vector, user times item factors, or a user's history times item-to-item weights.

Each is fitted on a ``Past`` and scores users over all items. Repeats of fits on equal input give equal scores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from jobs.kernels.als import factorise
from jobs.kernels.pairs import scored_pairs
from jobs.kernels.recipe.past import Past
from jobs.kernels.recipe.people import DAY_S, People
from jobs.kernels.recipe.top_product import top_product

N_NEIGHBORS = 200  # item-to-item weights kept of each row
SEED = 0
ALS_ITERATIONS = 10
EASE_MAX_ITEMS = 12_000  # a dense inverse: its cost grows with the cube
FEWEST_PAIR = 2  # users who share a pair that counts
ALS_RIDGE = 1.0


@dataclass(frozen=True)
class ByFactors:
    """``users`` ``(n_users, factors)``, by the positions of the people who are scored, and ``items``.

    ``options`` are those it was fitted with: ``alpha``, and ``days`` where confidence fades. ``kept`` is for what is
    worked out of the items alone: copies for other users share it.
    """

    users: np.ndarray
    items: np.ndarray
    options: Mapping[str, float | None]
    kept: dict = field(default_factory=dict, compare=False, repr=False)

    def score(self, people: People, users: np.ndarray) -> np.ndarray:
        return self.users[users] @ self.items.T


@dataclass(frozen=True)
class ByNeighbors:
    """A ``history`` of people (see ``People.history``) times ``weights`` ``(n_items, n_items)``, sparse."""

    history: str
    weights: sp.csr_matrix
    kept: dict = field(default_factory=dict, compare=False, repr=False)

    def score(self, people: People, users: np.ndarray) -> np.ndarray:
        return (people.history(self.history)[users] @ self.weights).toarray()


def fit_als(past: Past, factors: int, alpha: float, days: float | None = None) -> ByFactors:
    """Implicit-feedback ALS (Hu, Koren, Volinsky 2008); with ``days`` the confidence of a cell fades with its age."""
    confidence = np.full(len(past.cell_key), alpha, np.float32)
    if days is not None:
        confidence = 1 + alpha * past.fading(days) * np.log2(1 + past.cell_count)
    vectors = factorise(past.matrix(confidence), factors, ALS_RIDGE, ALS_ITERATIONS, SEED)
    return ByFactors(*vectors, {"alpha": alpha, "days": days})


def fit_ease(past: Past, ridge: float, days: float | None = None) -> ByNeighbors:
    """Steck 2019, on all cells alike or on faded ones; of each row the strongest weights, either sign.

    Of a catalogue beyond ``EASE_MAX_ITEMS`` the items most people took: a recipe may be learned from a sample that
    knows fewer of them than the night.
    """
    import scipy.linalg as sl
    from threadpoolctl import threadpool_limits

    n_live = min(np.count_nonzero(past.item_users), EASE_MAX_ITEMS)
    live = np.sort(np.argsort(-past.item_users, kind="stable")[:n_live])
    cells = past.user_items if days is None else past.matrix(np.sqrt(past.fading(days)))
    gram = (cells[:, live].T @ cells[:, live]).toarray().astype(np.float32)
    gram[np.diag_indices(len(gram))] += ridge
    with threadpool_limits(1, "blas"):  # two threads on busy cores wait for each other ten times as long as they work
        factor, _ = sl.lapack.spotrf(gram, lower=1, overwrite_a=1)
        lower, _ = sl.lapack.spotri(factor, lower=1, overwrite_c=1)
    inverse = np.tril(lower) + np.tril(lower, -1).T
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    n = min(N_NEIGHBORS, len(live))
    columns = strongest_columns(weights, n)
    cells = (np.take_along_axis(weights, columns, 1).ravel(), (np.repeat(live, n), live[columns.ravel()]))
    return ByNeighbors("all", sp.csr_matrix(cells, (past.n_items, past.n_items)))


def fit_cosine(past: Past) -> ByNeighbors:
    length = np.sqrt(np.maximum(past.item_users, 1))
    unit = past.user_items @ sp.diags((1 / length).astype(np.float32))
    return ByNeighbors("all", top_product(unit.T, unit, N_NEIGHBORS))


def fit_pairs(past: Past, score: str) -> ByNeighbors:
    """What shares users with it more than by chance: ``score`` is one of ``pairs.SCORES``, lift or llr."""
    item, other, scores = scored_pairs(past.cell_user, past.cell_item, score, FEWEST_PAIR, N_NEIGHBORS)
    weights = sp.csr_matrix((scores.astype(np.float32), (item, other)), (past.n_items, past.n_items))
    return ByNeighbors("all", weights)


def fit_bm25(past: Past, k1: float, b: float) -> ByNeighbors:
    """Items as documents of users, weighted as ``implicit`` does it."""
    from implicit.nearest_neighbours import bm25_weight

    weighted = bm25_weight(past.user_items.T.tocsr(), k1, b).tocsr().astype(np.float32)
    return ByNeighbors("all", top_product(weighted, weighted.T, N_NEIGHBORS))


def fit_walk(past: Past, beta: float, days: float | None = None) -> ByNeighbors:
    """RP3beta (Paudel et al. 2017); with ``days`` the last step prefers fresh items and popularity fades too."""
    weight = np.ones(len(past.cell_key)) if days is None else past.fading(days)
    last = past.matrix(weight)
    reach = np.maximum(last.sum(axis=0).A1, 1 if days is None else 1e-2)
    back = sp.diags((1 / np.maximum(past.item_users, 1)).astype(np.float32)) @ past.user_items.T
    there = sp.diags((1 / np.maximum(past.user_n, 1)).astype(np.float32)) @ last @ sp.diags((reach**-beta).astype("f4"))
    return ByNeighbors("all", top_product(back, there, N_NEIGHBORS))


def fit_baskets(past: Past, days: float = 60, power: float = 0.5) -> ByNeighbors:
    """What one user takes on one day goes together; fresh and small baskets say more, popular items less."""
    day = ((past.time_s - past.time_s.min()) // DAY_S).astype(np.int64)
    basket_key, basket = np.unique(past.user.astype(np.int64) * (day.max() + 1) + day, return_inverse=True)
    shape = (len(basket_key), past.n_items)
    baskets = sp.csr_matrix((np.ones(len(basket), np.float32), (basket, past.item)), shape)
    baskets.data[:] = 1
    age_days = (past.now - past.time_s.min()) / DAY_S - basket_key % (day.max() + 1)
    weight = np.exp2(-age_days / days) / np.sqrt(np.diff(baskets.indptr))
    reach = np.maximum((sp.diags(weight) @ baskets).sum(axis=0).A1, 1e-6)
    leveled = baskets @ sp.diags((reach**-power).astype(np.float32))
    return ByNeighbors("time", top_product(leveled.T @ sp.diags(weight.astype(np.float32)), leveled, N_NEIGHBORS))


def strongest_columns(block: np.ndarray, n: int) -> np.ndarray:
    """Rising columns of the ``n`` cells of each row farthest from 0."""
    return np.sort(np.argpartition(-np.abs(block), n - 1, axis=1)[:, :n], axis=1)


HISTORIES = {fit_baskets: "time"}  # what ByNeighbors of a fit multiplies; all others: "all"
