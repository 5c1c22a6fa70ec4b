"""Why a row is refused: the rules in their order; the first that holds is the reason."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from jobs.sources.chunk import Chunk
from jobs.sources.columns import matches
from jobs.sources.convert import UTC_US
from jobs.sources.description import BadRule, Events

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
LATEST_AFTER_INGEST = timedelta(days=1)
UNREADABLE = {
    "unreadable_json": "the line is no JSON object",
    "unreadable_line": "the line cannot be cut into cells",
    "open_quote": "a quoted cell is never closed",
    "wrong_columns": "the line has more or fewer cells than the header",
    "bad_encoding": "bytes that are no text in the stated encoding",
}
BUILT_IN = {
    "bad_time": "no time, or one the stated formats cannot read",
    "unknown_kind": "a kind of event the description does not map",
    "time_out_of_range": "before 1990, or more than a day after the ingest",
    "not_a_product": "the item does not match item_pattern",
    "missing_item": "no item, and only a search does without",
    "missing_user": "neither a user nor a session",
    "bad_number": "a value, quantity or price that is no finite number (quantity: no whole one)",
    "missing_value": "a rating without its value",
    "quantity_not_positive": "zero or fewer pieces",
}


def first_reason(chunk: Chunk, spec: Events, columns: dict, given: dict, ingested_at: datetime) -> pa.Array:
    """The reason of each row; null for sound rows. ``given`` are the numbers as read.

    Order: time and kind, the source's own rules, its item pattern, then what an event cannot do without.
    """
    reasons = pa.nulls(len(chunk.lines), pa.string())
    for name, holds in checks(chunk, spec, columns, given, ingested_at):
        late = pc.and_(pc.is_null(reasons), pc.fill_null(holds, False))
        reasons = pc.if_else(late, name, reasons)
    return reasons


def checks(
    chunk: Chunk, spec: Events, columns: dict, given: dict, ingested_at: datetime
) -> Iterator[tuple[str, pa.Array]]:
    time, kind, item = columns["event_time"], columns["kind"], columns["item_id"]
    yield "bad_time", pc.is_null(time)
    yield "unknown_kind", pc.is_null(kind)
    latest = pa.scalar(ingested_at + LATEST_AFTER_INGEST, UTC_US)
    yield "time_out_of_range", pc.or_(pc.less(time, pa.scalar(EARLIEST, UTC_US)), pc.greater(time, latest))
    for rule in spec.bad:
        yield rule.reason, broken(chunk, spec, rule, kind)
    if spec.item_pattern is not None:
        yield "not_a_product", pc.invert(pc.match_substring_regex(item, spec.item_pattern))
    yield "missing_item", pc.and_(pc.is_null(item), pc.not_equal(kind, "search"))
    yield "missing_user", pc.and_(pc.is_null(columns["user_id"]), pc.is_null(columns["session_id"]))
    for name, values in given.items():
        yield "bad_number", pc.and_(pc.is_null(columns[name]), pc.is_valid(values))
    yield "missing_value", pc.and_(pc.is_null(columns["value"]), pc.equal(kind, "rating"))
    yield "quantity_not_positive", pc.less(columns["quantity"], 1)


def broken(chunk: Chunk, spec: Events, rule: BadRule, kind: pa.Array) -> pa.Array:
    """Where a source's own rule refuses."""
    holds = matches(chunk, rule.column, rule.when or rule.unless, spec)
    if rule.unless is not None:
        holds = pc.invert(holds)
    return pc.and_(holds, pc.is_in(kind, pa.array(rule.kinds))) if rule.kinds else holds
