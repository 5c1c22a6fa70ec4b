"""Keys and values as parcels: the bytes of Redis commands, the list of their keys, what reading them back must give.

Pure: takes Arrow data or pairs, gives bytes. Users' rows are packed by compiled loops, free of the interpreter's lock.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from jobs.kernels.rising_rows import rising_rows
from jobs.kernels.user_values import pack_rows
from jobs.rim.key_lists import pack_names, pack_pseudonyms
from schemas.codec import SOURCE_CODES
from schemas.identity import PSEUDONYM_BYTES
from schemas.keys import Keys
from schemas.user_codec import pack_user

FOREIGN = 255  # the code of a source that is none
LISTS = ("items", "scores", "sources", "because_of")
AROUND_BYTES = 160  # of a command and its answer beside key, lists and seen, at most
SECONDS_A_DAY = 86_400


def table_crc32() -> np.ndarray:
    """Of zlib's polynomial, one remainder a byte: ``(256,)`` uint32."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0xEDB88320), table >> 1).astype(np.uint32)
    return table


CRC32 = table_crc32()


@dataclass(frozen=True, slots=True)
class Life:
    """The longest TTL of keys, in seconds; each key's is shortened by less than ``jitter_s``, by its CRC-32."""

    longest_s: int
    jitter_s: int

    @classmethod
    def of_days(cls, days: int) -> "Life":
        return cls(days * SECONDS_A_DAY, days * SECONDS_A_DAY // 10 + 1)

    def of(self, key: bytes) -> int:
        return self.longest_s - zlib.crc32(key) % self.jitter_s


@dataclass(frozen=True, slots=True)
class Parcel:
    """Keys of one owner that are sent and checked together."""

    names: bytes  # the list of the keys, packed
    commands: bytes | memoryview  # a SET of each
    n_keys: int
    n_bytes: int  # of the values
    n_answer: int  # bytes that a GET of each key must answer, all together
    crc32: int  # of these


def set_command(key: bytes, value: bytes, ttl_s: int) -> bytes:
    return b"*5\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$2\r\nEX\r\n$%d\r\n%d\r\n" % (
        *(len(key), key, len(value), value),
        *(len(str(ttl_s)), ttl_s),
    )


def parcel_of_pairs(pairs: Sequence[tuple[str, bytes]], life: Life) -> Parcel:
    """Keys and values as they come."""
    coded = [(key.encode(), value) for key, value in pairs]
    answers = b"".join(b"$%d\r\n%b\r\n" % (len(value), value) for _, value in coded)
    return Parcel(
        pack_names([key for key, _ in pairs]),
        b"".join(set_command(key, value, life.of(key)) for key, value in coded),
        len(pairs),
        sum(len(value) for _, value in coded),
        len(answers),
        zlib.crc32(answers),
    )


class UserRows:
    """A record batch of slates as flat arrays, from which any rows become parcels; lists share one row of begins."""

    def __init__(self, batch: pa.RecordBatch, keys: Keys, tag: str):
        self.batch, self.keys, self.tag = batch, keys, tag
        self.names, self.name_begins = texts_of(batch.column("user_id"))
        lists = {name: list_of(batch.column(name)) for name in (*LISTS, "seen")}
        self.begins, self.seen_begins = lists["items"][1], lists["seen"][1]
        self.check_lengths({name: lists[name][1] for name in LISTS})
        self.answers = np.empty(0, np.uint8)  # grows to what a parcel takes, then is written over
        sources, codes = codes_of(lists["sources"][0])
        self.columns = (
            self.names,
            typed(lists["items"][0], np.int32),
            typed(lists["scores"][0], np.float32),
            sources,
            typed(lists["because_of"][0], np.int32),
            rising_rows(lists["seen"][0].to_numpy(), self.seen_begins),
            codes,
            *(self.name_begins, self.begins, self.seen_begins),
        )

    def __len__(self) -> int:
        return self.batch.num_rows

    def check_lengths(self, begins: dict[str, np.ndarray]) -> None:
        """Raise what ``pack_user`` says of the first row whose lists differ in length."""
        for other in begins.values():
            differ = np.flatnonzero(np.diff(other) != np.diff(self.begins))
            if len(differ):
                self.refuse(int(differ[0]))

    def refuse(self, row: int) -> None:
        """Raise ValueError with what is wrong with a row."""
        fields = [self.batch.column(name)[row].as_py() for name in (*LISTS, "seen")]
        pack_user(*fields)
        raise ValueError(f"the slate of row {row} cannot be packed")

    def parcel(self, rows: np.ndarray, life: Life) -> Parcel:
        """The parcel of some rows.

        Raises:
            ValueError: a row cannot be packed.
        """
        before, after = self.keys.slate("\0", self.tag).encode().split(b"\0")
        lists, seen, names = (
            int((begins[rows + 1] - begins[rows]).sum()) for begins in (self.begins, self.seen_begins, self.name_begins)
        )
        most = names + 12 * lists + 6 * seen + len(rows) * (AROUND_BYTES + len(before) + len(after))
        out = np.empty(most, np.uint8)
        if len(self.answers) < most:
            self.answers = np.empty(most, np.uint8)
        around = np.frombuffer(before, np.uint8), np.frombuffer(after, np.uint8)
        n_out, n_answer, n_bytes, bad = pack_rows(
            self.columns, rows, *around, (life.longest_s, life.jitter_s), CRC32, out, self.answers
        )
        if bad >= 0:
            self.refuse(bad)
        crc = zlib.crc32(self.answers[:n_answer])
        return Parcel(self.names_of(rows), out[:n_out].data, len(rows), n_bytes, n_answer, crc)

    def names_of(self, rows: np.ndarray) -> bytes:
        """The list of these rows' keys, packed."""
        begins = self.name_begins[rows]
        if (self.name_begins[rows + 1] - begins == 2 * PSEUDONYM_BYTES).all():
            together = self.names[begins[:, None] + np.arange(2 * PSEUDONYM_BYTES)]
            if (packed := pack_pseudonyms(together.tobytes())) is not None:
                return packed
        chosen = self.batch.column("user_id").take(rows).to_pylist()
        return pack_names([self.keys.slate(name, self.tag) for name in chosen])


def texts_of(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """All texts as one, uint8, and where each begins, ``(n + 1,)`` int64."""
    column = column.cast(pa.large_string())
    _, begins, data = column.buffers()
    begins = np.frombuffer(begins, np.int64)[column.offset : column.offset + len(column) + 1]
    return np.frombuffer(data or b"", np.uint8), begins


def list_of(column: pa.ListArray) -> tuple[pa.Array, np.ndarray]:
    """All elements as one array and where each row's begin in it, ``(n + 1,)`` int64.

    Raises:
        ValueError: a list or an element is null.
    """
    begins = column.offsets.to_numpy().astype(np.int64)
    values = column.values.slice(begins[0], begins[-1] - begins[0])
    if column.null_count or values.null_count:
        raise ValueError("a list of a slate is null; allowed: lists without nulls")
    return values, begins - begins[0]


def typed(values: pa.Array, kind: type) -> np.ndarray:
    return np.require(values.to_numpy(), kind, "C")


def codes_of(sources: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Each source as a number, int32, and what a number stands for: a position in SOURCES, or ``FOREIGN``, uint8."""
    if not isinstance(sources, pa.DictionaryArray):
        sources = sources.dictionary_encode()
    known = [SOURCE_CODES.get(name, FOREIGN) for name in sources.dictionary.to_pylist()]
    return typed(sources.indices, np.int32), np.array([*known, FOREIGN], np.uint8)
