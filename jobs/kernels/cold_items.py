"""How much is an item taken, for the time it has been there? Counts by exposure, what is missing lent by its like.

A new item has had days where others had months: by counts alone it can never rise, by rate it can.
"""

import numpy as np
import scipy.sparse as sp


def exposure_days(age_days: np.ndarray, window_days: float, half_life_days: float) -> np.ndarray:
    """∫ 0.5^(t / half life) dt over the days an item has been there, within the window: ``(n_items,)``.

    What counts decayed the same way are to be divided by. An age of NaN is as old as the window; one below 0 is 0.
    """
    lived = np.clip(np.where(np.isnan(age_days), window_days, age_days), 0, window_days)
    rate = np.log(2) / half_life_days
    return -np.expm1(-rate * lived) / rate


def item_rates(counts: np.ndarray, exposure: np.ndarray, neighbors: sp.csr_matrix, strength_days: float) -> np.ndarray:
    """(count + m · rate of its neighbors) / (exposure + m), people a day, ``(n_items,)``; not there yet: 0.

    ``strength_days`` is m > 0, the days for which the neighbors speak. ``neighbors`` ``(n_items, n_items)`` of
    similarities, as ``content`` makes them.
    """
    there = exposure > 0
    own = np.divide(counts, exposure, out=np.zeros(len(counts)), where=there)
    lent = borrowed(own, neighbors @ sp.diags(there.astype(float)), there)
    return np.where(there, (counts + strength_days * lent) / (exposure + strength_days), 0.0)


def borrowed(values: np.ndarray, neighbors: sp.csr_matrix, there: np.ndarray) -> np.ndarray:
    """The mean of the neighbors' values by similarity; for an item without neighbors the mean of all that are there."""
    total = neighbors.sum(axis=1).A1
    everybody = values[there].mean() if there.any() else 0.0
    return np.divide(neighbors @ values, total, out=np.full(len(values), everybody), where=total > 0)
