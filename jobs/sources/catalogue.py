"""Items and users of a source, from files of their own."""

from contextlib import suppress
from datetime import UTC, datetime

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from jobs.sources.chunk import Chunk
from jobs.sources.columns import raw_column, text, typed
from jobs.sources.convert import UTC_US, flat, to_bool, to_float, to_time
from jobs.sources.description import Items, Users
from jobs.sources.identify import pseudonyms
from jobs.sources.layout import Layout, Reference
from schemas.arrow import arrow_schema
from schemas.tables import ITEMS, USERS

ALWAYS = pa.scalar(datetime(1970, 1, 1, tzinfo=UTC), UTC_US)
NO_TAG = ("unknown", "(no genres listed)", "")
Mapped = tuple[pa.Table, pa.Array]  # rows, and why each is refused (null: it is not)


def used_columns(layout: Items | Users) -> list[str]:
    """Their columns an item or user description reads."""
    names = [ref.column for _, ref in layout.columns if ref is not None]
    return list(dict.fromkeys([*names, *getattr(layout, "tag_columns", ())]))


def map_items(chunk: Chunk, layout: Items) -> Mapped:
    """Rows of the items table."""
    columns = layout.columns
    rows = {name: text(chunk, getattr(columns, name), layout) for name in ("item_id", "title", "category", "text")}
    rows["valid_from"] = moment(chunk, columns.valid_from, layout)
    rows["tags"] = tags(chunk, layout)
    if layout.category_from_tags:
        rows["category"] = pc.coalesce(rows["category"], first_tag(rows["tags"]))
    rows["price"] = to_float(typed(chunk, columns.price, layout))
    rows["created_at"] = moment(chunk, columns.created_at, layout)
    rows["available"] = to_bool(typed(chunk, columns.available, layout))
    reasons = pa.nulls(len(chunk.lines), pa.string())
    reasons = refuse(reasons, pc.is_null(rows["item_id"]), "missing_item")
    for name in ("valid_from", "created_at"):
        reasons = refuse(reasons, unread(chunk, getattr(columns, name), layout, rows[name]), "bad_time")
    reasons = refuse(reasons, unread(chunk, columns.price, layout, rows["price"]), "bad_number")
    reasons = refuse(reasons, pc.less(rows["price"], 0), "bad_number")
    rows["valid_from"] = pc.fill_null(rows["valid_from"], ALWAYS)
    rows["available"] = pc.fill_null(rows["available"], True)
    return in_schema(rows, arrow_schema(ITEMS)), reasons


def map_users(chunk: Chunk, layout: Users, secret: bytes) -> Mapped:
    """Rows of the users table; ids become pseudonyms here."""
    columns = layout.columns
    rows = {name: text(chunk, getattr(columns, name), layout) for name in ("country", "gender", "occupation")}
    raw = text(chunk, columns.user_id, layout)
    rows["user_id"] = pseudonyms(raw, secret, "user")
    rows["valid_from"] = moment(chunk, columns.valid_from, layout)
    rows["age_band"] = pc.coalesce(text(chunk, columns.age_band, layout), age_band(typed(chunk, columns.age, layout)))
    reasons = refuse(pa.nulls(len(chunk.lines), pa.string()), pc.is_null(raw), "missing_user")
    reasons = refuse(reasons, unread(chunk, columns.valid_from, layout, rows["valid_from"]), "bad_time")
    rows["valid_from"] = pc.fill_null(rows["valid_from"], ALWAYS)
    return in_schema(rows, arrow_schema(USERS)), reasons


def in_schema(rows: dict[str, pa.Array], schema: pa.Schema) -> pa.Table:
    nullable = pa.schema([field.with_nullable(True) for field in schema])
    return pa.table({name: flat(rows[name]) for name in schema.names}).cast(nullable)


def refuse(reasons: pa.Array, holds: pa.Array, reason: str) -> pa.Array:
    return pc.if_else(pc.and_(pc.is_null(reasons), pc.fill_null(holds, False)), reason, reasons)


def unread(chunk: Chunk, ref: Reference | None, layout: Layout, converted: pa.Array) -> pa.Array:
    """Where a value was given but could not be converted."""
    return pc.and_(pc.is_valid(typed(chunk, ref, layout)), pc.is_null(converted))


def moment(chunk: Chunk, ref: Reference | None, layout: Layout) -> pa.Array:
    return to_time(typed(chunk, ref, layout), layout.time_formats, layout.zone)


def tags(chunk: Chunk, layout: Items) -> pa.Array:
    """Lists of tags without those that say nothing; null when there is none."""
    if layout.tag_columns:
        flags = [pc.fill_null(to_bool(raw_column(chunk, name, layout)), False) for name in layout.tag_columns]
        set_flags = np.column_stack([np.asarray(column) for column in flags])
        names = np.array(layout.tag_columns, object)
        return pa.array([said(names[row].tolist()) for row in set_flags], pa.list_(pa.string()))
    values = typed(chunk, layout.columns.tags, layout).to_pylist()
    return pa.array([said(tag_list(value, layout.tag_separator)) for value in values], pa.list_(pa.string()))


def tag_list(value: list | str | None, separator: str) -> list[str]:
    """The tags in one cell: a list, a JSON list, or a text cut at the separator."""
    if isinstance(value, str) and value.startswith("["):
        with suppress(orjson.JSONDecodeError):  # it may be a text that begins with a bracket
            value = orjson.loads(value)
    tags = value.split(separator) if isinstance(value, str) else value or []
    return [str(tag).strip() for tag in tags if tag is not None]


def said(tags: list[str]) -> list[str] | None:
    return [tag for tag in tags if tag not in NO_TAG] or None


def first_tag(lists: pa.Array) -> pa.Array:
    return pc.list_element(lists, 0) if len(lists) else pa.nulls(0, pa.string())


def age_band(ages: pa.Array) -> pa.Array:
    """Ten-year bands such as 20-29; ages below 0 or above 120 are null."""
    numbers = to_float(ages)
    low = pc.multiply(pc.floor(pc.divide(numbers, 10.0)), 10).cast(pa.int32())
    low = pc.if_else(pc.and_(pc.greater_equal(low, 0), pc.less_equal(low, 120)), low, None)
    return pc.binary_join_element_wise(low.cast(pa.string()), pc.add(low, 9).cast(pa.string()), "-")


def newest(rows: pa.Table, key: str) -> pa.Table:
    """One row for each key and valid_from, by both; the last read wins."""
    if not rows.num_rows:
        return rows
    numbered = rows.append_column("_at", pa.array(np.arange(rows.num_rows)))
    last = numbered.group_by([key, "valid_from"]).aggregate([("_at", "max")])
    kept = rows.take(last["_at_max"].combine_chunks())
    return kept.sort_by([(key, "ascending"), ("valid_from", "ascending")])
