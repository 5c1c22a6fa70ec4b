"""For whom, and for which items, does it work? Users by how much is known of them; truth on new items by itself."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from jobs.kernels.metrics import judge, positive

BOUNDS = (0, 3, 20)  # greatest number of train interactions of each segment but the last
NAMES = ("cold", "new", "light", "heavy")


class SegmentMean(NamedTuple):
    """A mean over ``n_users`` of one segment whose value is known; NaN without any."""

    mean: float
    n_users: int


class NewItems(NamedTuple):
    """``share`` of the truth's cells that are on new items, and ``recall``: share of those cells that were hit."""

    share: float
    recall: float
    n_cells: int


def segment_of(n_train: np.ndarray, bounds: Sequence[int] = BOUNDS) -> np.ndarray:
    """Number of the segment, int64 ``(n_users,)``, by number of train interactions: the first bound not exceeded.

    With the default bounds 0 cold: 0, 1 new: 1-3, 2 light: 4-20, 3 heavy: more.
    """
    if not (np.diff(bounds) > 0).all():
        raise ValueError(f"bounds of segments are {tuple(bounds)}, wanted ascending ones")
    if len(n_train) and n_train.min() < 0:
        raise ValueError(f"a user has {n_train.min()} train interactions, at least 0 is possible")
    return np.searchsorted(bounds, n_train)


def mean_by_segment(values: np.ndarray, segment: np.ndarray, names: Sequence[str] = NAMES) -> dict[str, SegmentMean]:
    """Mean of ``values`` ``(n_users,)`` in each segment, those without users too; NaN values do not count."""
    if len(values) != len(segment):
        raise ValueError(f"{len(values)} values, segments of {len(segment)} users")
    if len(segment) and not 0 <= segment.min() <= segment.max() < len(names):
        raise ValueError(f"segments {segment.min()} to {segment.max()}, names for 0 to {len(names) - 1}")
    known = ~np.isnan(values)
    n_users = np.bincount(segment[known], minlength=len(names))
    sums = np.bincount(segment[known], values[known], minlength=len(names))
    means = np.where(n_users > 0, sums / np.maximum(n_users, 1), np.nan)
    return {name: SegmentMean(float(m), int(n)) for name, m, n in zip(names, means, n_users, strict=True)}


def new_items(first_seen: np.ndarray, as_of: np.datetime64, days: int) -> np.ndarray:
    """Which items, ``(n_items,)``, were first seen in the ``days`` before ``as_of``: as_of - days ≤ first_seen < as_of.

    Never seen (NaT) is not new: no list could hold it.
    """
    return (first_seen >= as_of - np.timedelta64(days, "D")) & (first_seen < as_of)


def new_item_recall(lists: np.ndarray, truth: sp.csr_matrix, is_new: np.ndarray, k: int) -> NewItems:
    """How much of the truth on new items the first k places hold, cell by cell: each counts once, whoever's it is.

    ``lists`` and ``truth`` as in ``metrics``, ``is_new`` bool ``(n_items,)``. Without cells the shares are NaN.
    """
    if is_new.shape != truth.shape[1:]:
        raise ValueError(f"is_new has shape {is_new.shape}, truth is about {truth.shape[1]} items")
    on_new = sp.csr_matrix((truth.data * is_new[truth.indices], truth.indices, truth.indptr), truth.shape)
    judged, n_all = judge(lists, on_new), judge(lists, truth).n_relevant.sum()
    n_cells, n_hits = judged.n_relevant.sum(), judged.hits[:, : positive(k)].sum()
    return NewItems(
        float(n_cells / n_all) if n_all else np.nan, float(n_hits / n_cells) if n_cells else np.nan, int(n_cells)
    )
