"""The lists of a generation's keys that stand beside them in Redis, so that they are found again without SCAN.

A list is 16 bytes a key where all are users' (byte 1, then the pseudonyms), else zlib of a JSON list. Loaders write
lists side by side: where one died, a few numbers may be missing before the last, never more than ``GAP``.
"""

import zlib
from collections.abc import Iterator, Sequence

import orjson
import redis

from schemas.identity import PSEUDONYM_BYTES
from schemas.keys import Keys

OF_USERS = b"\1"
GAP = 256  # loaders at work times the lists one has on its way, and more


def pack_names(names: Sequence[str]) -> bytes:
    return zlib.compress(orjson.dumps(names), 1)


def pack_pseudonyms(pseudonyms: bytes) -> bytes | None:
    """The list of the users whose pseudonyms, 32 hex digits each, stand behind one another; None: one is none."""
    try:
        raw = bytes.fromhex(pseudonyms.decode())
    except ValueError:
        return None
    return OF_USERS + raw if len(raw) * 2 == len(pseudonyms) and raw.hex().encode() == pseudonyms else None


def unpack_names(raw: bytes, keys: Keys, tag: str) -> list[str]:
    """The keys a list names."""
    if not raw.startswith(OF_USERS):
        return orjson.loads(zlib.decompress(raw))
    digits = raw[1:].hex()
    width = 2 * PSEUDONYM_BYTES
    return [keys.slate(digits[at : at + width], tag) for at in range(0, len(digits), width)]


def read_names(client: redis.Redis, keys: Keys, tag: str, chunk: int) -> list[str] | None:
    """Keys of a chunk; None where there is no such list."""
    raw = client.get(keys.index(tag, chunk))
    return None if raw is None else unpack_names(raw, keys, tag)


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
