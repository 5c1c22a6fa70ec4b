"""The neighbor lists a worker was asked for: read once a generation, held in process and the hottest on disk too.

What a tag names never changes, so a copy is never stale; a new generation brings new tags, and the hottest lists are
read under those before it is adopted. So a viral item costs one read a worker and generation, however many ask at once,
and when Redis is away what was asked before is still answered.
"""

import random
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from threading import Lock
from typing import NamedTuple

from schemas.release import Release
from serving.copies import Snapshot
from serving.deadline import Deadline
from serving.reader import Reader, StoreAway

NEIGHBOR_SURFACES = ("similar", "bought_together")
CAPACITY = 10_000
HOTTEST = 1_000  # lists that are read ahead and kept on disk
ABSENT_S = 5.0  # how long "there is none" is believed, to twice that: the lists of an item may be loaded again


class Held(NamedTuple):
    """A list, or None; good until ``until`` of the monotonic clock."""

    value: bytes | None
    until: float


class PublicLists:
    """Lists by item and tag; safe to share between threads."""

    def __init__(self, reader: Reader, capacity: int = CAPACITY):
        self.reader, self.capacity = reader, capacity
        self.held: OrderedDict[tuple[int, str], Held] = OrderedDict()  # the last asked last
        self._flights: dict[tuple[int, str], Future] = {}
        self._lock = Lock()

    def get(self, item_idx: int, tag: str, deadline: Deadline) -> bytes | None:
        """A packed list, None where the generation has none of this item.

        Raises:
            StoreAway: it was not asked before, and Redis is away.
        """
        key = (item_idx, tag)
        held = self.recall(key)
        if held is not None and held.until > time.monotonic():
            return held.value
        try:
            return self.fly(key, deadline)
        except StoreAway:
            if held is None:
                raise
            return held.value

    def recall(self, key: tuple[int, str]) -> Held | None:
        with self._lock:
            held = self.held.get(key)
            if held is not None:
                self.held.move_to_end(key)
        return held

    def fly(self, key: tuple[int, str], deadline: Deadline) -> bytes | None:
        """Read; who asks for the same meanwhile waits for this one read."""
        with self._lock:
            flight = self._flights.get(key)
            first = flight is None
            if first:
                flight = self._flights[key] = Future()
        if first:
            self.read(key, deadline, flight)
        try:
            return flight.result(max(0.0, deadline.left()))
        except TimeoutError:
            raise StoreAway("no time is left to wait for a list that is being read") from None

    def read(self, key: tuple[int, str], deadline: Deadline, flight: Future) -> None:
        try:
            value = self.reader.neighbors(*key, deadline)
            self.hold({key: value})
            flight.set_result(value)
        except BaseException as error:  # every one of those who wait is told
            flight.set_exception(error)
        finally:
            with self._lock:
                del self._flights[key]

    def hold(self, lists: Mapping[tuple[int, str], bytes | None]) -> None:
        now = time.monotonic()
        with self._lock:
            for key, value in lists.items():
                life = ABSENT_S * (1 + random.random()) if value is None else float("inf")
                self.held[key] = Held(value, now + life)
            while len(self.held) > self.capacity:
                self.held.popitem(last=False)

    def hottest(self, tags: Iterable[str]) -> dict[tuple[int, str], bytes | None]:
        """The lists of these tags that were asked last, at most HOTTEST."""
        wanted = set(tags)
        with self._lock:
            recent = [(key, held.value) for key, held in reversed(self.held.items()) if key[1] in wanted]
        return dict(recent[:HOTTEST])

    def warm(self, tags: Mapping[str, str]) -> None:
        """Read what is hot under old tags under the new ones; ``tags`` is old -> new.

        Raises:
            StoreAway: Redis failed meanwhile.
        """
        wanted = [(item_idx, tags[tag]) for item_idx, tag in self.hottest(tags)]
        wanted.reverse()  # the hottest is held last, and dropped last
        if wanted:
            values = self.reader.gather([self.reader.keys.neighbors(*key) for key in wanted])
            self.hold(dict(zip(wanted, values, strict=True)))


def neighbor_tags(snapshot: Snapshot | None) -> list[str]:
    """Tags of the neighbor lists that are live."""
    live = [snapshot.release.live(surface) for surface in NEIGHBOR_SURFACES] if snapshot else []
    return [entry.tag for entry in live if entry]


def renewed(before: Release, after: Release) -> dict[str, str]:
    """Tags of the neighbor lists that change: old -> new."""
    pairs = [(before.live(surface), after.live(surface)) for surface in NEIGHBOR_SURFACES]
    return {old.tag: new.tag for old, new in pairs if old and new and old.tag != new.tag}
