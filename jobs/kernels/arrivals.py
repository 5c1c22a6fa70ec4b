"""Is what came in the last day to be believed? Signs of a cut-off input, and of events that were sent again."""

import numpy as np

DAY_US = 86_400_000_000
HISTORY_DAYS = 28
FEWEST_DAYS = 14  # with events, to say what is usual
FEWEST_EVENTS = 50  # that a share is taken of
HOURS_BEYOND = 1  # a last hour may be earlier than ever, and than the spread of the last hours says, by so much
RESENT_DAYS = 4  # the last two are judged by those before


def traffic_statistics(hourly: np.ndarray) -> dict[str, float]:
    """What is usual, from ``hourly`` ``(n_days, 24)``: events by day and hour before as_of, the oldest day first.

    The last day's events and its last hour with any, and from the days before: the fewest events and the earliest last
    hour to be expected. Both lie below the least ever seen by as much as that lies below the median (on a scale of
    ratios for events, and again half of that): uneven traffic is told from a cut-off file by its own unevenness. With
    fewer than ``FEWEST_DAYS`` days nothing is expected. Of a day without events no last hour is told.
    """
    n_events = hourly.sum(axis=1)
    last_hour = 23 - np.argmax(hourly[:, ::-1] > 0, axis=1)
    found = {"last_day_events": float(n_events[-1])} | ({"last_hour": float(last_hour[-1])} if n_events[-1] else {})
    before = np.flatnonzero(n_events[:-1])
    before = before[before >= len(n_events) - 1 - HISTORY_DAYS]
    if len(before) < FEWEST_DAYS:
        return found
    least, earliest = n_events[before].min(), last_hour[before].min()
    return found | {
        "fewest_expected": float(least**2 / np.median(n_events[before]) / 2),
        "earliest_expected": float(2 * earliest - np.median(last_hour[before]) - HOURS_BEYOND),
    }


def resent_statistics(content: np.ndarray, time_us: np.ndarray, end_us: int) -> dict[str, float]:
    """Shares of events that came again under another id, above what is usual for their source.

    ``content`` is a 64-bit hash of all an event says but its id and time, with ``time_us`` those of the ``RESENT_DAYS``
    days before ``end_us``. ``resent_share``: of one of the last two days, at the same moment; ``moved_share``: of the
    last day, with all else as exactly 24 hours before.
    """
    day = (end_us - 1 - time_us) // DAY_US
    moments = mixed(content, time_us)
    _, first = np.unique(moments, return_index=True)
    again = np.ones(len(moments), bool)
    again[first] = False
    moved = np.isin(mixed(content, time_us - DAY_US), moments)
    n_events = np.maximum(np.bincount(day, minlength=RESENT_DAYS), FEWEST_EVENTS)
    again, moved = (np.bincount(day, which, RESENT_DAYS) / n_events for which in (again, moved))
    return {
        "resent_share": float(again[:2].max() - again[2:].max()),
        "moved_share": float(moved[0] - moved[1:-1].max()),
    }


def mixed(content: np.ndarray, time_us: np.ndarray) -> np.ndarray:
    """One 64-bit number for both; equal ones by accident are as rare as equal hashes."""
    factor = np.uint64(0x9E3779B97F4A7C15)
    both = content.astype(np.uint64) ^ (time_us.astype(np.uint64) * factor)
    return (both ^ (both >> np.uint64(31))) * factor
