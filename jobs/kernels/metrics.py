"""How good are ranked lists? Quality for each user against what they took next, and what a whole set of lists shows.

Lists are one integer array ``(n_users, width)`` of item codes, best first, padded with -1 at the end. Padding is never
a hit, an item or an exposure. ``k`` cuts the lists; where they are shorter than ``k`` the missing places count as
misses. Wrong input is a ValueError.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True)
class Judged:
    """``hits``: which places hold a relevant item, bool ``(n_users, width)``; ``n_relevant``: int64 ``(n_users,)``."""

    hits: np.ndarray
    n_relevant: np.ndarray


def per_user(lists: np.ndarray, truth: sp.csr_matrix, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Every measure below at every k as ``{"ndcg@10": (n_users,) float64, ...}``; users without truth are NaN."""
    judged = judge(lists, truth)
    measures = (ndcg, recall, precision, average_precision, hit, reciprocal_rank)
    return {f"{measure.__name__}@{k}": measure(judged, k) for measure in measures for k in ks}


def judge(lists: np.ndarray, truth: sp.csr_matrix) -> Judged:
    """Look every place up in ``truth`` ``(n_users, n_items)``, whose cells other than 0 are relevant."""
    if len(lists) != truth.shape[0]:
        raise ValueError(f"lists of {len(lists)} users, truth of {truth.shape[0]}")
    relevant = sp.csr_matrix(truth, copy=True) != 0  # the comparison may sort in place
    shown = checked(lists, truth.shape[1]) >= 0
    hits = np.zeros(lists.shape, bool)
    hits[shown] = np.asarray(relevant[np.nonzero(shown)[0], lists[shown]]).ravel()
    return Judged(hits, np.diff(relevant.indptr).astype(np.int64))


def ndcg(judged: Judged, k: int) -> np.ndarray:
    """Σ 1 / log2(rank + 1) over hits, as a share of the best possible: min(k, n_relevant) hits in front.

    Gains are binary; the discount is that of Burges et al. 2005, which Järvelin and Kekäläinen 2002 clip instead.
    """
    hits = judged.hits[:, : positive(k)]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    best = np.r_[0.0, discounts.cumsum()]
    gained = added(np.where(hits, discounts[: hits.shape[1]], 0.0))
    return share(judged, gained, best[np.minimum(judged.n_relevant, k)])


def recall(judged: Judged, k: int) -> np.ndarray:
    """Hits / n_relevant: below 1 even for the best list where n_relevant > k."""
    return share(judged, judged.hits[:, : positive(k)].sum(axis=1), judged.n_relevant)


def precision(judged: Judged, k: int) -> np.ndarray:
    """Hits / k, however short the list."""
    return share(judged, judged.hits[:, : positive(k)].sum(axis=1), k)


def average_precision(judged: Judged, k: int) -> np.ndarray:
    """Σ precision at the rank of each hit / min(k, n_relevant)."""
    hits = judged.hits[:, : positive(k)]
    precisions = np.where(hits, hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1), 0.0)
    return share(judged, added(precisions), np.minimum(judged.n_relevant, k))


def hit(judged: Judged, k: int) -> np.ndarray:
    """1 where any of the first k is relevant, else 0."""
    return share(judged, judged.hits[:, : positive(k)].any(axis=1), 1)


def reciprocal_rank(judged: Judged, k: int) -> np.ndarray:
    """1 / rank of the first hit, 0 without one."""
    hits = judged.hits[:, : positive(k)]
    return share(judged, (hits / np.arange(1, hits.shape[1] + 1)).max(axis=1, initial=0.0), 1)


def coverage(lists: np.ndarray, k: int, n_items: int) -> float:
    """Distinct items shown / ``n_items`` of the catalogue."""
    return float(np.mean(exposures(lists, k, n_items) > 0)) if n_items else np.nan


