"""Looks after what was loaded: renews what the release names, unlinks the rest, tells what is missing. Never scans.

A field of ``{ctl}:loads`` stands before the first list of a generation's keys and goes after the last, and a list
stands before its keys and goes after them: whatever stopped a loader, or an unlink, the next look finds what is left.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson
import redis
from redis.cluster import RedisCluster

from conf.settings import Publish
from jobs.rim.key_lists import numbers_of, read_names
from jobs.rim.warm_part import wrong_of
from schemas.keys import Keys, tag_of
from schemas.release import CatalogueRelease, Release

CATALOGUE_GRACE_S = 600  # workers that are still fetching a replaced catalogue may finish
SECONDS_A_DAY = 86_400
RENEW_BELOW = 1 / 2  # of their life
LOW = 1 / 4  # of their life: half of what is left when they should have been renewed
TOGETHER = 250  # keys of one command at most: far below a millisecond, during which nobody else is answered
GONE = -2  # what TTL says of a key that is not there
LACKS, LOW_ON_TIME = "lacks keys", "runs low"


@dataclass(frozen=True, slots=True)
class Health:
    """How a load stands: seconds its shortest-lived list has, and how many of what was looked at are gone."""

    ttl_s: int
    n_missing: int

    def wrong(self, life_s: int) -> str:
        if self.n_missing:
            return LACKS
        return LOW_ON_TIME if self.ttl_s < LOW * life_s else ""


@dataclass(frozen=True, slots=True)
class Care:
    """What keeping did (``lines``), what is wrong with a kept generation (``warnings``) or a live one (``alarms``)."""

    lines: list[str]
    warnings: list[str]
    alarms: list[str]


def told(name: str, wrong: str, live: bool) -> str:
    command = f"`nightshelf publish --generation {name}`"
    if live:
        return f"{name} is live and {wrong}: {command} loads it again"
    return f"{name} is kept and {wrong}, so nobody can roll back to it; {command} loads it and makes it live"


class Keeper:
    """Keeps one Redis; ``heartbeat`` is called before each batch, and what it raises stops the keeper there."""

    def __init__(
        self, client: redis.Redis, keys: Keys, settings: Publish, heartbeat: Callable[[], None] = lambda: None
    ):
        self.client, self.keys, self.settings, self.heartbeat = client, keys, settings, heartbeat
        self.life_s = settings.ttl_days * SECONDS_A_DAY

    # looking

    def loads(self) -> dict[str, dict]:
        """What was loaded, or begun, and is not unlinked yet: name → what the loader said of it."""
        return {name.decode(): orjson.loads(raw) for name, raw in self.client.hgetall(self.keys.loads).items()}

    def names(self, tag: str, chunk: int) -> list[str]:
        return read_names(self.client, self.keys, tag, chunk) or []

    def together(self, names: Sequence[str]) -> Iterator[Sequence[str]]:
        """Names as one command may have them: a Cluster's keys are in slots of their own."""
        size = 1 if isinstance(self.client, RedisCluster) else TOGETHER
        yield from (names[at : at + size] for at in range(0, len(names), size))

    def missing(self, names: Sequence[str]) -> int:
        pipe = self.client.pipeline(transaction=False)
        for some in self.together(names):
            pipe.exists(*some)
        return len(names) - sum(pipe.execute())

    def look(self, generation: str, whole: bool = False) -> Health:
        """How a generation stands: all its lists are looked at, and the keys of the first and last (or ``whole``: all).

        One whose load has not ended lacks keys.
        """
        tag = tag_of(generation)
        said = orjson.loads(self.client.hget(self.keys.loads, generation) or b"{}")
        if said.get("state") != "loaded":
            return Health(0, 1)
        chunks = range(said["n_chunks"])
        ttls = self.ttls(self.keys.index(tag, chunk) for chunk in chunks)
        n_missing = sum(ttl == GONE for ttl in ttls)
        for chunk in chunks if whole else sorted({*chunks[:1], *chunks[-1:]}):
            self.heartbeat()
            n_missing += self.missing(self.names(tag, chunk))
        return Health(min(ttls, default=self.life_s), n_missing)

    def look_at_catalogue(self, catalogue: CatalogueRelease) -> Health:
        ttls = self.ttls(self.keys.catalogue(catalogue.sha, number) for number in range(catalogue.n_chunks))
        return Health(min(ttls, default=self.life_s), sum(ttl == GONE for ttl in ttls))

    def ttls(self, names: Iterable[str]) -> list[int]:
        """Seconds each key has; ``GONE`` for a missing one."""
        pipe = self.client.pipeline(transaction=False)
        for name in names:
            pipe.ttl(name)
        return pipe.execute()

    def holds(self, generation: str) -> bool:
        """Whether a loaded generation still stands, as far as ``look`` sees."""
        return self.look(generation).n_missing == 0

    def holds_catalogue(self, catalogue: CatalogueRelease) -> bool:
        return self.look_at_catalogue(catalogue).n_missing == 0

    # renewing

    def keep(self, release: Release, whole: bool = False) -> Care:
        """Renew what the release names and has less than half its life; tell what is wrong with it."""
        care = Care([], [], [])
        live = {entry.base for entry in release.surfaces.values()}
        for name in sorted(release.kept()):
            health = self.look(name, whole)
            if not health.n_missing and health.ttl_s < RENEW_BELOW * self.life_s:
                health = self.renew(name)
                care.lines.append(f"{name}: renewed for {self.settings.ttl_days} days")
            entry = release.named(name)
            if wrong := health.wrong(self.life_s) or (entry and wrong_of(entry, self.settings.ttl_days)):
                serious = name in live or name in release.pinned
                (care.alarms if serious else care.warnings).append(told(name, wrong, name in live))
        self.keep_catalogue(release.catalogue, care)
        return care

    def renew(self, generation: str) -> Health:
        """Give all keys of a generation their whole life again, the lists last: what is cut off is done again."""
        tag, n_missing, ttl = tag_of(generation), 0, self.life_s
        for chunk in numbers_of(self.client, self.keys, tag):
            self.heartbeat()
            pipe = self.client.pipeline(transaction=False)
            for name in self.names(tag, chunk):
                pipe.expire(name, ttl - random.randrange(ttl // 10 + 1))
            n_missing += sum(not reply for reply in pipe.execute())
            n_missing += not self.client.expire(self.keys.index(tag, chunk), ttl)
        return Health(ttl, n_missing)

    def keep_catalogue(self, catalogue: CatalogueRelease, care: Care) -> None:
        health, name = self.look_at_catalogue(catalogue), f"catalogue {catalogue.sha[:12]}"
        if health.n_missing:
            care.alarms.append(f"{name} is live and {LACKS}: the next publish loads it again")
        elif health.ttl_s < RENEW_BELOW * self.life_s:
            self.expire_catalogue(catalogue.sha, catalogue.n_chunks, self.life_s)
            care.lines.append(f"{name}: renewed for {self.settings.ttl_days} days")

    # unlinking

    def clean(self, release: Release | None) -> list[str]:
        """Unlink every registered load that the release neither serves nor keeps; returns what was removed.

        Only who holds the lease may: to anybody else a load in progress looks like one that died.
        """
        kept = release.kept() | {f"catalogue:{release.catalogue.sha}"} if release else set()
        dead = [(name, said) for name, said in self.loads().items() if name not in kept]
        for name, said in dead:
            self.heartbeat()
            if name.startswith("catalogue:"):
                self.expire_catalogue(name.removeprefix("catalogue:"), said["n_chunks"], CATALOGUE_GRACE_S)
            else:
                self.unlink(tag_of(name))
            self.client.hdel(self.keys.loads, name)
        return [name for name, _ in dead]

    def expire_catalogue(self, sha: str, n_chunks: int, seconds: int) -> None:
        for number in range(n_chunks):
            self.client.expire(self.keys.catalogue(sha, number), seconds)

    def unlink(self, tag: str) -> None:
        """Unlink the keys of a generation, each list after its keys, the last first: what is cut off leaves no gap."""
        for chunk in reversed(list(numbers_of(self.client, self.keys, tag))):
            self.heartbeat()
            pipe = self.client.pipeline(transaction=False)
            for some in self.together(self.names(tag, chunk)):
                pipe.unlink(*some)
            pipe.execute()
            self.client.unlink(self.keys.index(tag, chunk))

    def leave_trace(self, generation: str) -> None:
        """Register a load that went on after another run had cleaned it away, so that the next one looks again."""
        self.client.hsetnx(self.keys.loads, generation, orjson.dumps({"state": "overtaken"}))
