"""The packed item catalogue that serving memory-maps: dictionary, titles, categories and availability in one file.

Version 1, little-endian; ``n`` items, item_idx is the position:

    offset   size   what
    0        8      magic "NSCATLG" and a zero byte
    8        4      format version = 1
    12       4      n
    16       8      version of the item dictionary
    24       8      length of the whole file
    32       16     BLAKE2b-128 of everything behind the header
    48       n      flags: bit 0 available
    ...      8(n+1) offset of each record from the start of the records; the last one is their total length
    ...      8n     BLAKE2b-64 of each item_id, rising
    ...      4n     the item_idx of each of those hashes
    ...      *      records: bytes of item_id, title, category (u32 each, 2**32 - 1 for none), then the three in UTF-8

Reading needs no numpy and copies nothing but the strings asked for.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b
from itertools import pairwise

FORMAT_VERSION = 1
MAGIC = b"NSCATLG\0"
HEADER = struct.Struct("<8sIIQQ16s")
RECORD = struct.Struct("<III")
U64, U32 = struct.Struct("<Q"), struct.Struct("<I")
ABSENT = 2**32 - 1
AVAILABLE = 1


def pack_catalogue(rows: Iterable[tuple[str, str | None, str | None, bool]], dictionary_version: int) -> bytes:
    """Pack rows of item_id, title, category and available, in the order of item_idx from 0 on.

    Raises:
        ValueError: an item_id stands twice.
    """
    flags, records, hashes, offsets = bytearray(), [], [], [0]
    for idx, (item_id, title, category, available) in enumerate(rows):
        record = pack_record(item_id, title, category)
        flags.append(AVAILABLE if available else 0)
        records.append(record)
        offsets.append(offsets[-1] + len(record))
        hashes.append((id_hash(item_id), idx, item_id))
    hashes.sort()
    for one, other in pairwise(hashes):
        if one[0] == other[0] and one[2] == other[2]:
            raise ValueError(f"item_id {one[2]!r} stands at item_idx {one[1]} and {other[1]}; allowed: once")
    n = len(flags)
    body = b"".join(
        (
            flags,
            struct.pack(f"<{n + 1}Q", *offsets),
            struct.pack(f"<{n}Q", *[number for number, _, _ in hashes]),
            struct.pack(f"<{n}I", *[idx for _, idx, _ in hashes]),
            *records,
        )
    )
    digest = blake2b(body, digest_size=16).digest()
    return HEADER.pack(MAGIC, FORMAT_VERSION, n, dictionary_version, HEADER.size + len(body), digest) + body


class Catalogue:
    """A packed catalogue over bytes or an mmap; the buffer must outlive it.

    Raises:
        ValueError: the buffer is no catalogue of this version, is truncated, or its checksum differs.
    """

    __slots__ = ("_buffer", "_flags", "_hashes", "_idxs", "_n", "_offsets", "_records", "dictionary_version")

    def __init__(self, buffer) -> None:
        if len(buffer) < HEADER.size:
            raise ValueError(f"a catalogue of {len(buffer)} bytes; allowed: {HEADER.size} or more")
        magic, version, n, self.dictionary_version, length, digest = HEADER.unpack_from(buffer)
        if magic != MAGIC or version != FORMAT_VERSION:
            raise ValueError(f"a catalogue that begins {magic!r}, version {version}; allowed: {MAGIC!r}, 1")
        if length != len(buffer):
            raise ValueError(f"a catalogue of {len(buffer)} bytes whose header asks for {length}")
        with memoryview(buffer) as view, view[HEADER.size :] as body:
            if blake2b(body, digest_size=16).digest() != digest:
                raise ValueError("a catalogue whose checksum differs: damaged; fetch it again")
        self._buffer, self._n = buffer, n
        self._flags = HEADER.size
        self._offsets = self._flags + n
        self._hashes = self._offsets + 8 * (n + 1)
        self._idxs = self._hashes + 8 * n
        self._records = self._idxs + 4 * n

    def __len__(self) -> int:
        return self._n

    def available(self, idx: int) -> bool:
        """False also for an index this catalogue does not hold."""
        return 0 <= idx < self._n and self._buffer[self._flags + idx] & AVAILABLE == AVAILABLE

    def id(self, idx: int) -> str:
        return self.record(idx)[0]

    def title(self, idx: int) -> str | None:
        return self.record(idx)[1]

    def category(self, idx: int) -> str | None:
        return self.record(idx)[2]

    def record(self, idx: int) -> tuple[str, str | None, str | None]:
        """item_id, title and category of an index.

        Raises:
            IndexError: no such index.
        """
        if not 0 <= idx < self._n:
            raise IndexError(f"item_idx {idx}; allowed: 0 to {self._n - 1}")
        at = self._records + U64.unpack_from(self._buffer, self._offsets + 8 * idx)[0]
        lengths = RECORD.unpack_from(self._buffer, at)
        at += RECORD.size
        texts = []
        for length in lengths:
            size = 0 if length == ABSENT else length
            text = self._buffer[at : at + size].decode("utf-8", "surrogatepass")
            texts.append(None if length == ABSENT else text)
            at += size
        return tuple(texts)

    def index(self, item_id: str) -> int | None:
        """The item_idx of an item_id, exact; None for an unknown one. Cost: one binary search."""
        wanted = id_hash(item_id)
        place = bisect_left(range(self._n), wanted, key=self._hash_at)
        while place < self._n and self._hash_at(place) == wanted:
            idx = U32.unpack_from(self._buffer, self._idxs + 4 * place)[0]
            if self.id(idx) == item_id:
                return idx
            place += 1
        return None

    def _hash_at(self, place: int) -> int:
        return U64.unpack_from(self._buffer, self._hashes + 8 * place)[0]


def id_hash(item_id: str) -> int:
    return U64.unpack(blake2b(encode(item_id), digest_size=8).digest())[0]


def pack_record(*texts: str | None) -> bytes:
    raw = [None if text is None else encode(text) for text in texts]
    lengths = [ABSENT if value is None else len(value) for value in raw]
    return RECORD.pack(*lengths) + b"".join(value for value in raw if value)


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
