"""A user's habit with an item they have: how often, how evenly and how long ago. A basket is all of a user's one day.

Numbers that cannot be known (a gap of what was taken once) are NaN.
"""

from dataclasses import dataclass

import numpy as np

from jobs.kernels.recipe.past import Past, latest
from jobs.kernels.recipe.people import DAY_S

FADING_DAYS = (7, 30, 90)  # half-lives of an own count
FADING_BASKETS = 3
SHORTEST_GAP = 0.5  # days, so that a quotient exists
CELL_NAMES = (
    *("n_baskets", "n_events", "since", "gap", "overdue", "overdue_for_item", "share", "share_since_first"),
    *("baskets_since", *(f"fading_{days}" for days in FADING_DAYS), "fading_baskets"),
)
OF_ITEM_NAMES = ("again_of_item", "baskets_of_item", "gap_of_item")
OF_USER_NAMES = ("baskets_of_user", "gap_of_user", "again_of_user", "overdue_of_user")


@dataclass(frozen=True)
class Baskets:
    """Each cell and UTC day once, by cell, then day; ``age`` counts the user's baskets after it, ``last`` before now.

    ``cell`` is a position in ``past.cell_key``; ``n`` ``(n_users,)`` counts baskets, ``gap`` their mean distance in
    days; ``since_first`` ``(n_cells,)`` counts the user's baskets from the first with the item on.
    """

    cell: np.ndarray
    day: np.ndarray
    age: np.ndarray
    today: int
    n: np.ndarray
    gap: np.ndarray
    since_first: np.ndarray


def baskets_of(past: Past) -> Baskets:
    first = int(past.time_s.min() // DAY_S)
    day = (past.time_s // DAY_S).astype(np.int64) - first
    today, width = int(past.now // DAY_S) - first, int(day.max()) + 1
    basket = np.unique(past.user.astype(np.int64) * width + day)
    cell = np.searchsorted(past.cell_key, past.user.astype(np.int64) * past.n_items + past.item)
    taken = np.unique(cell * width + day)
    cell, day = taken // width, taken % width
    user = past.cell_user[cell].astype(np.int64)
    n = np.bincount(basket // width, minlength=past.n_users)
    age = n.cumsum()[user] - 1 - np.searchsorted(basket, user * width + day)
    span = latest(user, day, past.n_users) + latest(user, -day, past.n_users)
    gap = np.where(n > 1, span / np.maximum(n - 1, 1), np.nan)
    return Baskets(cell, day, age, today, n, gap, 1 + latest(cell, age, len(past.cell_key)))


@dataclass(frozen=True)
class Habits:
    """float32 ``(n_cells, len(CELL_NAMES))``, ``(n_items, len(OF_ITEM_NAMES))``, ``(n_users, len(OF_USER_NAMES))``."""

    cells: np.ndarray
    items: np.ndarray
    users: np.ndarray


def habits(past: Past) -> Habits:
    baskets = baskets_of(past)
    n = np.bincount(baskets.cell, minlength=len(past.cell_key))
    items, users = of_items(past, baskets, n), of_users(past, baskets, n)
    return Habits(of_cells(past, baskets, n, items[:, OF_ITEM_NAMES.index("gap_of_item")]), items, users)


def of_cells(past: Past, baskets: Baskets, n: np.ndarray, item_gap: np.ndarray) -> np.ndarray:
    cells = len(n)
    last, first = latest(baskets.cell, baskets.day, cells), -latest(baskets.cell, -baskets.day, cells)
    since, gap = baskets.today - last, np.where(n > 1, (last - first) / np.maximum(n - 1, 1), np.nan)
    fades = [np.exp2(-(baskets.today - baskets.day) / days) for days in FADING_DAYS]
    fades.append(np.exp2(-baskets.age / FADING_BASKETS))
    columns = (
        n,
        past.cell_count,
        since,
        gap,
        since / np.maximum(gap, SHORTEST_GAP),
        since / np.maximum(item_gap[past.cell_item], SHORTEST_GAP),
        n / baskets.n[past.cell_user],
        n / baskets.since_first,
        -latest(baskets.cell, -baskets.age, cells),
        *(np.bincount(baskets.cell, fade, cells) for fade in fades),
    )
    return np.stack(columns, axis=1).astype(np.float32)


def of_items(past: Past, baskets: Baskets, n: np.ndarray) -> np.ndarray:
    """The share of its users who took it on a second day (of few users, near a quarter), baskets a user, median gap."""
    again = np.bincount(past.cell_item, n > 1, past.n_items)
    same = baskets.cell[1:] == baskets.cell[:-1]
    gap = medians(past.cell_item[baskets.cell[1:][same]], np.diff(baskets.day)[same], past.n_items)
    n_baskets = np.bincount(past.cell_item, n, past.n_items)
    columns = (again + 0.5) / (past.item_users + 2), n_baskets / np.maximum(past.item_users, 1), gap
    return np.stack(columns, axis=1).astype(np.float32)


def of_users(past: Past, baskets: Baskets, n: np.ndarray) -> np.ndarray:
    """Baskets, their mean gap, the share of their items they took on a second day, and how late the next one is."""
    again = np.bincount(past.cell_user, n > 1, past.n_users) / np.maximum(past.user_n, 1)
    idle = baskets.today - latest(past.cell_user[baskets.cell], baskets.day, past.n_users)
    columns = baskets.n, baskets.gap, again, idle / np.maximum(baskets.gap, SHORTEST_GAP)
    return np.stack(columns, axis=1).astype(np.float32)


def medians(group: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """The upper median of each group; NaN for none."""
    order = np.lexsort((values, group))
    counts = np.bincount(group, minlength=n)
    found, some = np.full(n, np.nan), counts > 0
    found[some] = values[order[(counts.cumsum() - counts + counts // 2)[some]]]
    return found
