"""The one place that writes Redis: loads a generation or a catalogue, reads back what it wrote.

Every load leaves its trace before its first key: a field of ``{ctl}:loads``, then, ahead of each batch of keys, a chunk
that lists them (``{g:<tag>}:<k>``, zlib of a JSON list). So any later run can unlink whatever no release names, without
SCAN and without the lake, however the loader died.
"""

import random
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from conf.settings import Publish, Settings
from jobs.rim.errors import TemporaryError
from jobs.rim.key_lists import pack_names, read_names
from schemas.keys import Keys, tag_of, unix_path
from schemas.release import CatalogueRelease

CHUNK_BYTES = 1 << 20
SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one load wrote: keys, bytes of values, and the CRC-32 of all keys and values in order."""

    n_keys: int
    n_bytes: int
    crc32: int


def connect(settings: Settings) -> redis.Redis:
    """A client with the publisher's time-outs and no retries; connects on first use."""
    timeout = settings.publish.timeout_ms / 1000
    options = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": Retry(NoBackoff(), 0)}
    path = unix_path(settings.redis.url)
    if path is not None:
        return redis.Redis(unix_socket_path=path, protocol=2, **options)
    return redis.Redis.from_url(settings.redis.url, protocol=2, **options)


@contextmanager
def redis_trouble(where: str) -> Iterator[None]:
    """Redis errors as TemporaryError in one line.

    Raises:
        TemporaryError: Redis is away, slow, full, read-only or refuses a command.
    """
    try:
        yield
    except redis.exceptions.RedisError as error:
        if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM" in str(error):
            hint = "is out of memory: raise maxmemory or lower publish.keep; what was live still is"
        elif isinstance(error, (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)):
            hint = "cannot be reached: start it, or set redis.url (NIGHTSHELF_REDIS__URL)"
        else:
            hint = "refused a command"
        raise TemporaryError(f"Redis at {where} {hint} ({str(error).splitlines()[0]:.200})") from None


def eviction_warning(client: redis.Redis) -> str | None:
    """A line when Redis may evict keys, which would empty live slates; None when it may not or does not say."""
    try:
        policy = client.info("memory").get("maxmemory_policy", "noeviction")
    except redis.exceptions.ResponseError:
        return None
    if policy == "noeviction":
        return None
    return f"warning: Redis has maxmemory-policy {policy}; set noeviction, or live keys vanish when memory is short"


