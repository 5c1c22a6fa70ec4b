"""Rolling cuts inside what is known: what was known at each, and what people took after it."""

from dataclasses import dataclass, replace

import numpy as np

from jobs.kernels.recipe.candidates import Slice
from jobs.kernels.recipe.context import Context
from jobs.kernels.recipe.past import Past


@dataclass(frozen=True)
class Events:
    """Parallel arrays of dense codes and seconds, how many codes there are, and what else is known of all of them."""

    user: np.ndarray
    item: np.ndarray
    time_s: np.ndarray
    n_users: int
    n_items: int
    context: Context | None = None

    def at(self, share: float) -> float:
        """The moment before which a share of the events lies."""
        return float(np.quantile(self.time_s, share))

    def past(self, keep: np.ndarray | None = None) -> Past:
        """All of them, or those kept (bool), as what is known."""
        keep = np.ones(len(self.user), bool) if keep is None else keep
        context = self.context.of_events(keep) if self.context else None
        return Past(self.user[keep], self.item[keep], self.time_s[keep], self.n_users, self.n_items, context)

    def dense(self, keep: np.ndarray | None = None) -> tuple["Events", np.ndarray, np.ndarray]:
        """Some of them (bool), users and items coded anew so that none is without an event, and their codes here."""
        keep = np.ones(len(self.user), bool) if keep is None else keep
        users, user = np.unique(self.user[keep], return_inverse=True)
        items, item = np.unique(self.item[keep], return_inverse=True)
        context = self.context.of_events(keep).of_codes(users, items) if self.context else None
        coded = user.astype(np.int32), item.astype(np.int32), self.time_s[keep]
        return Events(*coded, len(users), len(items), context), users, items


@dataclass(frozen=True)
class Future:
    """Cells of warm users and items taken first after a cut, by key (user times n_items plus item), and when first."""

    cell_key: np.ndarray
    first_s: np.ndarray
    n_items: int

    @property
    def users(self) -> np.ndarray:
        return np.unique(self.cell_key // self.n_items)

    def count(self, users: np.ndarray) -> np.ndarray:
        """Cells of each of ``users``, which are rising."""
        owner = self.cell_key // self.n_items
        return np.bincount(np.searchsorted(users, owner[np.isin(owner, users)]), minlength=len(users))


@dataclass(frozen=True)
class Labels:
    """Of each row of a slice whether it was taken and when (infinity: never); of each user how many cells there are."""

    taken: np.ndarray
    first_s: np.ndarray
    n_relevant: np.ndarray


def split(events: Events, cut_s: float) -> tuple[Past, Future]:
    """What is known strictly before the cut, and the new cells of its warm users and items."""
    past = events.past(events.time_s < cut_s)
    later = taken_after(events, past, cut_s)
    new = ~np.isin(later.cell_key, past.cell_key)
    return past, Future(later.cell_key[new], later.first_s[new], events.n_items)


def taken_after(events: Events, past: Past, cut_s: float) -> Future:
    """Cells of warm users and items taken from the cut on, owned or new, and when first."""
    late = (events.time_s >= cut_s) & (past.user_n[events.user] > 0) & (past.item_users[events.item] > 0)
    key, time_s = events.user[late].astype(np.int64) * events.n_items + events.item[late], events.time_s[late]
    by_time = np.lexsort((time_s, key))
    key, first = np.unique(key[by_time], return_index=True)
    return Future(key, time_s[by_time][first], events.n_items)


def label(part: Slice, future: Future) -> Labels:
    key = part.users[part.user].astype(np.int64) * future.n_items + part.item
    place = np.minimum(np.searchsorted(future.cell_key, key), max(len(future.cell_key) - 1, 0))
    taken = future.cell_key[place] == key if len(future.cell_key) else np.zeros(len(key), bool)
    first_s = np.where(taken, future.first_s[place], np.inf) if len(future.cell_key) else np.full(len(key), np.inf)
    return Labels(taken, first_s, future.count(part.users))


def from_afar(part: Slice, told: Labels, start_s: float) -> tuple[Slice, Labels]:
    """What was taken from ``start_s`` on; rows taken before it are left out: they speak neither for nor against."""
    keep = ~told.taken | (told.first_s >= start_s)
    rows = replace(part, user=part.user[keep], item=part.item[keep], features=part.features[keep])
    return rows, Labels(told.taken[keep], told.first_s[keep], told.n_relevant)


def sample(users: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most ``most`` of them, rising, the same for the same seed."""
    if len(users) <= most:
        return users
    return np.sort(np.random.default_rng(seed).choice(users, most, replace=False))
