"""The lists of a generation's keys that stand beside them in Redis, so that they are found again without SCAN."""

import zlib
from collections.abc import Sequence

import orjson
import redis

from schemas.keys import Keys


def pack_names(names: Sequence[str]) -> bytes:
    return zlib.compress(orjson.dumps(names), 1)


def read_names(client: redis.Redis, keys: Keys, tag: str, chunk: int) -> list[str] | None:
    """Keys of a chunk; None where there is no such list."""
    raw = client.get(keys.index(tag, chunk))
    return None if raw is None else orjson.loads(zlib.decompress(raw))
