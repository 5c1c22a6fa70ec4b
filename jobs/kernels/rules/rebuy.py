"""Which of the items a user has may they be shown again, having bought them long enough ago?"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

NEVER = -1  # of a time in microseconds since 1970, and of a number of days: never bought
DAY_US = 86_400_000_000


def due(items: np.ndarray, bought_days: np.ndarray, rebuyable: np.ndarray, after_days: int) -> np.ndarray:
    """Bool ``(n,)``: of a category that is bought again, and bought long enough ago; what was never bought never is."""
    return (bought_days >= after_days) & rebuyable[items]  # after_days is 0 or more, NEVER is below


def days_since(moments_us: np.ndarray, as_of: datetime) -> np.ndarray:
    """Whole days from moments in microseconds since 1970 to ``as_of``; NEVER stays."""
    days = (round(as_of.timestamp() * 1e6) - moments_us) // DAY_US
    return np.where(moments_us == NEVER, NEVER, days)


@dataclass(frozen=True)
class Rebuy:
    """The rule of one night; ``rebuyable`` is bool ``(n_items,)`` by item_idx, None when nothing comes back."""

    rebuyable: np.ndarray | None
    after_days: int
    as_of: datetime

    def comes_back(self, items: np.ndarray, last_purchase_us: np.ndarray) -> np.ndarray:
        """Bool ``(n,)``, for parallel arrays of items somebody has and their last purchases."""
        if self.rebuyable is None:
            return np.zeros(len(items), bool)
        return due(items, days_since(last_purchase_us, self.as_of), self.rebuyable, self.after_days)
