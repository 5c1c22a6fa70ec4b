"""Rows of a source become events, still with raw ids, each with the first reason to refuse it (null: none)."""

from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from jobs.sources.chunk import Chunk, as_text
from jobs.sources.columns import matches, raw_column, text, typed
from jobs.sources.convert import flat, to_float, to_int, to_time
from jobs.sources.description import Description, Events
from jobs.sources.rules import first_reason
from schemas.tables import KINDS

TEXT_COLUMNS = ("event_id", "user_id", "session_id", "item_id", "basket_id", "query", "country", "device")


def map_events(chunk: Chunk, spec: Events, source: Description, ingested_at: datetime) -> pa.Table:
    """event_time, kind, raw ids, the other event columns, ``extra``, and ``reason``."""
    refs = spec.references
    columns = {name: text(chunk, refs.get(name), spec) for name in TEXT_COLUMNS}
    columns["event_time"] = to_time(typed(chunk, refs["event_time"], spec), spec.time_formats, spec.zone)
    columns["kind"] = kind_of(chunk, spec)
    given = {name: typed(chunk, refs.get(name), spec) for name in ("value", "quantity", "price")}
    columns |= {
        "value": to_float(given["value"]),
        "price": to_float(given["price"]),
        "quantity": to_int(given["quantity"]),
    }
    columns["quantity"] = positive(columns["quantity"], columns["kind"], spec)
    columns["session_id"] = with_anonymous_session(chunk, spec, columns)
    if source.default_market is not None:
        columns["country"] = pc.fill_null(columns["country"], source.default_market)
    columns["extra"] = pa.nulls(len(chunk.lines), pa.string()) if chunk.extra is None else chunk.extra
    columns["reason"] = first_reason(chunk, spec, columns, given, ingested_at)
    return pa.table(columns)


def kind_of(chunk: Chunk, spec: Events) -> pa.Array:
    """Our kind of each row; null when their word is not known."""
    rule = spec.kind
    if rule.column is not None:
        words = flat(as_text(raw_column(chunk, rule.column, spec)))
        theirs = rule.map or {kind: kind for kind in KINDS}
        at = pc.index_in(words, pa.array(list(theirs), pa.string()))
        return pa.array(list(theirs.values()), pa.string()).take(at)
    kinds = pa.repeat(rule.constant or rule.default, len(chunk.lines))
    for choice in reversed(rule.rules):
        kinds = pc.if_else(matches(chunk, choice.column, choice.pattern, spec), choice.kind, kinds)
    return kinds


def positive(quantity: pa.Array, kind: pa.Array, spec: Events) -> pa.Array:
    """Quantities of kinds a source writes as negative, such as returns, without their sign."""
    if not spec.make_positive:
        return quantity
    return pc.if_else(pc.is_in(kind, pa.array(spec.make_positive)), pc.abs(quantity), quantity)


def with_anonymous_session(chunk: Chunk, spec: Events, columns: dict[str, pa.Array]) -> pa.Array:
    """Rows with neither user nor session belong to what the source names instead, such as the invoice."""
    if spec.anonymous_session is None:
        return columns["session_id"]
    nobody = pc.and_(pc.is_null(columns["user_id"]), pc.is_null(columns["session_id"]))
    return pc.if_else(nobody, text(chunk, spec.anonymous_session, spec), columns["session_id"])
