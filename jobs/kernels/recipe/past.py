"""Everything known at a cut: who took what, when, how often; what sources are fitted on."""

from functools import cached_property

import numpy as np

from jobs.kernels.recipe.affinities import Affinities, of_past
from jobs.kernels.recipe.context import Context
from jobs.kernels.recipe.people import DAY_S, People


class Past(People):
    """Positive events strictly before a cut: parallel arrays of user, item (dense codes) and time_s, in any order."""

    def __init__(
        self,
        user: np.ndarray,
        item: np.ndarray,
        time_s: np.ndarray,
        n_users: int,
        n_items: int,
        context: Context | None = None,
    ):
        order = np.lexsort((item, time_s, user))
        self.user, self.item, self.time_s = user[order], item[order], time_s[order].astype(np.float64)
        self.context = context.of_events(order) if context else None
        self.now = float(time_s.max())
        self.cell_key, cell = np.unique(self.user.astype(np.int64) * n_items + self.item, return_inverse=True)
        self.cell_count = np.bincount(cell).astype(np.float32)
        super().__init__(
            cell_user=(self.cell_key // n_items).astype(np.int32),
            cell_item=(self.cell_key % n_items).astype(np.int32),
            cell_last=latest(cell, self.time_s, len(self.cell_key)),
            user_first=-latest(self.user, -self.time_s, n_users),
            user_last=latest(self.user, self.time_s, n_users),
            n_items=n_items,
        )

    @cached_property
    def affinities(self) -> Affinities:
        return of_past(self)

    @cached_property
    def item_users(self) -> np.ndarray:
        """Distinct users of each item."""
        return np.bincount(self.cell_item, minlength=self.n_items).astype(np.float64)

    @cached_property
    def item_last(self) -> np.ndarray:
        return latest(self.item, self.time_s, self.n_items)

    @cached_property
    def item_first(self) -> np.ndarray:
        return -latest(self.item, -self.time_s, self.n_items)

    def fading(self, days: float) -> np.ndarray:
        """Of each cell, a weight that halves every ``days`` before the cut."""
        return np.exp2(-(self.now - self.cell_last) / (days * DAY_S))

    def popularity(self, half_life_days: float | None) -> np.ndarray:
        """Faded counts of events of each item; None: distinct users of all time."""
        if half_life_days is None:
            return self.item_users.copy()
        weight = np.exp2(-(self.now - self.time_s) / (half_life_days * DAY_S))
        return np.bincount(self.item, weight, self.n_items)


def latest(group: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """The greatest value of each group; minus infinity for none."""
    found = np.full(n, -np.inf)
    np.maximum.at(found, group, values)
    return found
