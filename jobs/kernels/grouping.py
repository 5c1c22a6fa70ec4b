"""Rows brought together by user, in time linear in their number: what sorting by three keys costs would be felt.

All loops are compiled and free of the interpreter's lock; each core takes its share of the users.
"""

import numpy as np

from jobs.kernels.compiled import kernel, typed
from jobs.kernels.threads import in_threads, n_parts


def begins_of(user: np.ndarray, n_users: int) -> np.ndarray:
    """Where each user's rows begin among rows by user, and where the last one's end: ``(n_users + 1,)``."""
    return np.append(0, np.bincount(user, minlength=n_users).cumsum())


def user_order(user: np.ndarray, item: np.ndarray, time_s: np.ndarray, n_users: int) -> np.ndarray | None:
    """The rows by user, then time, then item, equals as they stand; None where they stand so already."""
    user, item, time_s = compiled_for(user, item, time_s)
    if in_order(user, item, time_s):
        return None
    begins = begins_of(user, n_users)
    order = by_code(user, begins)
    each_part(begins, lambda first, last: settle(order, begins, item, time_s, first, last))
    return order


def compiled_for(user: np.ndarray, item: np.ndarray, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the types these loops are compiled for, once; copies only where they are others."""
    return typed((user, np.int32), (item, np.int32), (time_s, np.float64))


def cell_order(item: np.ndarray, n_items: int, begins: np.ndarray) -> np.ndarray:
    """Rows by user, which begin there, then by item, equals as they stand."""
    item = np.require(item, np.int32, "CW")
    by_item = by_code(item, begins_of(item, n_items))
    user = np.repeat(np.arange(len(begins) - 1, dtype=np.int32), np.diff(begins))
    return by_item[by_code(user[by_item], begins)]


def each_part(begins: np.ndarray, work) -> list:
    """``work(first, last)`` for parts of the users with about as many rows each, in order, side by side."""
    ends = np.unique(np.searchsorted(begins, np.linspace(0, begins[-1], n_parts() + 1)))
    ends[0], ends[-1] = 0, len(begins) - 1
    return in_threads(work, ends[:-1].tolist(), ends[1:].tolist())


@kernel
def in_order(user, item, time_s):
    for at in range(1, len(user)):
        if user[at] != user[at - 1]:
            if user[at] < user[at - 1]:
                return False
        elif time_s[at] != time_s[at - 1]:
            if time_s[at] < time_s[at - 1]:
                return False
        elif item[at] < item[at - 1]:
            return False
    return True


@kernel
def by_code(code, begins):
    """Positions by code, equals as they stand (counting sort)."""
    at, order = begins[:-1].copy(), np.empty(len(code), np.int64)
    for row in range(len(code)):
        order[at[code[row]]] = row
        at[code[row]] += 1
    return order


@kernel
def settle(order, begins, item, time_s, first, last):
    """Bring the rows of users ``[first, last)`` into the order of time, then item, equals as they stand (heapsort).

    What is called time may be any number.
    """
    for user in range(first, last):
        mine = order[begins[user] : begins[user + 1]]
        for at in range(1, len(mine)):
            if before(mine[at], mine[at - 1], item, time_s):  # lakes hold most users' rows in order
                for root in range(len(mine) // 2 - 1, -1, -1):
                    sink(mine, root, len(mine), item, time_s)
                for end in range(len(mine) - 1, 0, -1):
                    mine[0], mine[end] = mine[end], mine[0]
                    sink(mine, 0, end, item, time_s)
                break


@kernel
def sink(heap, root, end, item, time_s):
    """Let the row at ``root`` down to where no child of it is later."""
    while 2 * root + 1 < end:
        child = 2 * root + 1
        if child + 1 < end and before(heap[child], heap[child + 1], item, time_s):
            child += 1
        if not before(heap[root], heap[child], item, time_s):
            break
        heap[root], heap[child] = heap[child], heap[root]
        root = child


@kernel
def before(left, right, item, time_s):
    """Whether one row stands before another."""
    if time_s[left] != time_s[right]:
        return time_s[left] < time_s[right]
    if item[left] != item[right]:
        return item[left] < item[right]
    return left < right
