"""The traffic of the whole range, stretch by stretch, in the order in which it arrives."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from jobs.generator import funnel, shelf, trouble, visits
from jobs.generator.catalogue import Catalogue
from jobs.generator.people import People
from jobs.generator.plan import Chunk, Plan, chunks
from jobs.generator.rows import KIND, MS_HOUR, Rows, concat, make, size, take

ROWS_PER_VISIT = 7.5  # expected; a stretch draws again when it was too few
VIRAL_SUITS = -1.5  # everybody is mildly pleased by the viral item


@dataclass
class Tally:
    """What has come out so far; ``late`` counts rows more than an hour older than one written before them."""

    sessions: int = 0
    anonymous_sessions: int = 0
    logged_in_on_the_way: int = 0
    bot_events: int = 0
    events: int = 0
    late: int = 0
    duplicates: int = 0
    broken: np.ndarray = field(default_factory=lambda: np.zeros(len(trouble.BREAKAGES), np.int64))
    by_kind: np.ndarray = field(default_factory=lambda: np.zeros(len(KIND), np.int64))
    first_ms: int = np.iinfo(np.int64).max
    last_ms: int = 0

    def count(self, rows: Rows) -> None:
        """Take in rows in the order in which they are written."""
        sound = rows["broken"] == 0
        self.events += len(sound)
        self.broken += np.bincount(rows["broken"][~sound] - 1, minlength=len(self.broken))
        self.by_kind += np.bincount(rows["kind"][sound], minlength=len(self.by_kind))
        time = rows["time"][sound]
        if len(time):
            newest = np.maximum(np.maximum.accumulate(time), self.last_ms)
            self.late += int((time < newest - MS_HOUR).sum())
            self.first_ms, self.last_ms = min(self.first_ms, int(time.min())), int(newest[-1])


class Traffic:
    """The events of one world; iterate once. ``tally`` is complete when the iteration is."""

    def __init__(self, plan: Plan, catalogue: Catalogue, people: People):
        self.plan, self.catalogue, self.people = plan, catalogue, people
        self.viral = trouble.viral(plan, catalogue)
        self.tally = Tally()
        self._to_come = make(0)  # returns and ratings that are not due yet
        self._next_number = self._next_session = 0
        self._twice = trouble.Dues(max(1, round(plan.events * trouble.TWICE)), plan.events)
        n_broken = max(len(trouble.BREAKAGES), round(plan.events * trouble.BROKEN))
        self._broken = trouble.Dues(n_broken, plan.events)

    def __iter__(self) -> Iterator[Rows]:
        """Batches of rows in order of arrival, ``plan.events`` of them in all."""
        waiting = make(0)
        stretches = chunks(self.plan)
        for chunk, n_bot in zip(stretches, trouble.bursts(self.plan, stretches), strict=True):
            rng = self.plan.rng(5, chunk.index)
            waiting = concat([waiting, *self._written_in(rng, chunk, int(n_bot))])
            waiting = take(waiting, np.argsort(waiting["arrival"], kind="stable"))
            last = chunk.end_ms == self.plan.end_ms
            ready = size(waiting) if last else int(np.searchsorted(waiting["arrival"], chunk.end_ms))
            out, waiting = take(waiting, slice(0, ready)), take(waiting, slice(ready, None))
            self.tally.count(out)
            yield out

    def _written_in(self, rng, chunk: Chunk, n_bot: int) -> list[Rows]:
        """Exactly ``chunk.n_rows`` rows, the broken and the doubled ones among them."""
        before = self._broken.given
        n_broken = self._broken.due(chunk.n_rows, chunk.n_rows // 4)
        n_twice = self._twice.due(chunk.n_rows, chunk.n_rows // 4)
        sound = self._sound(rng, chunk, chunk.n_rows - n_broken - n_twice, n_bot)
        trouble.delay(rng, sound)
        ways = 1 + (before + np.arange(n_broken)) % len(trouble.BREAKAGES)
        bad = trouble.broken(rng, sound, ways) if n_broken else make(0)
        bad["number"] = self._numbers(n_broken)
        copies = trouble.twice(rng, sound, n_twice) if n_twice else make(0)
        self.tally.duplicates += n_twice
        return [sound, copies, bad]

    def _sound(self, rng, chunk: Chunk, n: int, n_bot: int) -> Rows:
        """``n`` rows: the bot's, what people come back for, and visits for all the rest."""
        parts = [self._bot(rng, chunk, n_bot), self._due(chunk, (n - n_bot) // 2)]
        stocked = shelf.stock(self.catalogue, chunk)
        while missing := n - sum(map(size, parts)):
            parts.append(self._visits(rng, chunk, stocked, missing))
        rows = concat(parts)
        rows["number"] = self._numbers(n)
        return rows

    def _bot(self, rng, chunk: Chunk, n: int) -> Rows:
        if not n:
            return make(0)
        rows = trouble.burst(rng, self.people, self.catalogue, chunk, n, self.plan.end_ms)
        rows["session"][:] = self._sessions(1)
        self.tally.bot_events += n
        return rows

    def _due(self, chunk: Chunk, room: int) -> Rows:
        """Returns and ratings of this stretch, each a visit of its own; what finds no room never happens."""
        due = self._to_come["time"] < chunk.end_ms
        rows = take(self._to_come, np.flatnonzero(due)[:room])
        self._to_come = take(self._to_come, ~due)
        rows["session"] = self._sessions(size(rows))
        return rows

    def _visits(self, rng, chunk: Chunk, stocked: shelf.Shelf, n: int) -> Rows:
        """Rows of whole visits until there are ``n``; fewer when the visits drawn did not give as many."""
        arrived = visits.arrive(rng, self.people, chunk, int(n / ROWS_PER_VISIT * 1.05) + 5, self.plan.end_ms)
        looker = arrived.user[arrived.visit]
        item, suits, passed_over = shelf.pick(rng, stocked, self.catalogue, self.people, looker, arrived.first)
        struck = self.viral.strike(rng, arrived.at, arrived.first)
        item[struck], suits[struck] = self.viral.item, VIRAL_SUITS
        rows = funnel.cut(funnel.rows_of(rng, arrived, item, suits, passed_over), n)
        self._count_visits(rows)
        offset = self._sessions(len(arrived.user))[0]
        rows["session"] += offset
        rows["basket"][rows["basket"] >= 0] += offset
        later = funnel.afterwards(rng, rows, self._suits)
        self._to_come = concat([self._to_come, take(later, later["time"] < self.plan.end_ms)])
        return rows

    def _suits(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        affinity = np.einsum("ij,ij->i", self.people.vectors[user], self.catalogue.vectors[item])
        return affinity - self.people.best[user]

    def _count_visits(self, rows: Rows) -> None:
        came = np.bincount(rows["session"]) > 0
        known = np.bincount(rows["session"], rows["user"] >= 0) > 0
        unknown = np.bincount(rows["session"], rows["user"] < 0) > 0
        self.tally.sessions += int(came.sum())
        self.tally.anonymous_sessions += int((came & ~known).sum())
        self.tally.logged_in_on_the_way += int((known & unknown).sum())

    def _numbers(self, n: int) -> np.ndarray:
        """The next ``n`` event numbers."""
        self._next_number += n
        return np.arange(self._next_number - n, self._next_number)

    def _sessions(self, n: int) -> np.ndarray:
        """The next ``n`` session numbers."""
        self._next_session += n
        return np.arange(self._next_session - n, self._next_session)
