"""What is known of some users at a cut: which items they took, when last, over which time."""

from functools import cached_property

import numpy as np
import scipy.sparse as sp

DAY_S = 86_400.0
RECENT_DAYS = 7.0  # a user's own taste of the moment: halves per week before their last event


class People:
    """A *cell* is a user and an item they took, however often: parallel arrays sorted by user, then item.

    ``cell_user`` is a position from 0 to n_users - 1; ``user_first`` and ``user_last`` ``(n_users,)`` are seconds.
    """

    def __init__(
        self,
        cell_user: np.ndarray,
        cell_item: np.ndarray,
        cell_last: np.ndarray,
        user_first: np.ndarray,
        user_last: np.ndarray,
        n_items: int,
    ):
        self.cell_user, self.cell_item, self.cell_last = cell_user, cell_item, cell_last
        self.user_first, self.user_last = user_first, user_last
        self.n_users, self.n_items = len(user_first), n_items

    @cached_property
    def user_items(self) -> sp.csr_matrix:
        """Binary, ``(n_users, n_items)``."""
        return self.matrix(np.ones(len(self.cell_user), np.float32))

    @cached_property
    def user_n(self) -> np.ndarray:
        """Distinct items of each user."""
        return np.bincount(self.cell_user, minlength=self.n_users).astype(np.float64)

    def matrix(self, weights: np.ndarray) -> sp.csr_matrix:
        """``(n_users, n_items)`` with a weight for each cell."""
        begins = np.append(0, np.bincount(self.cell_user, minlength=self.n_users).cumsum())
        cells = (weights.astype(np.float32), self.cell_item.copy(), begins.astype(np.int32))
        return sp.csr_matrix(cells, (self.n_users, self.n_items))

    def history(self, kind: str) -> sp.csr_matrix:
        """Users' items as weights: ``all`` alike, or by ``time`` before their own last event."""
        if kind == "all":
            return self.user_items
        if kind == "time":
            return self.by_time
        raise ValueError(f"history {kind!r}; allowed: all, time")

    @cached_property
    def by_time(self) -> sp.csr_matrix:
        """Halving with every week a cell is older than the user's last event."""
        own_age = self.user_last[self.cell_user] - self.cell_last
        return self.matrix(np.exp2(-own_age / (RECENT_DAYS * DAY_S)))
