"""A file of any described format as chunks of columns with line numbers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import NoneType

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.rim.errors import UsageError
from jobs.sources.chunk import BadLine, Chunk, regroup
from jobs.sources.delimited import Delimited, blocks, split_lines
from jobs.sources.files import Input
from jobs.sources.layout import Layout


def read_chunks(source: Input, layout: Layout, used: list[str], n_rows: int) -> Iterator[Chunk]:
    """The rows of a file, ``n_rows`` at a time; ``used`` are the columns wanted of self-describing formats.

    Raises:
        UsageError: the file cannot be read as what it is said to be.
    """
    kind = layout.format_of(source.name)
    with damage_told(source.name, kind):
        kept = kept_fields(layout, kind)
        if kind == "jsonl":
            pieces = read_jsonl(source, used, kept)
        else:
            parquet = kind == "parquet"
            pieces = read_parquet(source, used, n_rows) if parquet else Delimited(layout, source.name).read(source)
            pieces = (with_extra(piece, used, kept) for piece in pieces) if kept else pieces
        yield from regroup(pieces, n_rows)


def kept_fields(layout: Layout, kind: str) -> bool | tuple[str, ...]:
    """The fields to keep although no column is made of them: all of them, none, or those it names."""
    kept = getattr(layout, "keep_unknown", False)
    return kind == "jsonl" if kept is None else kept


@contextmanager
def damage_told(name: str, kind: str) -> Iterator[None]:
    """What Arrow finds wrong with a file as a UsageError that names the file."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(f"{name}: damaged, or no {kind} file: {str(error).splitlines()[0]}") from None


def read_jsonl(source: Input, used: list[str], kept: bool | tuple[str, ...]) -> Iterator[Chunk]:
    """One JSON object a line; fields not in ``used`` are counted, and those of ``kept`` are kept."""
    first = 1
    for block, _ in blocks(source):
        lines = split_lines(block.removeprefix(b"\xef\xbb\xbf") if first == 1 else block)
        if lines:
            yield jsonl_chunk(source.name, lines, range(first, first + len(lines)), used, kept)
        first += len(lines)


def jsonl_chunk(
    name: str, lines: list[bytes], numbers: Sequence[int], used: list[str], kept: bool | tuple[str, ...]
) -> Chunk:
    """A chunk of lines of JSON, each with its number."""
    rows, at, bad, unknown, extras, wanted = [], [], [], Counter(), {}, set(used)
    for position, row in enumerate(map(json_object, lines)):
        if row is not None:
            if not row.keys() <= wanted:
                others = row.keys() - wanted
                unknown.update(others)
                extras[len(rows)] = extra_text(row, others if kept is True else others.intersection(kept or ()))
            rows.append(row)
            at.append(position)
        elif lines[position].strip():
            bad.append(BadLine(numbers[position], json_reason(lines[position]), lines[position]))
    table = pa.table({column: json_column([row.get(column) for row in rows]) for column in used})
    fields = {column for column in used if table[column].null_count < len(rows)}.union(unknown)
    extra = pa.array([extras.get(n) for n in range(len(rows))] if extras else [None] * len(rows), pa.string())
    raw = [lines[position].strip() for position in at]
    numbers = np.array([numbers[position] for position in at], np.int64)
    return Chunk(name, numbers, table, frozenset(fields), raw, None, extra, bad, unknown)


def json_object(line: bytes) -> dict | None:
    """The object of a line, or None."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if type(row) is dict else None


def with_extra(piece: Chunk, used: list[str], kept: bool | tuple[str, ...]) -> Chunk:
    """A chunk of columns with the JSON of those to keep that are not used."""
    names = [n for n in piece.table.column_names if n not in used and (kept is True or n in kept)]
    rows = piece.table.select(names).to_pylist() if names else [{}] * len(piece.lines)
    return replace(piece, extra=pa.array([extra_text(row, row) for row in rows], pa.string()))


def extra_text(row: dict, names: Iterable[str]) -> str | None:
    """Some fields of a row as JSON, by name, those that are null or empty left out; None when nothing is left."""
    told = {name: row[name] for name in sorted(names) if row[name] not in (None, "")}
    return orjson.dumps(told, default=str).decode() if told else None


def json_reason(line: bytes) -> str:
    try:
        line.decode()
    except UnicodeDecodeError:
        return "bad_encoding"
    return "unreadable_json"


def json_column(values: list) -> pa.Array:
    """Strings; other values as their JSON, lists too."""
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        plain = (str, NoneType)
        return pa.array([v if type(v) in plain else orjson.dumps(v).decode() for v in values], pa.string())


def read_parquet(source: Input, used: list[str], n_rows: int) -> Iterator[Chunk]:
    """Rows are numbered from 1."""
    with source.open() as file:
        parquet = pq.ParquetFile(file)
        fields = frozenset(parquet.schema_arrow.names)
        if len(fields) < len(parquet.schema_arrow.names):
            raise UsageError(f"{source.name}: has two columns of one name: {', '.join(parquet.schema_arrow.names)}")
        first = 1
        for batch in parquet.iter_batches(batch_size=n_rows):
            lines = np.arange(first, first + batch.num_rows, dtype=np.int64)
            unknown = Counter(dict.fromkeys(fields - set(used), batch.num_rows))
            yield Chunk(source.name, lines, pa.table(batch), fields, unknown=unknown)
            first += batch.num_rows
