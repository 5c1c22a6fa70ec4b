"""One of their columns as a described reference sees it, and the check that it is there."""

import difflib

import pyarrow as pa
import pyarrow.compute as pc

from jobs.rim.errors import UsageError
from jobs.sources.chunk import Chunk, as_text
from jobs.sources.convert import flat
from jobs.sources.layout import Layout, Reference


def raw_column(chunk: Chunk, name: str, layout: Layout) -> pa.Array:
    """Their column as read, null where it spells null; all null when the chunk lacks it."""
    if name not in chunk.table.column_names:
        return pa.nulls(len(chunk.lines), pa.string())
    values = flat(chunk.table[name])
    if pa.types.is_dictionary(values.type) or pa.types.is_large_string(values.type):
        values = values.cast(pa.string())
    if not pa.types.is_string(values.type) or values.null_count == len(values):
        return values
    absent = pa.array(["", *layout.null])
    is_absent = pc.is_in(pc.utf8_trim_whitespace(values), absent)
    return pc.if_else(is_absent, None, values) if pc.any(is_absent).as_py() else values


def typed(chunk: Chunk, ref: Reference | None, layout: Layout) -> pa.Array:
    """The referenced column in its own type, or as text when the reference changes its values."""
    if ref is None:
        return pa.nulls(len(chunk.lines), pa.string())
    values = raw_column(chunk, ref.column, layout)
    if ref.remove is None and not ref.values:
        return values
    values = as_text(values)
    if ref.remove is not None:
        values = pc.replace_substring_regex(values, ref.remove, "")
        values = pc.if_else(pc.equal(values, ""), None, values)
    if ref.values:
        at = pc.index_in(values, pa.array(list(ref.values), pa.string()))
        values = pc.coalesce(pa.array(list(ref.values.values()), pa.string()).take(at), values)
    return values


def text(chunk: Chunk, ref: Reference | None, layout: Layout) -> pa.Array:
    """The referenced column as strings."""
    return flat(as_text(typed(chunk, ref, layout)))


def matches(chunk: Chunk, column: str, pattern: str, layout: Layout) -> pa.Array:
    """Whether their column matches; null counts as the empty text."""
    values = pc.fill_null(flat(as_text(raw_column(chunk, column, layout))), "")
    return pc.match_substring_regex(values, pattern)


def require_columns(chunk: Chunk, used: list[str], layout: Layout) -> None:
    """Refuse a file that lacks a column the description names.

    Raises:
        UsageError: names the column, the file, its columns and the nearest.
    """
    sparse = layout.format_of(chunk.file) == "jsonl"  # absent fields are how JSON spells null
    if layout.missing_ok or (sparse and chunk.fields.intersection(used)) or not len(chunk.lines):
        return
    for name in used:
        if name not in chunk.fields:
            near = difflib.get_close_matches(name, chunk.fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            seen = ", ".join(sorted(chunk.fields)[:20])
            raise UsageError(f"{chunk.file}: unknown column {name!r} in the description; the file has {seen}{hint}")
