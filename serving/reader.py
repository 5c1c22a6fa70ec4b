"""The one place that reads Redis: short time-outs, no retries, one round trip a request, and a breaker.

A user's keys share a slot and are strings, so one MGET reads them all in one command; it costs half of a pipeline of
GETs in redis-py. After three failures in a row, and at first, the breaker is open: requests are told at once that Redis
is away, and only the release watch, in the background, goes on asking. Its first answer in time closes it.
"""

import threading
from collections.abc import Sequence
from typing import NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from conf.settings import Redis as RedisSettings
from schemas.keys import Keys, unix_path
from serving.deadline import FLOOR_S, Deadline

FAILURES_TO_OPEN = 3
PATIENCE = 100  # a catalogue chunk has a megabyte


class StoreAway(ConnectionError):
    """Redis does not answer, or not in time."""


class UserRead(NamedTuple):
    """What Redis holds about one user, None for each value that is not there; packed as ``schemas.codec`` says."""

    flags: bytes | None
    recents: bytes | None
    seen: bytes | None
    delta: bytes | None
    base: bytes | None


def connect(settings: RedisSettings, patience: float = 1) -> redis.Redis:
    """A client that waits the settings' time-outs times ``patience``; connects on first use."""
    options = {
        "socket_connect_timeout": settings.connect_timeout_ms * patience / 1000,
        "socket_timeout": settings.read_timeout_ms * patience / 1000,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,  # CLIENT SETINFO would cost two round trips of every new connection
    }
    path = unix_path(settings.url)
    if path is not None:
        return redis.Redis(unix_socket_path=path, **options)
    return redis.Redis.from_url(settings.url, **options)


class Reader:
    """Reads values; safe to share between threads."""

    def __init__(self, settings: RedisSettings):
        self.keys = Keys(settings.namespace)
        self.client, self.patient = connect(settings), connect(settings, PATIENCE)
        self._failures = FAILURES_TO_OPEN
        self._lock = threading.Lock()

    @property
    def away(self) -> bool:
        """Whether the breaker is open."""
        return self._failures >= FAILURES_TO_OPEN

    def values(self, names: list[str], deadline: Deadline) -> list[bytes | None]:
        """The values of keys of one slot, None for each missing one.

        Raises:
            StoreAway: Redis failed now, the breaker is open, or too little time is left.
        """
        if self.away:
            raise StoreAway("Redis is away")
        if deadline.left() < FLOOR_S:
            raise StoreAway("no time is left to ask Redis")
        return self.ask(names)

    def ask(self, names: list[str]) -> list[bytes | None]:
        """As ``values``, whatever the breaker says: a probe, for the background."""
        try:
            found = self.client.mget(names)
        except redis.exceptions.RedisError as error:
            with self._lock:
                self._failures += 1
            raise StoreAway(str(error)) from None
        self._failures = 0
        return found

    def gather(self, names: list[str]) -> list[bytes | None]:
        """Values of keys of any slots, with patience; for the background: the breaker neither hears nor is heard.

        Raises:
            StoreAway: Redis failed.
        """
        pipe = self.patient.pipeline(transaction=False)
        for name in names:
            pipe.get(name)
        try:
            return pipe.execute()
        except redis.exceptions.RedisError as error:
            raise StoreAway(str(error)) from None

    def user(self, pseudonym: str, tag: str | None, deadline: Deadline) -> UserRead:
        """All that is read of a user, in one round trip; without a ``tag`` only what is outside generations."""
        return read_as(self.values(self.user_keys(pseudonym, tag), deadline))

    def users(self, pseudonyms: Sequence[str], tag: str | None, deadline: Deadline) -> list[UserRead]:
        """As ``user`` for many, in one pipeline."""
        if not pseudonyms:
            return []
        if self.away or deadline.left() < FLOOR_S:
            raise StoreAway("Redis is away, or no time is left to ask it")
        pipe = self.client.pipeline(transaction=False)
        for user in pseudonyms:
            pipe.mget(self.user_keys(user, tag))
        try:
            return [read_as(values) for values in pipe.execute()]
        except redis.exceptions.RedisError as error:
            raise StoreAway(str(error)) from None

    def user_keys(self, pseudonym: str, tag: str | None) -> list[str]:
        names = [self.keys.flags(pseudonym), self.keys.recents(pseudonym)]
        if tag is None:
            return names
        of_tag = (self.keys.seen(pseudonym, tag), self.keys.delta(pseudonym, tag), self.keys.slate(pseudonym, tag))
        return [*names, *of_tag]

    def neighbors(self, item_idx: int, tag: str, deadline: Deadline) -> bytes | None:
        return self.values([self.keys.neighbors(item_idx, tag)], deadline)[0]

    def live(self, deadline: Deadline) -> bytes | None:
        """The release as it is now."""
        return self.values([self.keys.live], deadline)[0]


def read_as(values: list[bytes | None]) -> UserRead:
    return UserRead(*values, *[None] * (5 - len(values)))
