"""The one place that reads Redis: short time-outs, no retries, one round trip a request, a breaker, and one replica.

A user's keys share a slot and are strings, so one MGET reads them all in one command. After three failures in a row,
while reads are slow, and at first, a server's breaker is open: requests are told at once that it is away, and only the
release watch, in the background, goes on asking. Its first answer in time closes the breaker.

Where ``redis.replica_urls`` names replicas, what the master does not give is asked of one of them, once: generations
never change, so a replica that lags gives what the master gave, or nothing.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import redis

from conf.settings import Redis as RedisSettings
from schemas.keys import Keys
from serving.deadline import Deadline
from serving.node import Node, StoreAway

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
        self.master = Node(settings, settings.url)
        self.replicas = [Node(settings, url) for url in settings.replica_urls]
        self.nodes = [self.master, *self.replicas]
        self.probe_s = (settings.connect_timeout_ms + settings.read_timeout_ms) / 1000

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
        """As ``values`` for groups of keys, each of one slot, in one round trip."""
        try:
            return self.master.mget(groups, deadline)
        except StoreAway:
            ready = [node for node in self.replicas if not node.breaker.open]
            if not ready:
                raise
        return random.choice(ready).mget(groups, deadline)

    def ask(self, names: list[str]) -> tuple[list[bytes | None], bool]:
        """The values, and whether the master gave them; a probe of every server, for the background.

        Raises:
            StoreAway: none answers.
        """
        found, trouble = [], StoreAway("no server")
        for node in self.nodes:
            try:
                found.append((node.mget([names], Deadline.after(self.probe_s), probe=True)[0], node is self.master))
            except StoreAway as error:
                trouble = error if node is self.master else trouble
        if not found:
            raise trouble
        return found[0]

    def gather(self, names: list[str]) -> list[bytes | None]:
        """Values of keys of any slots, with patience; for the background: the breakers neither hear nor are heard.

        Raises:
            StoreAway: Redis failed.
        """
        trouble: Exception | None = None
        for node in self.nodes:
            pipe = node.patient.pipeline(transaction=False)
            for name in names:
                pipe.get(name)
            try:
                return pipe.execute()
            except redis.exceptions.RedisError as error:
                trouble = trouble or error
        raise StoreAway(str(trouble))

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

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def read_as(values: list[bytes | None]) -> UserRead:
    return UserRead(*values, *[None] * (5 - len(values)))
