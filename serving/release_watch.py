"""Follows the release: a background thread asks every ``poll_ms`` and adopts a new one once all it needs is here."""

import logging
import random
import threading
import time
from collections.abc import Callable

import orjson

from schemas.release import Release, from_json
from serving.copies import CopyFolder, Snapshot, Trending, trending_from
from serving.hot import PublicLists, neighbor_tags, renewed
from serving.reader import Reader, StoreAway

FIRST_POLLS = 3
LISTS_EVERY_S = 30.0  # how often the hottest lists are written to disk, to twice that
log = logging.getLogger("nightshelf.serving")


class ReleaseWatch:
    """``snapshot`` is what to answer from, None while nothing was ever published (or never seen).

    A release whose catalogue or trending lists cannot be read is not adopted: the one before goes on, and the next poll
    tries again. ``after_poll`` holds what else is to be done as often; ``lists`` are the neighbor lists.
    """

    def __init__(self, reader: Reader, folder: CopyFolder, poll_ms: int):
        self.reader, self.keys, self.folder, self.poll_s = reader, reader.keys, folder, poll_ms / 1000
        self.snapshot: Snapshot | None = folder.load()
        self.lists = PublicLists(reader)
        self.lists.hold(folder.load_lists(neighbor_tags(self.snapshot)))
        self.lost = False  # Redis answers, but what was published is gone from it
        self.refused = ""  # what is wrong now, told once
        self.after_poll: list[Callable[[], None]] = []
        self._followed: list[tuple[str, Callable[[bytes | None], None]]] = []
        self._lists_due = time.monotonic() + LISTS_EVERY_S * random.random()
        self._adopting = threading.Lock()
        self._stop = threading.Event()

    @property
    def degraded(self) -> bool:
        """Whether answers come from copies: Redis is away or came back empty."""
        return self.lost or self.reader.away

    def follow(self, key: str, take: Callable[[bytes | None], None]) -> None:
        """Read ``key`` (of the slot of the release) with the release, in the same round trip; ``take`` gets its value.

        ``take`` must not raise; it is not called while the master is away.
        """
        self._followed.append((key, take))

    def start(self) -> "ReleaseWatch":
        """Poll now, then in the background; at first again where Redis was only slow: a worker is slow as it starts."""
        for _ in range(FIRST_POLLS):
            self.poll()
            if not self.reader.away:
                break
        threading.Thread(target=self.run, name="release-watch", daemon=True).start()
        return self

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """A tenth of the interval is jitter: workers that began together do not ask together for long."""
        while not self._stop.wait(self.poll_s * random.uniform(0.9, 1)):
            self.poll()

    def poll(self) -> None:
        """Look once; whatever goes wrong, what was adopted before stays."""
        try:
            (raw, *others), of_master = self.reader.ask([self.keys.live, *(key for key, _ in self._followed)])
            if of_master:  # a replica may lag, and none of these may go backwards
                for (_, take), value in zip(self._followed, others, strict=True):
                    take(value)
            self.lost = raw is None and self.snapshot is not None
            if raw is not None:  # behind those: a release that cannot be adopted does not hold them up
                self.adopt(raw, backwards=of_master)
        except StoreAway as error:
            self.tell(f"Redis is away: {error}")
        except (ValueError, OSError) as error:
            self.tell(f"release not adopted: {error}")
        self.keep_lists()
        for also in self.after_poll:
            also()

    def adopt(self, raw: bytes, backwards: bool = True) -> None:
        """Make a release the current one; unless ``backwards`` only one with a higher epoch, for replicas lag.

        Raises:
            ValueError: it, its catalogue or its trending lists cannot be read.
            StoreAway: Redis went away meanwhile.
        """
        with self._adopting:
            before = self.snapshot
            if before is not None and before.raw == raw:
                self.refused = ""
                return
            release = from_json(raw)
            if before is not None and release.epoch <= before.release.epoch and not backwards:
                return
            catalogue = self.catalogue(release, before)
            trending = self.trending(release, before)
            self.lists.warm(renewed(before.release, release) if before else {})
            self.snapshot = Snapshot(release, raw, catalogue, trending)
            self.refused = ""
        try:
            self.folder.keep(self.snapshot)
        except OSError as error:
            self.tell(f"no copy on disk: {error}")

    def catalogue(self, release: Release, before: Snapshot | None):
        wanted = release.catalogue
        if before is not None and before.release.catalogue.sha == wanted.sha:
            return before.catalogue
        held = self.folder.catalogue(wanted)
        if held is not None:
            return held
        parts = [self.reader.gather([self.keys.catalogue(wanted.sha, k)])[0] for k in range(wanted.n_chunks)]
        if None in parts:
            raise ValueError(f"catalogue {wanted.sha[:12]}: chunk {parts.index(None)} is not in Redis")
        return self.folder.keep_catalogue(wanted, b"".join(parts))

    def trending(self, release: Release, before: Snapshot | None) -> Trending | None:
        entry = release.live("trending")
        if entry is None:
            return None
        if before is not None and before.trending is not None and before.trending.generation == entry.base:
            return before.trending
        listed = self.reader.gather([self.keys.segments(entry.tag)])[0]
        if listed is None:
            raise ValueError(f"{entry.base}: its list of segments is not in Redis")
        segments = orjson.loads(listed)
        values = self.reader.gather([self.keys.trending(segment, entry.tag) for segment in segments])
        packed = dict(zip(segments, values, strict=True))
        if None in packed.values():
            raise ValueError(f"{entry.base}: a segment's list is not in Redis")
        return trending_from(entry, packed)

    def keep_lists(self) -> None:
        """Write the hottest lists to disk when that is due."""
        now = time.monotonic()
        if now < self._lists_due:
            return
        self._lists_due = now + LISTS_EVERY_S * random.uniform(1, 2)
        try:
            self.folder.keep_lists(self.lists.hottest(neighbor_tags(self.snapshot)))
        except OSError as error:
            self.tell(f"no copy of the hottest lists on disk: {error}")

    def tell(self, line: str) -> None:
        if line != self.refused:
            log.warning(line)
            self.refused = line
