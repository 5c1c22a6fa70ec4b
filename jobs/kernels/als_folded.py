"""Vectors of everybody, each user's solved for from the items' alone: what half a step of ALS does.

Where memory holds a part of a large crowd, that part says what items are like; nobody else is needed for it, and a
user's own vector needs nobody but the items. Here all cells are held, bare; ``als_folded_spark`` holds none.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from jobs.kernels.compiled import kernel
from jobs.kernels.grouping import begins_of, by_code
from jobs.kernels.positives import is_positive
from jobs.kernels.recipe.grid import Setting
from jobs.kernels.recipe.past import Past
from jobs.kernels.recipe.people import DAY_S
from jobs.kernels.recipe.sources import ALS_RIDGE, ByFactors, fit_als
from jobs.kernels.recipe.stored import MICROSECONDS, vectors
from jobs.kernels.text_codes import TextCodes, indexed

USERS_AT_ONCE = 4_096
READ = ("user_id", "item_id", "event_time", "kind", "value", "source")
EVENT_BYTES = 45  # of an event while it is coded and brought to its user
NEVER_US = np.iinfo(np.int64).max


def fitted_items(chosen: Mapping[str, Setting], past: Past) -> dict[str, ByFactors]:
    """Each chosen source that factorises, fitted on ``past``, with vectors of items alone."""
    fitted = {name: setting.on(past) for name, setting in chosen.items() if setting.fit is fit_als}
    return {name: replace(one, users=one.users[:0]) for name, one in fitted.items()}


@dataclass(frozen=True)
class Crowd:
    """Positive events by user: of user k the ``order`` from ``begins[k]`` on. ``item`` is its code in the fit."""

    user_ids: pa.StringArray
    liking: np.ndarray  # bool: has a positive event, though it may be on nothing the fit knows
    begins: np.ndarray
    order: np.ndarray
    item: np.ndarray
    time_us: np.ndarray
    fitted: Mapping[str, ByFactors]
    now_s: float

    def blocks(self) -> range:
        return range(0, len(self.user_ids), USERS_AT_ONCE)

    def solve(self, first: int) -> pa.Table:
        """user_factors of the users of a block."""
        last = min(first + USERS_AT_ONCE, len(self.user_ids))
        begins, item, last_us, count = cells_of(self.begins, self.order, self.item, self.time_us, first, last)
        some = np.flatnonzero(self.liking[first:last])
        user_ids = self.user_ids.slice(first, last - first).take(pa.array(some)).to_numpy(zero_copy_only=False)
        parts = []
        for name, source in self.fitted.items():
            values = confidence(self.now_s, last_us, count, **source.options)
            cells = sp.csr_matrix((values, item, begins), (last - first, len(source.items)))
            parts.append(vectors("user_id", user_ids, name, against(source.items, cells)[some]))
        return pa.concat_tables(parts)


def crowd_of(
    events: Iterable[pa.Table],
    weights: pa.Table,
    dictionary: pa.Table,
    unseen: pa.Table,
    item_idx: np.ndarray,
    fitted: Mapping[str, ByFactors],
    now_s: float,
) -> Crowd:
    """Everybody, out of events with the columns ``READ``; ``item_idx`` of the codes of items in ``fitted``. What users
    took and nobody in the fit did says nothing of them.

    ``unseen`` says from when on, ``from_time``, the events of some users are held back.
    """
    position = np.full(dictionary.num_rows, -1, np.int32)
    position[item_idx] = np.arange(len(item_idx), dtype=np.int32)
    users, n, size = TextCodes(), events.num_rows, 0
    user, item, time_us = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int64)
    held_back, liking = users.of(unseen["user_id"]), []
    until_us = np.full(len(held_back), NEVER_US)
    until_us[held_back] = unseen["from_time"].cast(pa.int64()).to_numpy()
    for part in [events] if isinstance(events, pa.Table) else events:
        who, what = users.of(part["user_id"]), indexed(part["item_id"], dictionary)
        when = part["event_time"].cast(pa.int64()).to_numpy()
        held = until_us[np.minimum(who, len(until_us) - 1)] if len(until_us) else np.full(len(who), NEVER_US)
        kept = is_positive(part, weights.to_pylist()).to_numpy(zero_copy_only=False) & (who >= 0) & (what >= 0)
        kept &= (who >= len(until_us)) | (when < held)
        liking.append(np.flatnonzero(np.bincount(who[kept])))
        kept &= position[what] >= 0
        place = slice(size, size + np.count_nonzero(kept))
        user[place], item[place], time_us[place] = who[kept], position[what[kept]], when[kept]
        size = place.stop
    user, item, time_us = user[:size], item[:size], time_us[:size]
    likes = np.zeros(users.size, bool)
    likes[np.concatenate([np.empty(0, np.int64), *liking])] = True
    begins = begins_of(user, users.size)
    return Crowd(users.texts(), likes, begins, by_code(user, begins), item, time_us, fitted, now_s)


def confidence(
    now_s: float, last_us: np.ndarray, count: np.ndarray, alpha: float, days: float | None = None
) -> np.ndarray:
    """Of cells, as ``recipe.sources.fit_als`` has it."""
    if days is None:
        return np.full(len(count), alpha, np.float32)
    age_s = now_s - last_us / MICROSECONDS
    return (1 + alpha * np.exp2(-age_s / (days * DAY_S)) * np.log2(1 + count)).astype(np.float32)


@kernel
def cells_of(begins, order, item, time_us, first, last):
    """Of the users ``[first, last)`` where their cells begin; item, last time and number of events of each cell."""
    room = begins[last] - begins[first]
    found, size = np.zeros(last - first + 1, np.int32), 0
    what, when, count = np.empty(room, np.int32), np.empty(room, np.int64), np.zeros(room, np.float32)
    for user in range(first, last):
        mine = order[begins[user] : begins[user + 1]]
        mine = mine[np.argsort(item[mine])]
        for at in range(len(mine)):
            row = mine[at]
            if at == 0 or item[row] != item[mine[at - 1]]:
                what[size], when[size] = item[row], time_us[row]
                size += 1
            when[size - 1] = max(when[size - 1], time_us[row])
            count[size - 1] += 1
        found[user - first + 1] = size
    return found, what[:size], when[:size], count[:size]


def against(items: np.ndarray, cells: sp.csr_matrix) -> np.ndarray:
    """``(n_users, factors)`` for confidences ``(n_users, n_items)``."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(items.shape[1], regularization=ALS_RIDGE, alpha=1.0, num_threads=1)
    model.item_factors = items
    return model.recalculate_user(np.arange(cells.shape[0]), cells)
