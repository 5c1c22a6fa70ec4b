"""A user's weight on an item from its events, in this process: each user's rows are gone through once.

A pair's events come day by day, after the total an earlier night carried: a day's events of one kind are capped, the
total is moved to the day's period, halved by whole bits, and the day is added at the scale of the period's beginning.
All loops are compiled; each core takes its share of the users. Time is that of sorting each user's own rows.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from conf.settings import Interactions
from jobs.kernels.compiled import kernel
from jobs.kernels.grouping import begins_of, by_code, each_part

PERIOD_HALVINGS = 16  # a day's weight, below 2^34, times 2^16, summed over a century of days, fits 63 bits
FIRST_DAY = date(1970, 1, 1)
CARRIED = ("total_micro", "n_events", "n_purchases", "first_time", "last_time", "last_purchase_time")
NEVER = np.iinfo(np.int64).min
DAY_US = timedelta(days=1) // timedelta(microseconds=1)
KIND_BITS, DAY_BITS = 4, 20  # of the number events of one user are sorted by; the item's stands above them
YEAR_0 = 1 << (DAY_BITS - 1)  # added to days since 1970, so that none is below 0


@dataclass(frozen=True)
class Happened:
    """Events that count, one entry each: codes of users, item_idx, microseconds, kinds by code, and what they weigh."""

    user: np.ndarray  # int32
    item: np.ndarray  # int32
    time_us: np.ndarray  # int64
    kind: np.ndarray  # int8
    micro: np.ndarray  # int64


@dataclass(frozen=True)
class Carried:
    """Rows of interactions, one entry each; ``last_purchase_time`` is ``NEVER`` where there was none."""

    user: np.ndarray  # int32
    item: np.ndarray  # int32
    total_micro: np.ndarray  # int64
    n_events: np.ndarray  # int32
    n_purchases: np.ndarray  # int32
    first_time: np.ndarray  # int64, microseconds, as those below
    last_time: np.ndarray
    last_purchase_time: np.ndarray


def pair_totals(
    events: Happened, base: Carried, n_users: int, purchase: int, start: datetime, as_of: datetime, wanted: Interactions
) -> list[tuple[Carried, np.ndarray]]:
    """The base's rows as of ``start`` with the events since: by parts of the users, by user, then item; and beside each
    part its weight_micro. ``purchase`` is the code of that kind.
    """
    newest, half_life = (as_of - timedelta(microseconds=1)).date(), wanted.half_life_days
    before = start.date() - timedelta(days=1)  # the day the base's totals are as of
    begins, base_begins = begins_of(events.user, n_users), begins_of(base.user, n_users)
    order, base_order = by_code(events.user, begins), by_code(base.user, base_begins)
    happened = (events.item, events.time_us, events.kind, events.micro)
    was = (base.item, *(getattr(base, name) for name in CARRIED))
    periods = (period_of(before, half_life), period_of(newest, half_life), half_life, np.array(powers(half_life)))
    limits = (wanted.max_per_user_item_day, wanted.max_per_user_day, wanted.window_days, days_in(newest))
    decay = halved_since(newest, half_life)

    def work(first: int, last: int) -> tuple[Carried, np.ndarray]:
        sides = (begins, order, happened, base_begins, base_order, was)
        room = begins[last] - begins[first] + base_begins[last] - base_begins[first]
        rows = empty_rows(room)
        n = users_totals(*sides, purchase, periods, limits, rows, first, last)
        user, *columns = (column[:n].copy() for column in rows)
        micro = np.maximum(np.rint(columns[1] * decay).astype(np.int64), 0)
        return Carried(user, *columns), micro

    return each_part(begins + base_begins, work)


def empty_rows(room: int) -> tuple[np.ndarray, ...]:
    """Columns of ``Carried``; what is not written to takes no memory."""
    narrow, wide = np.int32, np.int64
    return tuple(np.empty(room, kind) for kind in (narrow, narrow, wide, narrow, narrow, wide, wide, wide))


def period_of(day: date, half_life_days: int) -> int:
    return days_in(day) // (PERIOD_HALVINGS * half_life_days)


def days_in(day: date) -> int:
    return (day - FIRST_DAY).days


def powers(half_life_days: int) -> list[float]:
    """2^(day / half-life) of the days of one half-life; whole half-lives double exactly."""
    return [2.0 ** (day / half_life_days) for day in range(half_life_days)]


def halved_since(day: date, half_life_days: int) -> float:
    """What is left by a day of the scale of its period's beginning."""
    return 2.0 ** -(days_in(day) % (PERIOD_HALVINGS * half_life_days) / half_life_days)


