"""interactions as their definition says, day by day and event by event, in Python's unbounded integers."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from math import floor

DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HALVINGS = 16


def known(events: list[dict], weights: dict[str, int], as_of: datetime, wanted) -> dict[tuple, dict]:
    """(user_id, item_id) → the row's other columns, as of a moment."""
    newest = (as_of - EPOCH - timedelta(microseconds=1)) // DAY
    pairs: dict[tuple, list[dict]] = defaultdict(list)
    for event in events:
        if event["event_time"] < as_of:
            pairs[event["user_id"], event["item_id"]].append(event)
    n_user_day = Counter((e["user_id"], day_of(e)) for mine in pairs.values() for e in mine)
    rows = {pair: row_of(living(mine, wanted), n_user_day, weights, newest, wanted) for pair, mine in pairs.items()}
    return {pair: row for pair, row in rows.items() if newest - (row["last_time"] - EPOCH) // DAY < wanted.window_days}


def day_of(event: dict) -> int:
    return (event["event_time"] - EPOCH) // DAY


def living(mine: list[dict], wanted) -> list[dict]:
    """A pair's events since it was last forgotten."""
    kept: list[dict] = []
    for event in sorted(mine, key=lambda event: event["event_time"]):
        if kept and day_of(event) - day_of(kept[-1]) > wanted.window_days:
            kept = []
        kept.append(event)
    return kept


def row_of(mine: list[dict], n_user_day: Counter, weights: dict[str, int], newest: int, wanted) -> dict:
    length = HALVINGS * wanted.half_life_days
    total, period = 0, day_of(mine[0]) // length
    for (day, kind), n in sorted(Counter((day_of(e), e["kind"]) for e in mine).items()):
        while period < day // length:
            total, period = total >> HALVINGS, period + 1
        micro = floor(n * weights[kind] * min(n, wanted.max_per_user_item_day) / n)
        n_day = max(n_user_day[mine[0]["user_id"], day], wanted.max_per_user_day)
        micro = floor(micro * wanted.max_per_user_day / n_day)
        total += round(micro * 2.0 ** (day % length / wanted.half_life_days))
    total >>= HALVINGS * (newest // length - period)
    times = [event["event_time"] for event in mine]
    bought = [event["event_time"] for event in mine if event["kind"] == "purchase"]
    return {
        "weight_micro": max(0, round(total * 2.0 ** -(newest % length / wanted.half_life_days))),
        "total_micro": total,
        "n_events": len(mine),
        "n_purchases": len(bought),
        "first_time": min(times),
        "last_time": max(times),
        "last_purchase_time": max(bought, default=None),
    }