class Writer:
    """Loads and verifies through one client; keeps at most one pipeline of keys in memory.

    ``heartbeat`` is called before each batch; what it raises stops the writer there.
    """

    def __init__(
        self, client: redis.Redis, keys: Keys, settings: Publish, heartbeat: Callable[[], None] = lambda: None
    ):
        self.client, self.keys, self.settings, self.heartbeat = client, keys, settings, heartbeat

    def load(self, generation: str, entries: Iterable[tuple[str, bytes]]) -> Loaded:
        """Write all entries of a generation, then read a sample back.

        Raises:
            TemporaryError: a reply was not OK, or what Redis gives back is not what was written.
        """
        tag, chooser, sample = tag_of(generation), random.Random(generation), []
        self.client.hset(self.keys.loads, generation, orjson.dumps({"state": "loading"}))
        n_keys = n_bytes = crc = chunk = 0
        for batch in batched(entries, self.settings.pipeline_keys):
            self.heartbeat()
            self.write(self.keys.index(tag, chunk), batch, chooser)
            for key, value in batch:
                crc = zlib.crc32(value, zlib.crc32(key.encode(), crc))
                n_bytes += len(value)
                n_keys += 1
                keep_sample(sample, (key, value), n_keys, self.settings.verify_sample, chooser)
            chunk += 1
        self.verify(generation, sample, n_keys, chunk)
        loaded = Loaded(n_keys, n_bytes, crc)
        state = {"state": "loaded", "n_keys": n_keys, "n_bytes": n_bytes, "crc32": crc, "n_chunks": chunk}
        self.client.hset(self.keys.loads, generation, orjson.dumps(state))
        return loaded

    def write(self, index_key: str, batch: list[tuple[str, bytes]], chooser: random.Random) -> None:
        """One pipeline: the list of the keys first, so that a key never exists unlisted."""
        ttl = self.settings.ttl_days * SECONDS_A_DAY
        pipe = self.client.pipeline(transaction=False)
        pipe.set(index_key, pack_names([key for key, _ in batch]), ex=ttl)
        for key, value in batch:
            pipe.set(key, value, ex=ttl - chooser.randrange(ttl // 10 + 1))
        replies = pipe.execute()
        good = sum(reply is True for reply in replies)
        if good != len(batch) + 1:
            raise TemporaryError(f"Redis answered OK to {good} of {len(batch) + 1} SETs; what was live still is")

    def verify(self, generation: str, sample: list[tuple[str, bytes]], n_keys: int, n_chunks: int) -> None:
        """Count the listed keys that exist, and compare the sample byte for byte."""
        found = 0
        for chunk in range(n_chunks):
            self.heartbeat()
            pipe = self.client.pipeline(transaction=False)
            for key in self.listed(tag_of(generation), chunk) or ():
                pipe.exists(key)
            found += sum(pipe.execute())
        if found != n_keys:
            raise TemporaryError(f"{generation}: {n_keys:,} keys written, {found:,} found; nothing was switched")
        for batch in batched(sample, self.settings.pipeline_keys):
            pipe = self.client.pipeline(transaction=False)
            for key, _ in batch:
                pipe.get(key)
            for (key, value), found in zip(batch, pipe.execute(), strict=True):
                if found != value:
                    raise TemporaryError(f"{generation}: {key} does not read back as written; nothing was switched")

    def recheck(self, generation: str, loaded: Loaded) -> None:
        """Count the keys once more: for after a fail-over.

        Raises:
            TemporaryError: some are missing.
        """
        self.verify(generation, [], loaded.n_keys, -(-loaded.n_keys // self.settings.pipeline_keys))

    def settled(self, n_replicas: int, timeout_s: float) -> None:
        """Wait until that many replicas have all that was written so far.

        Raises:
            TemporaryError: they have not within ``timeout_s``.
        """
        deadline, slice_ms = time.monotonic() + timeout_s, self.settings.timeout_ms // 4
        while n_replicas and (reached := self.client.wait(n_replicas, slice_ms)) < n_replicas:
            if time.monotonic() >= deadline:
                raise TemporaryError(f"{reached} of {n_replicas} replicas have what was written; nothing was switched")

    def listed(self, tag: str, chunk: int) -> list[str] | None:
        """Keys of a chunk; None behind the last."""
        return read_names(self.client, self.keys, tag, chunk)

    def load_catalogue(self, packed: bytes, n_items: int, dictionary: int, as_of: str) -> CatalogueRelease:
        """Write the chunks of a packed catalogue and read them all back."""
        sha = sha256(packed).hexdigest()
        parts = [packed[at : at + CHUNK_BYTES] for at in range(0, len(packed), CHUNK_BYTES)]
        self.client.hset(self.keys.loads, f"catalogue:{sha}", orjson.dumps({"n_chunks": len(parts)}))
        for number, part in enumerate(parts):
            self.client.set(self.keys.catalogue(sha, number), part, ex=self.settings.ttl_days * SECONDS_A_DAY)
        if any(self.client.get(self.keys.catalogue(sha, number)) != part for number, part in enumerate(parts)):
            raise TemporaryError(f"catalogue {sha[:12]} does not read back as written; nothing was switched")
        return CatalogueRelease(sha, len(parts), len(packed), n_items, dictionary, as_of)


def batched(entries: Iterable, size: int) -> Iterator[list]:
    source = iter(entries)
    while batch := list(islice(source, size)):
        yield batch


def keep_sample(sample: list, entry: tuple[str, bytes], n_so_far: int, size: int, chooser: random.Random) -> None:
    """Keep an even random sample of what streams by (reservoir sampling)."""
    if len(sample) < size:
        sample.append(entry)
    elif (place := chooser.randrange(n_so_far)) < size:
        sample[place] = entry
