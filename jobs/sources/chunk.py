"""Rows as read: columns of one file with their line numbers, and the lines that could not be read."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

CELL_END = "\x1f"


@dataclass(frozen=True)
class BadLine:
    """A line no row could be made of."""

    line: int
    reason: str
    raw: bytes


@dataclass
class Chunk:
    """Some rows of one file in order; ``raw`` holds the lines as read where cells alone would not give them back.

    ``marks`` tell equal rows of a stream apart: where each stands in it. ``extra`` is each row's JSON of the fields to
    keep that no column is made of (null: none).
    """

    file: str
    lines: np.ndarray
    table: pa.Table
    fields: frozenset[str]
    raw: list[bytes] | None = None
    marks: list[int] | list[str] | None = None
    extra: pa.Array | None = None
    bad: list[BadLine] = field(default_factory=list)
    unknown: Counter = field(default_factory=Counter)

    @property
    def n_read(self) -> int:
        return len(self.lines) + len(self.bad)

    def rows_as_read(self, at: np.ndarray) -> list[bytes]:
        """What identifies the content of the rows at some positions."""
        if self.raw is not None:
            return [self.raw[i] for i in at]
        table = self.table if len(at) == len(self.lines) else self.table.take(pa.array(at))
        cells = [as_text(column).cast(pa.large_string()) for column in table.columns]
        options = {"null_handling": "replace", "null_replacement": "\0"}
        between = pa.scalar(CELL_END, pa.large_string())
        return pc.binary_join_element_wise(*cells, between, **options).cast(pa.large_binary()).to_pylist()

    def rows_as_placed(self, at: np.ndarray) -> list[bytes]:
        """What identifies rows of a stream at some positions: their content, and where they stand."""
        return [
            row + b"\0" + f"{self.file}@{self.marks[i]}".encode()
            for row, i in zip(self.rows_as_read(at), at, strict=True)
        ]

    def slice(self, start: int, n: int) -> "Chunk":
        """Rows [start, start + n); bad lines and unknown fields go with the first rows."""
        raw, marks, extra = (
            None if part is None else part[start : start + n] for part in (self.raw, self.marks, self.extra)
        )
        rest = (self.bad, self.unknown) if start == 0 else ([], Counter())
        lines, table = self.lines[start : start + n], self.table.slice(start, n)
        return Chunk(self.file, lines, table, self.fields, raw, marks, extra, *rest)


def as_text(values: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Strings of any column; nested values as JSON."""
    if pa.types.is_string(values.type):
        return values
    try:
        return values.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.array([None if v is None else orjson.dumps(v, default=str).decode() for v in values.to_pylist()])


def join(parts: list[Chunk]) -> Chunk:
    """Chunks of one file as one."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    raw, marks = (
        None if getattr(first, name) is None else [value for part in parts for value in getattr(part, name)]
        for name in ("raw", "marks")
    )
    extra = None if first.extra is None else pa.concat_arrays([part.extra for part in parts])
    return Chunk(
        first.file,
        np.concatenate([part.lines for part in parts]),
        pa.concat_tables([part.table for part in parts], promote_options="permissive"),
        frozenset().union(*(part.fields for part in parts)),
        raw,
        marks,
        extra,
        [bad for part in parts for bad in part.bad],
        sum((part.unknown for part in parts), Counter()),
    )


def regroup(pieces: Iterable[Chunk], n_rows: int) -> Iterator[Chunk]:
    """The same rows in chunks of ``n_rows`` (the last may have fewer, and is given even when it has only bad lines)."""
    held: list[Chunk] = []
    for piece in pieces:
        held.append(piece)
        if sum(len(part.lines) for part in held) < n_rows:
            continue
        whole = join(held)
        n_full = len(whole.lines) // n_rows * n_rows
        for start in range(0, n_full, n_rows):
            yield whole.slice(start, n_rows)
        held = [whole.slice(n_full, n_rows)] if n_full < len(whole.lines) else []
    if held:
        yield join(held)
