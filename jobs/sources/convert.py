"""Columns of text become times, numbers and truth values; what cannot be read becomes null, row by row."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

UTC_US = pa.timestamp("us", "UTC")
NAIVE_US = pa.timestamp("us")
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\s*$"
WHOLE = r"^\s*[+-]?\d{1,10}(\.0+)?\s*$"
ZONED = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?\s*(Z|[+-]\d\d(:?\d\d)?)$"
ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?)?$"
FINER = r"([.,]\d{6})\d+"  # digits beyond the microsecond
EPOCH = {"epoch_s": (r"^-?\d{1,11}(\.\d+)?$", 1_000_000), "epoch_ms": (r"^-?\d{1,14}(\.\d+)?$", 1_000)}
QUARTER_US = 15 * 60 * 1_000_000
TRUE, FALSE = ("true", "1", "yes", "t", "y"), ("false", "0", "no", "f", "n")


def flat(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def only(values: pa.Array, pattern: str) -> pa.Array:
    """The values that match; null for the rest."""
    return pc.if_else(pc.match_substring_regex(values, pattern), values, None)


def cast_or_null(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cast; the few values that cannot be cast become null (found by halving)."""
    try:
        return values.cast(kind)
    except pa.ArrowInvalid:
        if len(values) == 1:
            return pa.nulls(1, kind)
        half = len(values) // 2
        return pa.concat_arrays([cast_or_null(values[:half], kind), cast_or_null(values[half:], kind)])


def to_float(values: pa.Array) -> pa.Array:
    """Finite float64."""
    if pa.types.is_string(values.type):
        values = pc.utf8_trim_whitespace(only(values, NUMBER))
    numbers = cast_or_null(values, pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, None)


def to_int(values: pa.Array) -> pa.Array:
    """Int32; ``6.0`` is 6, ``6.5`` and ``99999999999`` are null."""
    if pa.types.is_string(values.type):
        values = only(values, WHOLE)
    numbers = to_float(values)
    fits = pc.and_(pc.equal(pc.round(numbers), numbers), pc.less_equal(pc.abs(numbers), 2**31 - 1))
    return pc.if_else(fits, numbers, None).cast(pa.int32())


def to_bool(values: pa.Array) -> pa.Array:
    if pa.types.is_boolean(values.type):
        return values
    text = pc.utf8_lower(pc.utf8_trim_whitespace(values.cast(pa.string())))
    return pc.if_else(pc.is_in(text, pa.array(TRUE)), True, pc.if_else(pc.is_in(text, pa.array(FALSE)), False, None))


def to_time(values: pa.Array, formats: tuple[str, ...], zone: str) -> pa.Array:
    """UTC moments; the first format that reads a value wins, and moments without an offset are in ``zone``."""
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return typed_time(values, zone)
    if not pa.types.is_string(values.type):
        values = values.cast(pa.string())
    values, times = pc.utf8_trim_whitespace(values), pa.nulls(len(values), UTC_US)
    for format in formats:
        if times.null_count == values.null_count:
            break
        left = pc.if_else(pc.is_null(times), values, None)
        times = pc.coalesce(times, parse(left, format, zone))
    return times


def typed_time(values: pa.Array, zone: str) -> pa.Array:
    if pa.types.is_timestamp(values.type) and values.type.tz:
        return values.cast(UTC_US, safe=False)
    return localize(values.cast(NAIVE_US, safe=False), zone)


def parse(values: pa.Array, format: str, zone: str) -> pa.Array:
    if format in EPOCH:
        pattern, factor = EPOCH[format]
        seconds = cast_or_null(only(values, pattern), pa.float64())
        return pc.round(pc.multiply(seconds, factor)).cast(pa.int64()).cast(UTC_US)
    if format == "iso":
        return parse_iso(values, zone)
    if "%z" in format or "%f" in format:
        return by_value(values, lambda text: strptime(text, format, zone))
    naive = pc.strptime(values, format=format, unit="us", error_is_null=True)
    # Arrow lets 30 February overflow into March: where that may have happened, ask Python
    doubtful = pc.if_else(pc.less_equal(pc.day(naive), 3), values, None)
    checked = by_value(doubtful, lambda text: strptime(text, format, zone))
    sure = pc.if_else(pc.greater(pc.day(naive), 3), naive, None)
    return pc.coalesce(localize(sure, zone), checked)


def parse_iso(values: pa.Array, zone: str) -> pa.Array:
    """ISO 8601, with an offset or in ``zone``; what is finer than a microsecond is cut off."""
    values = pc.replace_substring_regex(values, FINER, r"\1")
    zoned = cast_or_null(only(values, ZONED), UTC_US)
    if zoned.null_count == values.null_count:
        return zoned
    return pc.coalesce(zoned, localize(cast_or_null(only(values, ISO), NAIVE_US), zone))


def strptime(text: str, format: str, zone: str) -> datetime | None:
    try:
        moment = datetime.strptime(text, format)
        local = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def by_value(values: pa.Array, convert: Callable[[str], datetime | None]) -> pa.Array:
    """``convert`` once for each distinct text."""
    encoded = values.dictionary_encode()
    times = pa.array([None if text is None else convert(text) for text in encoded.dictionary.to_pylist()], UTC_US)
    return times.take(encoded.indices)


def localize(naive: pa.Array, zone: str) -> pa.Array:
    """UTC moments of wall-clock times in a zone.

    Where the clock is put back an hour comes twice: the first is meant. Where it is put forward an hour is missing:
    its times are read as if the clock had not yet been touched (PEP 495, fold 0). Nothing fails, order is kept.
    """
    if zone == "UTC":
        return naive.cast(UTC_US)
    local = np.asarray(naive.cast(pa.int64()).fill_null(0), dtype=np.int64)
    quarters, inverse = np.unique(local // QUARTER_US, return_inverse=True)  # offsets change on quarter hours
    tz, origin = ZoneInfo(zone), datetime(1970, 1, 1)
    offsets = [offset_us(tz, origin + timedelta(microseconds=int(q) * QUARTER_US)) for q in in_calendar(quarters)]
    utc = local - np.array(offsets, np.int64)[inverse]
    return pa.array(utc, mask=np.asarray(naive.is_null())).cast(UTC_US)


def in_calendar(quarters: np.ndarray) -> np.ndarray:
    """Years 1 to 9999, where Python's dates live."""
    low, high = (int((datetime(y, 1, 2) - datetime(1970, 1, 1)).total_seconds()) // 900 for y in (1, 9999))
    return np.clip(quarters, low, high)


def offset_us(tz: ZoneInfo, local: datetime) -> int:
    return int(local.replace(tzinfo=tz).utcoffset().total_seconds()) * 1_000_000
