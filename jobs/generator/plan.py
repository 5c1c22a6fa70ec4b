"""What was asked for, checked, and the calendar of it: stretches of time small enough to hold in memory."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from pathlib import Path

import numpy as np

from jobs.generator.rows import MS_DAY
from jobs.generator.words import COUNTRIES
from jobs.rim.errors import UsageError

CHUNK_ROWS = 400_000  # about 60 MB while it is worked on
SLOTS = 288  # five-minute slots of a day, the finest cut between chunks
BY_HOUR = np.array([4, 2, 1.5, 1, 1, 2, 5, 9, 12, 14, 15, 16, 18, 16, 14, 14, 16, 19, 24, 29, 31, 28, 19, 9]) / 31
BY_WEEKDAY = np.array([1.0, 0.96, 0.95, 0.98, 0.93, 1.08, 1.25])  # Monday first
LIMITS = {"events": (1_000, 100_000_000), "users": (10, 5_000_000), "items": (20, 1_000_000), "days": (1, 1_096)}
FORMATS = ("jsonl", "parquet")


@dataclass(frozen=True)
class Plan:
    """One request; ``users`` and ``items`` of None become what suits the number of events."""

    out: Path
    events: int = 50_000
    users: int | None = None
    items: int | None = None
    days: int = 30
    start: date = date(2026, 1, 1)
    seed: int = 7
    format: str = "jsonl"

    @property
    def start_ms(self) -> int:
        return int(datetime.combine(self.start, time(), UTC).timestamp()) * 1000

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.days * MS_DAY

    def rng(self, *stream: int) -> np.random.Generator:
        """An independent stream of chance; the same request and stream give the same numbers."""
        return np.random.default_rng([self.seed, self.start.toordinal(), *stream])


def checked(plan: Plan) -> Plan:
    """The plan with its defaults filled in; UsageError when a value is out of its range."""
    users = plan.users if plan.users is not None else min(1_000_000, max(50, plan.events // 50))
    items = plan.items if plan.items is not None else max(100, round(2.7 * max(plan.events, 0) ** 0.5 / 10) * 10)
    plan = replace(plan, users=users, items=items)
    for name, (low, high) in LIMITS.items():
        if not low <= getattr(plan, name) <= high:
            raise UsageError(f"--{name} is {getattr(plan, name)}; give a whole number from {low:,} to {high:,}")
    if plan.format not in FORMATS:
        raise UsageError(f"--format is {plan.format!r}; give one of {', '.join(FORMATS)}")
    if plan.seed < 0:
        raise UsageError(f"--seed is {plan.seed}; give 0 or a positive whole number")
    if not 1970 <= plan.start.year <= 2200:
        raise UsageError(f"the range starts on {plan.start}; give a start from 1970-01-01 to 2200-12-31")
    return plan


@dataclass(frozen=True)
class Chunk:
    """A stretch of time within one UTC day, and how many rows of the file belong to it."""

    index: int
    start_ms: int
    end_ms: int
    n_rows: int

    @property
    def hours(self) -> np.ndarray:
        """The UTC hours it touches, 0 to 23."""
        first, last = self.start_ms // 3_600_000, -(-self.end_ms // 3_600_000)
        return np.arange(first, last) % 24


def chunks(plan: Plan) -> list[Chunk]:
    """The range cut at every midnight and wherever a day is too big; the rows add up to ``plan.events``."""
    cumulative = np.concatenate([[0], np.cumsum(_slot_weights(plan))])
    rows = np.round(plan.events * cumulative / cumulative[-1]).astype(np.int64)
    slot = np.arange(plan.days * SLOTS)
    within_day = rows[:-1] - rows[slot // SLOTS * SLOTS]
    block = slot // SLOTS * 2**20 + within_day // CHUNK_ROWS
    starts = np.append(np.flatnonzero(np.diff(block, prepend=-1)), len(slot))
    at = plan.start_ms + starts * (MS_DAY // SLOTS)
    return [
        Chunk(k, int(at[k]), int(at[k + 1]), int(rows[starts[k + 1]] - rows[starts[k]])) for k in range(len(starts) - 1)
    ]


def _slot_weights(plan: Plan) -> np.ndarray:
    hour = np.arange(24)
    by_hour = sum(share * BY_HOUR[(hour + ahead) % 24] for share, ahead in COUNTRIES.values())
    weekday = (plan.start.weekday() + np.arange(plan.days)) % 7
    by_day = BY_WEEKDAY[weekday] * plan.rng(0).lognormal(0, 0.06, plan.days)
    return (by_day[:, None] * np.repeat(by_hour, SLOTS // 24)[None, :]).ravel()
