"""The packed item catalogue that serving memory-maps: dictionary, titles, categories, prices, availability in one file.

Version 2, little-endian; ``n`` items, item_idx is the position:

    offset   size   what
    0        8      magic "NSCATLG" and a zero byte
    8        4      format version = 2
    12       4      n
    16       8      version of the item dictionary
    24       8      length of the whole file
    32       16     BLAKE2b-128 of everything behind the header
    48       n      flags: 1 available, 0 not
    ...      8n     price of each item, float64, NaN for none
    ...      4n     number of each item's category in the list below, 2**32 - 1 for none
    ...      8(n+1) offset of each record from the start of the records; the last one is their total length
    ...      8n     BLAKE2b-64 of each item_id, rising
    ...      4n     the item_idx of each of those hashes
    ...      *      records: bytes of item_id and title (u32 each, 2**32 - 1 for none), then the two in UTF-8
    ...      *      categories: how many (u32), the bytes of each (u32), then all of them in UTF-8

Reading needs no numpy and copies nothing but the strings asked for and the names of the categories.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import pairwise
from math import nan
from typing import NamedTuple

FORMAT_VERSION = 2
MAGIC = b"NSCATLG\0"
HEADER = struct.Struct("<8sIIQQ16s")
RECORD = struct.Struct("<II")
U64, U32, F64 = struct.Struct("<Q"), struct.Struct("<I"), struct.Struct("<d")
ABSENT = 2**32 - 1


class CatalogueRow(NamedTuple):
    """One item; ``price`` is that of one piece."""

    item_id: str
    title: str | None
    category: str | None
    available: bool
    price: float | None = None


def pack_catalogue(rows: Iterable[tuple], dictionary_version: int) -> bytes:
    """Pack rows (as ``CatalogueRow``; the price may be left out) in the order of item_idx from 0 on.

    Raises:
        ValueError: an item_id stands twice.
    """
    columns = [CatalogueRow(*row) for row in rows]
    records = [pack_record(row.item_id, row.title) for row in columns]
    offsets = [0]
    for record in records:
        offsets.append(offsets[-1] + len(record))
    n, hashes, codes = len(columns), hashed_ids([row.item_id for row in columns]), category_codes(columns)
    body = b"".join(
        (
            bytes([bool(row.available) for row in columns]),
            struct.pack(f"<{n}d", *[nan if row.price is None else row.price for row in columns]),
            struct.pack(f"<{n}I", *[ABSENT if row.category is None else codes[row.category] for row in columns]),
            struct.pack(f"<{n + 1}Q", *offsets),
            struct.pack(f"<{n}Q", *[number for number, _ in hashes]),
            struct.pack(f"<{n}I", *[idx for _, idx in hashes]),
            *records,
            pack_texts(list(codes)),
        )
    )
    digest = blake2b(body, digest_size=16).digest()
    return HEADER.pack(MAGIC, FORMAT_VERSION, n, dictionary_version, HEADER.size + len(body), digest) + body


def hashed_ids(ids: list[str]) -> list[tuple[int, int]]:
    """Rising pairs of hash and item_idx; raise ValueError for an id that stands twice."""
    hashes = sorted((id_hash(item_id), idx) for idx, item_id in enumerate(ids))
    for (one, idx), (other, later) in pairwise(hashes):
        if one == other and ids[idx] == ids[later]:
            raise ValueError(f"item_id {ids[idx]!r} stands at item_idx {idx} and {later}; allowed: once")
    return hashes


def category_codes(rows: Iterable[CatalogueRow]) -> dict[str, int]:
    names = sorted({row.category for row in rows if row.category is not None})
    return {name: code for code, name in enumerate(names)}


class Catalogue:
    """A packed catalogue over bytes or an mmap; the buffer must outlive it.

    ``categories`` are their names by code.

    Raises:
        ValueError: the buffer is no catalogue of this version, is truncated, or its checksum differs.
    """

    __slots__ = (
        "_buffer",
        "_category",
        "_codes",
        "_flags",
        "_hashes",
        "_idxs",
        "_n",
        "_offsets",
        "_prices",
        "_records",
        "categories",
        "dictionary_version",
    )

    def __init__(self, buffer) -> None:
        n, self.dictionary_version = check_buffer(buffer)
        self._buffer, self._n = buffer, n
        self._flags = HEADER.size
        self._prices = self._flags + n
        self._category = self._prices + 8 * n
        self._offsets = self._category + 4 * n
        self._hashes = self._offsets + 8 * (n + 1)
        self._idxs = self._hashes + 8 * n
        self._records = self._idxs + 4 * n
        end = self._records + U64.unpack_from(buffer, self._offsets + 8 * n)[0]
        self.categories: list[str] = unpack_texts(buffer, end)
        self._codes = {name: code for code, name in enumerate(self.categories)}

    def __len__(self) -> int:
        return self._n

    @property
    def flags(self) -> bytes:
        """1 for each item that was available when this was made, else 0."""
        return bytes(self._buffer[self._flags : self._prices])

    def available(self, idx: int) -> bool:
        """False also for an index this catalogue does not hold."""
        return 0 <= idx < self._n and self._buffer[self._flags + idx] == 1

    def id(self, idx: int) -> str:
        return self.record(idx)[0]

    def title(self, idx: int) -> str | None:
        return self.record(idx)[1]

    def category(self, idx: int) -> str | None:
        return self.record(idx)[2]

    def category_code(self, idx: int) -> int:
        """The place of the item's category in ``categories``; ``ABSENT`` for none or an unknown index."""
        return U32.unpack_from(self._buffer, self._category + 4 * idx)[0] if 0 <= idx < self._n else ABSENT

    def code_of(self, category: str) -> int | None:
        return self._codes.get(category)

    def price(self, idx: int) -> float:
        """NaN for none or an unknown index, so that no comparison holds."""
        return F64.unpack_from(self._buffer, self._prices + 8 * idx)[0] if 0 <= idx < self._n else nan

    def columns(self) -> tuple[Sequence[int], Sequence[float]]:
        """Category codes and prices of all items, copied: for a pass over all of them."""
        codes = struct.unpack_from(f"<{self._n}I", self._buffer, self._category)
        return codes, struct.unpack_from(f"<{self._n}d", self._buffer, self._prices)

    def record(self, idx: int) -> tuple[str, str | None, str | None]:
        """item_id, title and category of an index.

        Raises:
            IndexError: no such index.
        """
        if not 0 <= idx < self._n:
            raise IndexError(f"item_idx {idx}; allowed: 0 to {self._n - 1}")
        at = self._records + U64.unpack_from(self._buffer, self._offsets + 8 * idx)[0]
        id_bytes, title_bytes = RECORD.unpack_from(self._buffer, at)
        middle = at + RECORD.size + id_bytes
        title = None if title_bytes == ABSENT else decode(self._buffer[middle : middle + title_bytes])
        code = self.category_code(idx)
        category = None if code == ABSENT else self.categories[code]
        return decode(self._buffer[at + RECORD.size : middle]), title, category

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


