"""Everything known at a cut: who took what, when, how often; what sources are fitted on."""

from functools import cached_property

import numpy as np

from jobs.kernels.compiled import kernel
from jobs.kernels.grouping import begins_of, cell_order, compiled_for, user_order
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
        user, item, time_s = compiled_for(user, item, time_s)
        order = user_order(user, item, time_s, n_users)
        if order is not None:
            user, item, time_s = user[order], item[order], time_s[order]
            context = context.of_events(order) if context else None
        self.user, self.item, self.time_s, self.context = user, item, time_s, context
        self.now, self._faded = float(time_s.max()), {}
        begins = begins_of(user, n_users)
        cell_user, cell_item, cell_last, self.cell_count = cells(cell_order(item, n_items, begins), user, item, time_s)
        super().__init__(
            cell_user=cell_user,
            cell_item=cell_item,
            cell_last=cell_last,
            user_first=ends(time_s, begins[:-1], begins, np.inf),
            user_last=ends(time_s, begins[1:] - 1, begins, -np.inf),
            n_items=n_items,
        )

    @cached_property
    def cell_key(self) -> np.ndarray:
        """Rising: user times n_items plus item."""
        return self.cell_user.astype(np.int64) * self.n_items + self.cell_item

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
            return self.item_users
        if half_life_days not in self._faded:
            weight = np.exp2(-(self.now - self.time_s) / (half_life_days * DAY_S))
            self._faded[half_life_days] = np.bincount(self.item, weight, self.n_items)
        return self._faded[half_life_days]


@kernel
def cells(order, user, item, time_s):
    """User, item, last time and number of events of each cell; ``order`` is by user, item, then time."""
    n = 0
    for at in range(len(order)):
        n += at == 0 or user[order[at]] != user[order[at - 1]] or item[order[at]] != item[order[at - 1]]
    who, what, last, count = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n), np.zeros(n, np.float32)
    cell = -1
    for at in range(len(order)):
        row = order[at]
        if at == 0 or user[row] != user[order[at - 1]] or item[row] != item[order[at - 1]]:
            cell += 1
        who[cell], what[cell], last[cell] = user[row], item[row], time_s[row]
        count[cell] += 1
    return who, what, last, count


def ends(time_s: np.ndarray, at: np.ndarray, begins: np.ndarray, nothing: float) -> np.ndarray:
    """The time at a position for each user; ``nothing`` for who has no event."""
    some = np.diff(begins) > 0
    found = np.full(len(at), nothing)
    found[some] = time_s[at[some]]
    return found


def latest(group: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """The greatest value of each group; minus infinity for none."""
    found = np.full(n, -np.inf)
    np.maximum.at(found, group, values)
    return found
