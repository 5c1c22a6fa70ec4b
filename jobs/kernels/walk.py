"""One step from a user's own items to their neighbors."""

import numpy as np
import scipy.sparse as sp


def propose_neighbors(
    history: np.ndarray, weights: np.ndarray, neighbors: sp.csr_matrix, seen: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ``n`` unseen items with the greatest Σ weight · score over the neighbors of ``history``.

    Returns items, scores and, for each, the item of ``history`` that added most. ``neighbors`` is
    ``(n_items, n_items)`` with a row per item; ``history`` and ``seen`` hold its row numbers.
    Ties: score descending, then item ascending.
    """
    starts, stops = neighbors.indptr[history], neighbors.indptr[history + 1]
    lengths = stops - starts
    if not lengths.sum():
        return np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.int32)
    cells = np.repeat(stops - lengths.cumsum(), lengths) + np.arange(lengths.sum())
    found = neighbors.indices[cells]
    added = neighbors.data[cells] * np.repeat(weights, lengths)
    origin = np.repeat(history, lengths)
    fresh = ~np.isin(found, seen)
    return strongest(found[fresh], added[fresh], origin[fresh], n)


def strongest(found: np.ndarray, added: np.ndarray, origin: np.ndarray, n: int):
    """Sum by item, remember who added most, keep the n best."""
    items, group = np.unique(found, return_inverse=True)
    scores = np.bincount(group, added, minlength=len(items))
    reasons = np.empty(len(items), np.int32)
    by_share = np.argsort(added, kind="stable")
    reasons[group[by_share]] = origin[by_share]  # the last write, the greatest share, stays
    best = np.argsort(-scores, kind="stable")[:n]
    return items[best].astype(np.int32), scores[best].astype(np.float32), reasons[best]