def check_buffer(buffer) -> tuple[int, int]:
    """Number of items and version of the dictionary; raise ValueError for what is no sound catalogue."""
    if len(buffer) < HEADER.size:
        raise ValueError(f"a catalogue of {len(buffer)} bytes; allowed: {HEADER.size} or more")
    magic, version, n, dictionary_version, length, digest = HEADER.unpack_from(buffer)
    if magic != MAGIC or version != FORMAT_VERSION:
        raise ValueError(
            f"a catalogue that begins {magic!r}, version {version}; allowed: {MAGIC!r}, {FORMAT_VERSION}: "
            "publish with this version of nightshelf"
        )
    if length != len(buffer):
        raise ValueError(f"a catalogue of {len(buffer)} bytes whose header asks for {length}")
    with memoryview(buffer) as view, view[HEADER.size :] as body:
        if blake2b(body, digest_size=16).digest() != digest:
            raise ValueError("a catalogue whose checksum differs: damaged; fetch it again")
    return n, dictionary_version


def id_hash(item_id: str) -> int:
    return U64.unpack(blake2b(encode(item_id), digest_size=8).digest())[0]


def pack_record(item_id: str, title: str | None) -> bytes:
    raw_id, raw_title = encode(item_id), encode(title or "")
    return RECORD.pack(len(raw_id), ABSENT if title is None else len(raw_title)) + raw_id + raw_title


def pack_texts(texts: list[str]) -> bytes:
    raw = [encode(text) for text in texts]
    return struct.pack(f"<{len(raw) + 1}I", len(raw), *[len(value) for value in raw]) + b"".join(raw)


def unpack_texts(buffer, at: int) -> list[str]:
    count = U32.unpack_from(buffer, at)[0]
    lengths = struct.unpack_from(f"<{count}I", buffer, at + 4)
    at, texts = at + 4 * (count + 1), []
    for length in lengths:
        texts.append(decode(buffer[at : at + length]))
        at += length
    return texts


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")
