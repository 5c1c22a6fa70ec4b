"""Reciprocal rank fusion: one list out of several (Cormack, Clarke, Büttcher 2009), each with its weight."""

import numpy as np


def fuse(
    lists: list[tuple[int, float, np.ndarray, np.ndarray]], rank_constant: int, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Merge ``(source, weight, items, because_of)`` lists in rank order into items, scores, sources, because_of.

    An item scores Σ weight / (rank_constant + rank), scaled so that the first place in every list would be 1; source
    and because_of come from the list that gave it most. No repeats. Ties: score descending, then item ascending.
    Scores are float64, as ranked: rounded to float32 some would tie. A list of weight 0 proposes nothing.
    """
    lists = [part for part in lists if part[1] > 0]
    if not any(len(items) for _, _, items, _ in lists):
        return tuple(np.empty(0, kind) for kind in (np.int32, np.float64, np.int8, np.int32))
    ideal = sum(weight for _, weight, _, _ in lists) / (rank_constant + 1)
    items = np.concatenate([items for _, _, items, _ in lists])
    because = np.concatenate([because for _, _, _, because in lists])
    sources = np.repeat([source for source, *_ in lists], [len(items) for _, _, items, _ in lists])
    shares = np.concatenate([w / (rank_constant + np.arange(1, len(i) + 1)) for _, w, i, _ in lists]) / ideal
    unique, group = np.unique(items, return_inverse=True)
    scores = np.bincount(group, shares, minlength=len(unique))
    strongest = np.empty(len(unique), np.int64)
    by_share = np.argsort(shares, kind="stable")
    strongest[group[by_share]] = by_share
    best = np.argsort(-scores, kind="stable")[:n]
    chosen = strongest[best]
    return unique[best].astype(np.int32), scores[best], sources[chosen], because[chosen]
