"""A file of any described format as chunks of columns with line numbers."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

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
        if kind == "parquet":
            pieces = read_parquet(source, used, n_rows)
        elif kind == "jsonl":
            pieces = read_jsonl(source, used)
        else:
            pieces = Delimited(layout, source.name).read(source)
        yield from regroup(pieces, n_rows)


@contextmanager
def damage_told(name: str, kind: str) -> Iterator[None]:
    """What Arrow finds wrong with a file as a UsageError that names the file."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(f"{name}: damaged, or no {kind} file: {str(error).splitlines()[0]}") from None


def read_jsonl(source: Input, used: list[str]) -> Iterator[Chunk]:
    """One JSON object a line; fields not in ``used`` are counted and left."""
    first, wanted = 1, set(used)
    for block, _ in blocks(source):
        lines = split_lines(block.removeprefix(b"\xef\xbb\xbf") if first == 1 else block)
        if lines:
            yield jsonl_chunk(source.name, lines, first, used, wanted)
        first += len(lines)


def jsonl_chunk(name: str, lines: list[bytes], first: int, used: list[str], wanted: set[str]) -> Chunk:
    rows, numbers, raw, bad, unknown, fields = [], [], [], [], Counter(), set()
    for number, line in enumerate(lines, first):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
            numbers.append(number)
            raw.append(line.strip())
            if extra := row.keys() - wanted:
                unknown.update(extra)
        elif line.strip():
            bad.append(BadLine(number, json_reason(line), line))
    columns = {column: [row.get(column) for row in rows] for column in used}
    fields.update(column for column, values in columns.items() if any(value is not None for value in values))
    table = pa.table({column: json_column(values) for column, values in columns.items()})
    return Chunk(name, np.array(numbers, np.int64), table, frozenset(fields | set(unknown)), raw, bad, unknown)


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
        return pa.array([json_text(value) for value in values], pa.string())


def json_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


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
