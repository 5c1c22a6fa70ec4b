"""What goes wrong on the way in: late, doubled and broken rows, a bot; and an item everybody talks about."""

from dataclasses import dataclass

import numpy as np

from jobs.generator.catalogue import Catalogue
from jobs.generator.people import People
from jobs.generator.plan import Chunk, Plan
from jobs.generator.rows import KIND, MS_DAY, MS_HOUR, UNKNOWN_KIND, Rows, make, size, take
from jobs.generator.words import DEVICES

BREAKAGES = ("missing_item", "unknown_kind", "bad_date", "negative_quantity", "unreadable")
LATE, TWICE, BROKEN = 0.006, 0.003, 0.002  # shares of rows
LATE_HOURS = (1.5, 30)
BOT, BOT_GAP_MS, DAYS_PER_BURST = 0.02, 300, 5
MOST_BOT_ROWS = 20_000  # a burst; 100 minutes of it
VIRAL_DAYS, VIRAL = 1.3, 0.5  # how long, and of how many visits at its height it is the first look


@dataclass(frozen=True)
class Viral:
    """An item that everybody looks at for a day or so, whatever they like."""

    item: int
    start_ms: int
    end_ms: int

    def strike(self, rng, at: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Which looks fall on it: rising fast, then fading to nothing."""
        progress = (at - self.start_ms) / (self.end_ms - self.start_ms)
        height = np.where((progress >= 0) & (progress < 1), np.minimum(8 * progress, 1 - progress), 0)
        return first & (rng.random(len(at)) < VIRAL * height)


def viral(plan: Plan, catalogue: Catalogue) -> Viral:
    """Some item that was always there, somewhere in the middle half of the range."""
    rng = plan.rng(3)
    days = min(VIRAL_DAYS, plan.days / 2)
    start = plan.start_ms + int(rng.uniform(0.25, 0.75) * (plan.days - days) * MS_DAY)
    item = int(rng.integers(0, len(catalogue.group_names)))  # the first of each group never sells out
    return Viral(item, start, start + int(days * MS_DAY))


def bursts(plan: Plan, stretches: list[Chunk]) -> np.ndarray:
    """How many rows the bot adds in each stretch: nearly always none, then very many."""
    rng = plan.rng(4)
    weight = np.array([chunk.n_rows for chunk in stretches], float)
    n_bursts = min(max(1, plan.days // DAYS_PER_BURST), np.count_nonzero(weight))
    which = rng.choice(len(stretches), n_bursts, replace=False, p=weight / weight.sum())
    rows = np.zeros(len(stretches), np.int64)
    rows[which] = min(MOST_BOT_ROWS, round(plan.events * BOT / n_bursts))
    return np.minimum(rows, weight.astype(np.int64) // 3)


def burst(rng, people: People, catalogue: Catalogue, chunk: Chunk, n: int, end_ms: int) -> Rows:
    """``n`` views by the bot, going through the shop in no order faster than anybody could."""
    start = int(rng.integers(chunk.start_ms, chunk.end_ms))
    gap = min(BOT_GAP_MS, (end_ms - start) / (n + 1))
    time = start + (np.arange(n) * gap).astype(np.int64)
    on_sale = np.flatnonzero(catalogue.on_sale(chunk.start_ms))
    desktop = list(DEVICES).index("desktop")
    who = {"user": people.bot, "country": people.country[people.bot], "device": desktop, "session": 0}
    return make(n, time=time, arrival=time, kind=KIND["view"], item=rng.choice(on_sale, n), **who)


def delay(rng, rows: Rows) -> None:
    """Let a few rows arrive hours after they happened."""
    late = np.flatnonzero(rng.random(size(rows)) < LATE)
    rows["arrival"][late] += (rng.uniform(*LATE_HOURS, len(late)) * MS_HOUR).astype(np.int64)


def twice(rng, rows: Rows, n: int) -> Rows:
    """Exact copies of ``n`` of the rows (of those in time, where there are enough), arriving within the minute."""
    in_time = np.flatnonzero(rows["arrival"] == rows["time"])
    copies = take(rows, rng.choice(in_time if len(in_time) >= n else size(rows), n, replace=False))
    copies["arrival"] += rng.integers(1, 60_000, size(copies))
    return copies


def broken(rng, rows: Rows, ways: np.ndarray) -> Rows:
    """For each of ``ways`` (1 + position in BREAKAGES) a new row made after a view in ``rows`` and broken that way."""
    views = np.flatnonzero(rows["kind"] == KIND["view"])
    bad = take(rows, rng.choice(views if len(views) else size(rows), len(ways)))
    bad.update(broken=ways.astype(np.int8), arrival=bad["time"].copy())
    bad["kind"][:], bad["stars"][:], bad["query"][:], bad["basket"][:] = KIND["view"], -1, -1, -1
    bad["item"] = np.maximum(bad["item"], 0)
    is_way = {name: ways == 1 + at for at, name in enumerate(BREAKAGES)}
    bad["item"][is_way["missing_item"]] = -1
    bad["kind"][is_way["unknown_kind"]] = UNKNOWN_KIND
    negative = is_way["negative_quantity"]
    bad["kind"][negative] = KIND["purchase"]
    bad["basket"][negative] = bad["session"][negative]
    bad["quantity"] = np.where(negative, -rng.integers(1, 5, len(ways)), 0).astype(np.int16)
    return bad


class Dues:
    """Hands out a total of rows over the stretches in proportion, never more than a stretch has room for."""

    def __init__(self, total: int, n_rows: int):
        self.share, self.rows_seen, self.given = total / n_rows, 0, 0

    def due(self, chunk_rows: int, room: int) -> int:
        self.rows_seen += chunk_rows
        now = max(0, min(room, round(self.share * self.rows_seen) - self.given))
        self.given += now
        return now
