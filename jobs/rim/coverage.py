"""Which hours are in the lake: those a batch covers, whether it brought rows for them or none."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from jobs.rim.errors import UsageError
from jobs.rim.lake import floor_hour, hour_key
from jobs.rim.manifest import Batch, iso

Interval = tuple[datetime, datetime]
HOUR = timedelta(hours=1)
MOST_TOLD = 8  # stretches of missing hours in one line


def check_interval(interval: Interval) -> None:
    """Raise UsageError unless it is one or more whole UTC hours."""
    if interval[0] >= interval[1] or any(moment != floor_hour(moment.astimezone(UTC)) for moment in interval):
        raise UsageError(f"--interval {iso(interval[0])} {iso(interval[1])}: give whole UTC hours, START before END")


def covered_by(batches: list[Batch], interval: Interval) -> Batch | None:
    """The newest batch with hours of the interval, when all its hours are covered; else None."""
    start, end = map(iso, interval)
    touching = [batch for batch in batches if batch.first_hour < end and start < batch.end_hour]
    return None if missing(touching, interval) else max(touching, key=lambda batch: batch.number)


def missing(batches: Iterable[Batch], interval: Interval) -> list[Interval]:
    """The stretches of the interval that no batch covers, in order."""
    reached, end = interval
    stretches = []
    for first, last in sorted((moment_of(batch.first_hour), moment_of(batch.end_hour)) for batch in batches):
        if reached < min(first, end):
            stretches.append((reached, min(first, end)))
        reached = max(reached, last)
    return [*stretches, (reached, end)] if reached < end else stretches


def moment_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


def n_hours(stretches: Iterable[Interval]) -> int:
    return sum((end - start) // HOUR for start, end in stretches)


def describe(stretches: list[Interval]) -> str:
    """Such as ``2026-01-30T04..06, 2026-01-30T22..2026-01-31T01``, both ends among the hours; the first few."""
    told = [describe_one(start, end - HOUR) for start, end in stretches[:MOST_TOLD]]
    more = len(stretches) - len(told)
    return ", ".join(told) + (f", and {more} more stretches" if more else "")


def describe_one(first: datetime, last: datetime) -> str:
    low, high = hour_key(first), hour_key(last)
    if low == high:
        return low
    return f"{low}..{high[-2:] if low[:10] == high[:10] else high}"
