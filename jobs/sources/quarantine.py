"""Refused rows as the quarantine table keeps them: ids become pseudonyms, unreadable lines leave a hash only."""

import numpy as np
import orjson
import pyarrow as pa

from jobs.sources.chunk import Chunk, as_text
from jobs.sources.columns import raw_column, text
from jobs.sources.identify import digests, hex_ids, pseudonyms
from jobs.sources.layout import Layout, Reference
from schemas.arrow import arrow_schema
from schemas.tables import QUARANTINE

COLUMNS = ("file", "line", "reason", "row_hash", "row")
SCHEMA = pa.schema([arrow_schema(QUARANTINE).field(name) for name in COLUMNS])


def refused_rows(
    chunk: Chunk,
    reasons: pa.Array,
    used: list[str],
    ids: dict[str, tuple[str, Reference]],
    secret: bytes,
    layout: Layout,
) -> pa.Table:
    """The chunk's rows that have a reason; ``row`` holds the used columns as JSON.

    ``ids``: their columns whose values become pseudonyms → the domain, and the reference that reads them.
    """
    at = np.flatnonzero(np.asarray(reasons.is_valid()))
    if not len(at):
        return SCHEMA.empty_table()
    index = pa.array(at)
    cells = {name: as_text(raw_column(chunk, name, layout)).take(index).to_pylist() for name in used}
    for name, (domain, ref) in ids.items():
        cells[name] = pseudonyms(text(chunk, ref, layout).take(index), secret, domain).to_pylist()
    rows = [orjson.dumps(dict(zip(used, row, strict=True))).decode() for row in zip(*cells.values(), strict=True)]
    return build(chunk.file, chunk.lines[at], reasons.take(index), chunk.rows_as_read(at), rows)


def unreadable_rows(chunk: Chunk) -> pa.Table:
    """The chunk's bad lines."""
    if not chunk.bad:
        return SCHEMA.empty_table()
    reasons = pa.array([bad.reason for bad in chunk.bad])
    lines = np.array([bad.line for bad in chunk.bad])
    return build(chunk.file, lines, reasons, [bad.raw for bad in chunk.bad], [None] * len(lines))


def build(file: str, lines: np.ndarray, reasons: pa.Array, raw: list[bytes], rows: list[str | None]) -> pa.Table:
    columns = [[file] * len(lines), lines, reasons, hex_ids(digests(raw)), rows]
    return pa.table(
        [pa.array(c, f.type) if not isinstance(c, pa.Array) else c for c, f in zip(columns, SCHEMA, strict=True)],
        SCHEMA,
    )
