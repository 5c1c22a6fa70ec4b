"""Whose last active day does tonight's fit not see, so that the gate can ask it for that day?"""

from dataclasses import dataclass

import numpy as np

from jobs.kernels.compiled import kernel
from jobs.kernels.grouping import begins_of, user_order
from jobs.kernels.recipe.labels import Events
from jobs.kernels.recipe.people import DAY_S


@dataclass(frozen=True)
class Withheld:
    """``keep`` says of each event whether the fit sees it; ``users`` are probed, rising.

    ``item`` are the items they took on the day withheld and not before, with ``user``, parallel, by user, then item.
    """

    keep: np.ndarray
    users: np.ndarray
    user: np.ndarray
    item: np.ndarray


def withhold(events: Events, n_probes: int, seed: int) -> Withheld:
    """The last UTC day of ``n_probes`` users drawn from those who took something new on it and something before it."""
    if not n_probes:
        nobody = np.empty(0, np.int64)
        return Withheld(np.ones(len(events.user), bool), nobody, nobody, nobody)
    order = user_order(events.user, events.item, events.time_s, events.n_users)
    order = np.arange(len(events.user)) if order is None else order
    item, day = events.item[order].astype(np.int32), (events.time_s[order] // DAY_S).astype(np.int32)
    begins = begins_of(events.user, events.n_users)
    user, fresh, tail = fresh_items(item, day, begins, events.n_items)
    users = np.sort(np.random.default_rng(seed).permutation(np.unique(user))[:n_probes])
    keep = np.ones(len(order), bool)
    for one in users:
        keep[order[tail[one] : begins[one + 1]]] = False
    probed = np.isin(user, users)
    return Withheld(keep, users, user[probed].astype(np.int64), fresh[probed].astype(np.int64))


@kernel
def fresh_items(item, day, begins, n_items):
    """Of users who have days before their last: them and each item first taken on it, parallel, by user, then item; and
    where the last day of each user begins.

    ``item`` and ``day`` are by user, whose rows begin at ``begins``, then time.
    """
    n_users, seen = len(begins) - 1, np.full(n_items, -1, np.int32)
    users, items, tail, n = np.empty(len(item), np.int32), np.empty(len(item), np.int32), begins[1:].copy(), 0
    for user in range(n_users):
        while tail[user] > begins[user] and day[tail[user] - 1] == day[begins[user + 1] - 1]:
            tail[user] -= 1
        if tail[user] == begins[user]:
            continue
        for at in range(begins[user], tail[user]):
            seen[item[at]] = user
        first = n
        for at in range(tail[user], begins[user + 1]):
            if seen[item[at]] != user:
                seen[item[at]] = user
                users[n], items[n] = user, item[at]
                n += 1
        items[first:n].sort()
    return users[:n], items[:n], tail