def novelty(lists: np.ndarray, k: int, n_train: np.ndarray) -> float:
    """Mean -log2 p(item) over all places filled, in bits; p = interactions in train / all of them, ``(n_items,)``.

    An item nobody has dealt with counts as dealt with once: it is as new as can be measured, not infinitely so.
    NaN where nothing is shown.
    """
    if not n_train.sum() > 0:
        raise ValueError(f"novelty: {n_train.sum()} interactions in train, at least 1 is needed")
    shown = exposures(lists, k, len(n_train))
    bits = np.log2(n_train.sum()) - np.log2(np.maximum(n_train, 1))
    return float(shown @ bits / shown.sum()) if shown.any() else np.nan


def exposure_gini(lists: np.ndarray, k: int, n_items: int) -> float:
    """How unequally places go to the items of the catalogue: 0 all alike, (n_items - 1) / n_items one has all.

    NaN where nothing is shown.
    """
    shown = np.sort(exposures(lists, k, n_items))
    weights = 2 * np.arange(1, n_items + 1) - n_items - 1
    return float(weights @ shown / (n_items * shown.sum())) if shown.any() else np.nan


def churn(before: np.ndarray, after: np.ndarray, k: int) -> float:
    """1 - mean overlap of the same users' lists, row by row: common items / length of the longer list, at most k.

    The order within a list does not count. Users with neither list are left out; NaN where none remain.
    """
    if len(before) != len(after):
        raise ValueError(f"churn: {len(before)} users before, {len(after)} after")
    both = [checked(lists)[:, : positive(k)] for lists in (before, after)]
    longer = np.maximum(*((lists >= 0).sum(axis=1) for lists in both))
    items = np.sort(np.hstack(both), axis=1)  # no list repeats an item, so what is here twice is in both
    common = ((items[:, 1:] == items[:, :-1]) & (items[:, 1:] >= 0)).sum(axis=1)
    return float(1 - np.mean(common[longer > 0] / longer[longer > 0])) if longer.any() else np.nan


def empty_rate(lists: np.ndarray) -> float:
    """Share of users without a single item; NaN without users."""
    return float(np.mean(~(checked(lists) >= 0).any(axis=1))) if len(lists) else np.nan


def fill(lists: np.ndarray, k: int) -> float:
    """Places filled / (users · k); NaN without users."""
    return float((checked(lists)[:, : positive(k)] >= 0).sum() / (len(lists) * k)) if len(lists) else np.nan


def exposures(lists: np.ndarray, k: int, n_items: int) -> np.ndarray:
    """How often each item is shown, ``(n_items,)``."""
    cut = checked(lists, n_items)[:, : positive(k)]
    return np.bincount(cut[cut >= 0], minlength=n_items)


def added(parts: np.ndarray) -> np.ndarray:
    """Sums of rows in order of rank, rounded alike at any width: padding changes no digit, the best list gives 1."""
    return parts.cumsum(axis=1)[:, -1:].sum(axis=1)


def share(judged: Judged, part: np.ndarray, whole: np.ndarray | int) -> np.ndarray:
    """part / whole in float64; NaN for users without truth. Of all others ``whole`` is at least 1."""
    return np.where(judged.n_relevant > 0, part / np.maximum(whole, 1), np.nan)


def positive(k: int) -> int:
    if k < 1:
        raise ValueError(f"k is {k}, at least 1 is needed")
    return k


def checked(lists: np.ndarray, n_items: int = np.iinfo(np.int64).max) -> np.ndarray:
    """The lists, if every row is distinct codes of ``[0, n_items)`` and then padding."""
    if lists.ndim != 2 or lists.dtype.kind != "i":
        raise ValueError(f"lists are {lists.dtype} of shape {lists.shape}, wanted integers (n_users, width)")
    if lists.size and not (lists.min() >= -1 and lists.max() < n_items):
        raise ValueError(f"lists hold {lists.min()} to {lists.max()}, allowed are -1 to {n_items - 1}")
    if ((lists[:, 1:] >= 0) & (lists[:, :-1] < 0)).any():
        raise ValueError("lists hold padding (-1) before an item, allowed is only after the last")
    ordered = np.sort(lists, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise ValueError("lists hold an item twice in a row")
    return lists
