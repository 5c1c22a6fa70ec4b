"""Which items share contributors, and how much? Sparse products by blocks of items, in memory."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

BLOCK_CELLS = 20_000_000  # bounds a block of counts as if it were dense: 20 M cells are about 400 MB while it is scored


@dataclass(frozen=True)
class PairCounts:
    """Counts of pairs, one entry each: ``item`` and ``other`` share ``n_pair`` of ``n`` contributors."""

    item: np.ndarray
    other: np.ndarray
    n_pair: np.ndarray
    n_item: np.ndarray
    n_other: np.ndarray
    n: int


def top_pairs(contributor: np.ndarray, item: np.ndarray, score: str, shrink: float, min_pair: int, n_top: int) -> dict:
    """The ``n_top`` best partners of each item, as columns of item_neighbors without ``kind``.

    ``contributor`` and ``item`` are dense 0-based codes, one entry per distinct contribution. Ties: score descending,
    then partner ascending.
    """
    shape = (int(contributor.max()) + 1, int(item.max()) + 1) if len(item) else (0, 0)
    baskets = sp.csr_matrix((np.ones(len(item), np.int32), (contributor, item)), shape)
    n_item = np.bincount(item, minlength=shape[1]).astype(np.int64)
    by_item = baskets.T.tocsr()
    width = max(BLOCK_CELLS // max(shape[1], 1), 1)
    blocks = [
        best_of(count_block(by_item, baskets, n_item, start, start + width, min_pair), score, shrink, n_top)
        for start in range(0, shape[1], width)
    ] or [best_of(count_block(by_item, baskets, n_item, 0, 0, min_pair), score, shrink, n_top)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def count_block(by_item, baskets, n_item: np.ndarray, start: int, stop: int, min_pair: int) -> PairCounts:
    """Pairs of the items ``[start, stop)`` with all others that at least ``min_pair`` contributors have."""
    counts = (by_item[start:stop] @ baskets).tocoo()
    item, other, n_pair = counts.row.astype(np.int64) + start, counts.col.astype(np.int64), counts.data.astype(np.int64)
    keep = (item != other) & (n_pair >= min_pair)
    item, other, n_pair = item[keep], other[keep], n_pair[keep]
    return PairCounts(item, other, n_pair, n_item[item], n_item[other], baskets.shape[0])


def best_of(pairs: PairCounts, score: str, shrink: float, n_top: int) -> dict[str, np.ndarray]:
    """Score, rank within each item and cut."""
    scores = {
        "cosine": pairs.n_pair / (np.sqrt(pairs.n_item * pairs.n_other) + shrink),
        "lift": pairs.n_pair * float(pairs.n) / (pairs.n_item * pairs.n_other),
        "llr": log_likelihood_ratio(pairs),
    }
    order = np.lexsort((pairs.other, -scores[score], pairs.item))
    item = pairs.item[order]
    starts = np.flatnonzero(np.r_[True, item[1:] != item[:-1]]) if len(item) else np.empty(0, np.int64)
    rank = np.arange(len(item)) - np.repeat(starts, np.diff(np.r_[starts, len(item)])) + 1
    kept = order[rank <= n_top]
    return {
        "item_idx": pairs.item[kept].astype(np.int32),
        "rank": rank[rank <= n_top].astype(np.int32),
        "neighbor_idx": pairs.other[kept].astype(np.int32),
        "n_pair": pairs.n_pair[kept],
        "lift": scores["lift"][kept],
        "llr": scores["llr"][kept],
        "score": scores[score][kept],
    }


def log_likelihood_ratio(pairs: PairCounts) -> np.ndarray:
    """2 · Σ observed · ln(observed / expected) over the four cells of each pair (Dunning 1993), at least 0."""
    pair, item, other = (a.astype(np.float64) for a in (pairs.n_pair, pairs.n_item, pairs.n_other))
    n = float(pairs.n)
    cells = (
        (pair, item * other),
        (item - pair, item * (n - other)),
        (other - pair, (n - item) * other),
        (n - item - other + pair, (n - item) * (n - other)),
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(seen > 0, seen * np.log(seen * n / expected), 0.0) for seen, expected in cells]
    both, left, right, neither = terms
    return np.maximum(2 * (both + (left + right) + neither), 0.0)  # in this order it is equal in both directions
