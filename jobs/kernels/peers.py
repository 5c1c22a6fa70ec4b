"""The single methods a blend must beat, each with the grid it is tuned over; ALS and neighbors are ``implicit``'s own.

A method is fitted on what is known at a cut and scores a block of users over all items, dense. What a user already
has is for the caller to leave out.
"""

import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

DAY_S = 86_400.0
SEED = 0
WALK_NEIGHBORS = 200
EASE_MAX_ITEMS = 15_000  # the inverse of a dense matrix: 15,000 items are 1.8 GB

Scorer = Callable[[np.ndarray], np.ndarray]  # users (n,) -> scores (n, n_items)


@dataclass(frozen=True)
class Known:
    """Events before a cut: ``user_items`` is binary ``(n_users, n_items)``; item and time_s have an entry an event."""

    user_items: sp.csr_matrix
    item: np.ndarray
    time_s: np.ndarray


@dataclass(frozen=True)
class Method:
    """A method with one setting of its grid."""

    name: str
    fit: Callable[..., Scorer]
    setting: dict = field(default_factory=dict)

    def scorer(self, known: Known) -> Scorer:
        return self.fit(known, **self.setting)


def grid(n_items: int) -> list[Method]:
    """Every method with every setting tried; EASE only where its dense inverse is affordable."""
    methods = [Method("popularity, all time", popularity, {"days": None})]
    methods += [Method("popularity, recent", popularity, {"days": days}) for days in (3, 7, 30, 90)]
    names = ("factors", "regularization", "alpha")
    methods += [Method("implicit ALS", als, s) for s in settings(names, (16, 32, 64, 128), (0.05, 1.0), (1, 5, 20))]
    methods += [Method("implicit cosine", cosine, {"n_neighbors": n}) for n in (20, 50, 200)]
    names = ("n_neighbors", "k1", "b")
    methods += [Method("implicit BM25", bm25, s) for s in settings(names, (50, 200), (1.2, 100), (0.2, 0.8))]
    methods += [Method("RP3beta", walk, s) for s in settings(("alpha", "beta"), (0.8, 1.0), (0.2, 0.4, 0.6, 0.8))]
    if n_items < EASE_MAX_ITEMS:
        methods += [Method("EASE", ease, {"ridge": ridge}) for ridge in (50, 200, 500, 1500)]
    return methods


def settings(names: tuple[str, ...], *values: tuple) -> Iterator[dict]:
    return (dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*values))


def popularity(known: Known, days: int | None) -> Scorer:
    """Events an item had in the last days before the newest event; of equals, more users in all come first."""
    recent = known.item if days is None else known.item[known.time_s >= known.time_s.max() - days * DAY_S]
    n_items = known.user_items.shape[1]
    scores = np.bincount(recent, minlength=n_items) + 1e-6 * known.user_items.sum(axis=0).A1
    return lambda users: np.tile(scores, (len(users), 1))


def als(known: Known, factors: int, regularization: float, alpha: float) -> Scorer:
    """Hu, Koren, Volinsky 2008."""
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=factors, regularization=regularization, alpha=alpha, iterations=15, random_state=SEED, num_threads=0
        )
        model.fit(known.user_items, show_progress=False)
    return lambda users: model.user_factors[users] @ model.item_factors.T


def cosine(known: Known, n_neighbors: int) -> Scorer:
    from implicit.nearest_neighbours import CosineRecommender

    return neighbors(known, CosineRecommender(K=n_neighbors))


def bm25(known: Known, n_neighbors: int, k1: float, b: float) -> Scorer:
    from implicit.nearest_neighbours import BM25Recommender

    return neighbors(known, BM25Recommender(K=n_neighbors, K1=k1, B=b))


def neighbors(known: Known, model) -> Scorer:
    from implicit.utils import ParameterWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ParameterWarning)  # about a format it made and converts itself
        model.fit(known.user_items, show_progress=False)
    return lambda users: (known.user_items[users] @ model.similarity).toarray()


def walk(known: Known, alpha: float, beta: float) -> Scorer:
    """RP3beta (Paudel et al. 2017): three random steps, popular items held down; the best neighbors of each item."""
    step = known.user_items.astype(np.float64)
    n_user, n_item = (np.maximum(step.sum(axis=axis).A1, 1) for axis in (1, 0))
    there = (sp.diags(1 / n_user) @ step).power(alpha).tocsr()
    back = (sp.diags(1 / n_item) @ step.T).power(alpha).tocsr()
    weights = strongest_rows(back, there @ sp.diags(n_item**-beta), WALK_NEIGHBORS)
    return lambda users: (step[users] @ weights).toarray()


def strongest_rows(left: sp.csr_matrix, right: sp.csr_matrix, n: int, rows: int = 512) -> sp.csr_matrix:
    """The ``n`` largest cells of each row of left @ right, its diagonal left out; dense only by blocks of rows."""
    parts, n = [], min(n, right.shape[1])
    for start in range(0, left.shape[0], rows):
        block = (left[start : start + rows] @ right).toarray()
        np.fill_diagonal(block[:, start:], 0)
        columns = np.argpartition(-block, n - 1, axis=1)[:, :n]
        cells = np.take_along_axis(block, columns, axis=1).ravel()
        parts.append(sp.csr_matrix((cells, columns.ravel(), np.arange(0, len(cells) + 1, n)), block.shape))
    return sp.vstack(parts, format="csr")


def ease(known: Known, ridge: float) -> Scorer:
    """Steck 2019: the closed form of an item-item regression without a diagonal."""
    gram = (known.user_items.T @ known.user_items).toarray().astype(np.float64)
    gram[np.diag_indices(len(gram))] += ridge
    inverse = np.linalg.inv(gram)
    weights = (inverse / -np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0)
    return lambda users: known.user_items[users] @ weights
