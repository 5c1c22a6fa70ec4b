"""The lists of a generation's keys that stand beside them in Redis, so that they are found again without SCAN."""

import zlib
from collections.abc import Iterator, Sequence

import orjson
import redis

from schemas.keys import Keys

GAP = 256  # lists asked for at once; so many may be missing before one


def pack_names(names: Sequence[str]) -> bytes:
    return zlib.compress(orjson.dumps(names), 1)


def read_names(client: redis.Redis, keys: Keys, tag: str, chunk: int) -> list[str] | None:
    """Keys of a chunk; None where there is no such list."""
    raw = client.get(keys.index(tag, chunk))
    return None if raw is None else orjson.loads(zlib.decompress(raw))


def numbers_of(client: redis.Redis, keys: Keys, tag: str) -> Iterator[int]:
    """Numbers of the lists there are, rising."""
    start = 0
    while True:
        pipe = client.pipeline(transaction=False)
        for chunk in range(start, start + GAP):
            pipe.exists(keys.index(tag, chunk))
        there = [start + place for place, reply in enumerate(pipe.execute()) if reply]
        yield from there
        start += GAP
        if not there:
            return
