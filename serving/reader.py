"""The one place that asks Redis: short time-outs, no retries, one round trip a request, a breaker, and one replica.

A user's keys share a slot and are strings, so one MGET reads them all in one command. After three failures in a row,
while reads are slow, and at first, a server's breaker is open: requests are told at once that it is away, and only the
release watch, in the background, goes on asking. Its first answer in time closes the breaker.

Where ``redis.replica_urls`` names replicas, what the master does not give is asked of one of them, once: generations
never change, so a replica that lags gives what the master gave, or nothing.
"""

import random
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import redis

from conf.settings import Redis as RedisSettings
from schemas.keys import Keys
from serving.deadline import Deadline
from serving.node import Node, StoreAway
from serving.topology import Shard, topology_of

__all__ = ["Reader", "StoreAway", "UserRead"]


class UserRead(NamedTuple):
    """What Redis holds about one user, None for each value that is not there; packed as ``schemas.codec`` says."""

    flags: bytes | None
    recents: bytes | None
    seen: bytes | None
    delta: bytes | None
    base: bytes | None


class Reader:
    """Reads values; safe to share between threads."""

    def __init__(self, settings: RedisSettings):
        self.keys = Keys(settings.namespace)
        self.topology = topology_of(settings)
        self.probe_s = (settings.connect_timeout_ms + settings.read_timeout_ms) / 1000

    @property
    def nodes(self) -> list[Node]:
        return [node for shard in self.topology.shards for node in shard.nodes]

    @property
    def away(self) -> bool:
        """Whether requests are told that Redis is away: the breaker of every server is open."""
        return all(node.breaker.open for node in self.nodes)

    def values(self, names: list[str], deadline: Deadline) -> list[bytes | None]:
        """The values of keys of one slot, None for each missing one.

        Raises:
            StoreAway: Redis failed now, its breaker is open, or too little time is left.
        """
        return self.groups([names], deadline)[0]

    def groups(self, groups: Sequence[list[str]], deadline: Deadline) -> list[list[bytes | None]]:
        """As ``values`` for groups of keys, each of one slot, in one round trip to each server that holds some."""
        shards = [self.topology.holding(names[0]) for names in groups]
        if all(shard is shards[0] for shard in shards):
            return self.of_shard(shards[0], groups, deadline)
        found: list[list[bytes | None]] = [[] for _ in groups]
        for shard in dict.fromkeys(shards):
            places = [place for place, one in enumerate(shards) if one is shard]
            values = self.of_shard(shard, [groups[place] for place in places], deadline)
            for place, value in zip(places, values, strict=True):
                found[place] = value
        return found

    def of_shard(self, shard: Shard, groups: Sequence[list[str]], deadline: Deadline) -> list[list[bytes | None]]:
        """From the master, or else from one replica."""
        try:
            return shard.master.mget(groups, deadline)
        except StoreAway:
            self.topology.suspect()
            ready = [node for node in shard.replicas if not node.breaker.open]
            if not ready:
                raise
        return random.choice(ready).mget(groups, deadline)

    def ask(self, names: list[str]) -> tuple[list[bytes | None], bool]:
        """The values, and whether the master gave them; a probe of every server, for the background.

        Raises:
            StoreAway: none of those that hold the keys answers.
        """
        self.topology.refresh()
        shard = self.topology.holding(names[0])
        found, trouble = [], StoreAway("no server")
        for node in shard.nodes:
            try:
                values = node.mget([names], Deadline.after(self.probe_s), probe=True)[0]
                found.append((values, node is shard.master))
            except StoreAway as error:
                trouble = error if node is shard.master else trouble
                self.topology.suspect()
        self.wake(shard)
        if not found:
            raise trouble
        return found[0]

    def wake(self, probed: Shard) -> None:
        """Probe the servers of other shards that requests are not sent to now."""
        for shard in self.topology.shards:
            for node in shard.nodes if shard is not probed else ():
                if node.breaker.open:
                    with suppress(StoreAway):
                        node.ping(Deadline.after(self.probe_s))

    def gather(self, names: list[str]) -> list[bytes | None]:
        """Values of keys of any slots, with patience; for the background: the breakers neither hear nor are heard.

        Raises:
            StoreAway: Redis failed.
        """
        shards = [self.topology.holding(name) for name in names]
        found: dict[str, bytes | None] = {}
        for shard in dict.fromkeys(shards):
            found |= patiently(shard, [name for name, one in zip(names, shards, strict=True) if one is shard])
        return [found[name] for name in names]

    def user(self, pseudonym: str, tag: str | None, deadline: Deadline) -> UserRead:
        """All that is read of a user, in one round trip; without a ``tag`` only what is outside generations."""
        return read_as(self.values(self.user_keys(pseudonym, tag), deadline))

    def users(self, pseudonyms: Sequence[str], tag: str | None, deadline: Deadline) -> list[UserRead]:
        """As ``user`` for many, in one round trip."""
        groups = [self.user_keys(pseudonym, tag) for pseudonym in pseudonyms]
        return [read_as(values) for values in self.groups(groups, deadline)] if groups else []

    def user_keys(self, pseudonym: str, tag: str | None) -> list[str]:
        keys = self.keys
        outside = [keys.flags(pseudonym), keys.recents(pseudonym)]
        if tag is None:
            return outside
        return [*outside, keys.seen(pseudonym, tag), keys.delta(pseudonym, tag), keys.slate(pseudonym, tag)]

    def neighbors(self, item_idx: int, tag: str, deadline: Deadline) -> bytes | None:
        return self.values([self.keys.neighbors(item_idx, tag)], deadline)[0]

    def live(self, deadline: Deadline) -> bytes | None:
        """The release as it is now."""
        return self.values([self.keys.live], deadline)[0]

    def put_back(self, user: str, tag: str, value: bytes, seconds: int) -> None:
        """Have Redis hold a user's list for a while, unless it does; for the background: what fails is not told."""
        name = self.keys.slate(user, tag)
        master = self.topology.holding(name).master
        if not master.breaker.open:
            with suppress(redis.exceptions.RedisError):
                master.patient.set(name, value, ex=seconds, nx=True)

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def patiently(shard: Shard, names: list[str]) -> dict[str, bytes | None]:
    trouble: Exception | None = None
    for node in shard.nodes:
        pipe = node.patient.pipeline(transaction=False)
        for name in names:
            pipe.get(name)
        try:
            return dict(zip(names, pipe.execute(), strict=True))
        except redis.exceptions.RedisError as error:
            trouble = trouble or error
    raise StoreAway(str(trouble))


def read_as(values: list[bytes | None]) -> UserRead:
    return UserRead(*values, *[None] * (5 - len(values)))
