"""Whose last active day does tonight's fit not see, so that the gate can ask it for that day?"""

from dataclasses import dataclass

import numpy as np

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
    day = (events.time_s // DAY_S).astype(np.int64)
    last = np.full(events.n_users, -1, np.int64)
    np.maximum.at(last, events.user, day)
    late = day == last[events.user]
    key = events.user.astype(np.int64) * events.n_items + events.item
    fresh = np.setdiff1d(key[late], key[~late])
    able = np.intersect1d(fresh // events.n_items, events.user[~late])
    users = np.sort(np.random.default_rng(seed).permutation(able)[:n_probes])
    fresh = fresh[np.isin(fresh // events.n_items, users)]
    keep = ~(late & np.isin(events.user, users))
    return Withheld(keep, users, fresh // events.n_items, fresh % events.n_items)