@kernel
def users_totals(begins, order, happened, base_begins, base_order, was, purchase, periods, limits, rows, first, last):
    """Rows of the users ``[first, last)`` into ``rows``; how many."""
    size, item, base_item = 0, happened[0], was[0]
    for user in range(first, last):
        mine = order[begins[user] : begins[user + 1]]
        keys = keys_of(happened, mine)
        sorting = np.argsort(keys)
        keys, mine = keys[sorting], mine[sorting]
        days = days_of(happened, mine, limits[1])
        theirs = base_order[base_begins[user] : base_begins[user + 1]]
        theirs = theirs[np.argsort(base_item[theirs])]
        at, base_at = 0, 0
        while at < len(mine) or base_at < len(theirs):
            old = -1
            if base_at < len(theirs) and (at == len(mine) or base_item[theirs[base_at]] <= item[mine[at]]):
                old = theirs[base_at]
                base_at += 1
            here = item[mine[at]] if old < 0 else base_item[old]
            begin = at
            while at < len(mine) and item[mine[at]] == here:
                at += 1
            if pair(old, was, keys, mine, begin, at, days, happened, purchase, periods, limits, rows, size):
                rows[0][size], rows[1][size] = user, here
                size += 1
    return size


@kernel
def keys_of(happened, mine):
    """What one user's events are sorted by: item, then day, then kind."""
    keys = np.empty(len(mine), np.int64)
    for at in range(len(mine)):
        row = mine[at]
        day = happened[1][row] // DAY_US + YEAR_0
        keys[at] = (((np.int64(happened[0][row]) << DAY_BITS) | day) << KIND_BITS) | happened[2][row]
    return keys


@kernel
def days_of(happened, mine, most):
    """The days of one user's events, rising; none where no day can have more than ``most``."""
    days = np.empty(len(mine) if len(mine) > most else 0, np.int64)
    for at in range(len(days)):
        days[at] = happened[1][mine[at]] // DAY_US
    days.sort()
    return days


@kernel
def pair(old, was, keys, mine, begin, end, days, happened, purchase, periods, limits, rows, size):
    """One pair's row from the carried one, -1 for none, and its sorted events ``[begin, end)``; False: forgotten."""
    period, last_period, half_life, doubled = periods
    most_a_pair, most_a_day, window, newest = limits
    total, n_events, n_purchases = np.int64(0), np.int64(0), np.int64(0)
    first, last, bought = NEVER, NEVER, NEVER
    if old >= 0:
        total, n_events, n_purchases = was[1][old], np.int64(was[2][old]), np.int64(was[3][old])
        first, last, bought = was[4][old], was[5][old], was[6][old]
    while begin < end:
        key, n, micro, earliest, latest = keys[begin], np.int64(0), np.int64(0), happened[1][mine[begin]], NEVER
        while begin < end and keys[begin] == key:
            micro += happened[3][mine[begin]]
            earliest, latest = min(earliest, happened[1][mine[begin]]), max(latest, happened[1][mine[begin]])
            n, begin = n + 1, begin + 1
        day = (key >> KIND_BITS & (1 << DAY_BITS) - 1) - YEAR_0
        if last != NEVER and day - last // DAY_US > window:
            total, n_events, n_purchases, first, bought = np.int64(0), np.int64(0), np.int64(0), NEVER, NEVER
        while period < day // (PERIOD_HALVINGS * half_life):
            total, period = total >> PERIOD_HALVINGS, period + 1
        crowd = max(np.searchsorted(days, day, "right") - np.searchsorted(days, day), most_a_day)
        micro = np.int64(np.floor(micro * min(n, most_a_pair) / n))
        micro = np.int64(np.floor(micro * most_a_day / crowd))
        since = day - period * PERIOD_HALVINGS * half_life
        total += np.int64(np.rint(micro * doubled[since % half_life] * 2.0 ** (since // half_life)))
        n_events, first, last = n_events + n, earliest if first == NEVER else min(first, earliest), max(last, latest)
        if key & (1 << KIND_BITS) - 1 == purchase:
            n_purchases, bought = n_purchases + n, max(bought, latest)
    while period < last_period:
        total, period = total >> PERIOD_HALVINGS, period + 1
    rows[2][size], rows[3][size], rows[4][size] = total, n_events, n_purchases
    rows[5][size], rows[6][size], rows[7][size] = first, last, bought
    return newest - last // DAY_US < window
