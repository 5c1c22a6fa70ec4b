"""Packed values of Redis: a slate (about 6 bytes an item) and a set of item indices. Standard library only.

Slate, version 1, little-endian, nothing aligned; ``n`` items, ``p`` palette entries, ``w`` byte planes:

    offset        size      what
    0             1         version = 1
    1             1         w, bytes of an index, 1 to 4
    2             1         n, 0 to 255
    3             1         p, 0 to n
    4             4         score_lo, float32
    8             4         score_hi, float32
    12            w * n     item indices as byte planes: all lowest bytes, then all second bytes, ...
    12 + w*n      n         scores, quantised: q stands for score_lo + q * (score_hi - score_lo) / 255
    12 + (w+1)*n  n         palette position of each item
    12 + (w+2)*n  p         palette: position of the source in ``schemas.tables.SOURCES``
    ... + p       w * p     palette: because_of + 1 as byte planes, 0 for none

The palette is sorted by (source, because_of) and holds no pair twice, so equal lists give equal bytes, and packing what
was unpacked gives the same bytes again. 100 items below 2**24 with 20 reasons are 592 bytes.

Id set, version 1: version u8, w u8, n u16, then n rising indices as w byte planes.
"""

import struct
from collections.abc import Collection, Sequence
from math import isfinite
from typing import NamedTuple

from schemas.tables import SOURCES

CODEC_VERSION = 1
MAX_ITEMS = 255
MAX_IDS = 65_535
MAX_INDEX = 2**31 - 1
NONE = -1  # because_of of an item nobody's interaction explains, as in schemas.tables
HEADER = struct.Struct("<BBBBff")
IDS_HEADER = struct.Struct("<BBH")
SOURCE_CODES = {name: code for code, name in enumerate(SOURCES)}


class Slate(NamedTuple):
    """A list in rank order, four columns of equal length; ``because_of`` is -1 where there is none."""

    items: list[int]
    scores: list[float]
    sources: list[str]
    because_of: list[int]


EMPTY = Slate([], [], [], [])


def pack_list(
    items: Sequence[int], scores: Sequence[float], sources: Sequence[str], because_of: Sequence[int]
) -> bytes:
    """Pack a list of 0 to 255 items.

    Raises:
        ValueError: lengths differ, too many items, an index or score out of range, an unknown source.
    """
    n = check_columns(items, scores, sources, because_of)
    lo, hi, quantised = quantise(scores)
    pairs = list(zip(source_codes(sources), because_of, strict=True))
    palette = sorted(set(pairs))
    reasons = [because + 1 for _, because in palette]
    width = width_of(items, reasons)
    position = {pair: place for place, pair in enumerate(palette)}
    return b"".join(
        (
            HEADER.pack(CODEC_VERSION, width, n, len(palette), lo, hi),
            planes(items, width),
            quantised,
            bytes([position[pair] for pair in pairs]),
            bytes([code for code, _ in palette]),
            planes(reasons, width),
        )
    )


def check_columns(
    items: Sequence[int], scores: Sequence[float], sources: Sequence[str], because_of: Sequence[int]
) -> int:
    """Their common length, 0 to 255."""
    n = len(items)
    if not n == len(scores) == len(sources) == len(because_of):
        raise ValueError(
            f"columns of {n} items, {len(scores)} scores, {len(sources)} sources, {len(because_of)} because_of; "
            "allowed: equal lengths"
        )
    if n > MAX_ITEMS:
        raise ValueError(f"{n} items in one list; allowed: at most {MAX_ITEMS}")
    return n


def unpack_list(value: bytes) -> Slate:
    """The list behind ``value``; scores are the quantised ones.

    Raises:
        ValueError: unknown version, wrong length (truncated or trailing bytes), or a palette that does not fit.
    """
    if len(value) < HEADER.size:
        raise ValueError(f"a packed list of {len(value)} bytes; allowed: {HEADER.size} or more")
    version, width, n, n_palette, lo, hi = HEADER.unpack_from(value)
    check_version("list", version, width)
    at_scores = HEADER.size + width * n
    at_places, at_sources = at_scores + n, at_scores + 2 * n
    at_reasons = at_sources + n_palette
    check_length("list", value, at_reasons + width * n_palette)
    try:
        names = [SOURCES[code] for code in value[at_sources:at_reasons]]
        reasons = unplanes(value[at_reasons:], n_palette, width)
        places = value[at_places:at_sources]
        step = (hi - lo) / 255
        return Slate(
            unplanes(value[HEADER.size : at_scores], n, width),
            [lo + q * step if q < 255 else hi for q in value[at_scores:at_places]],
            [names[place] for place in places],
            [reasons[place] - 1 for place in places],
        )
    except IndexError:
        raise ValueError(f"a packed list names a source or reason it does not hold; sources: {SOURCES}") from None


def pack_ids(ids: Collection[int]) -> bytes:
    """Pack a set of at most 65,535 item indices; order and repeats are lost.

    Raises:
        ValueError: too many, or one out of range.
    """
    rising = sorted(set(ids))
    if len(rising) > MAX_IDS:
        raise ValueError(f"{len(rising)} ids in one set; allowed: at most {MAX_IDS}")
    width = width_of(rising, ())
    return IDS_HEADER.pack(CODEC_VERSION, width, len(rising)) + planes(rising, width)


def unpack_ids(value: bytes) -> list[int]:
    """The rising indices behind ``value``.

    Raises:
        ValueError: unknown version or wrong length.
    """
    if len(value) < IDS_HEADER.size:
        raise ValueError(f"a packed id set of {len(value)} bytes; allowed: {IDS_HEADER.size} or more")
    version, width, n = IDS_HEADER.unpack_from(value)
    check_version("id set", version, width)
    check_length("id set", value, IDS_HEADER.size + width * n)
    return unplanes(value[IDS_HEADER.size :], n, width)


def quantise(scores: Sequence[float]) -> tuple[float, float, bytes]:
    """Lowest and highest score as float32, and each score as a byte between them."""
    if not scores:
        return 0.0, 0.0, b""
    try:
        lo, hi = struct.unpack("<ff", struct.pack("<ff", min(scores) + 0.0, max(scores) + 0.0))
    except OverflowError:
        lo = hi = float("inf")
    if not (isfinite(lo) and isfinite(hi) and isfinite(sum(scores))):
        raise ValueError("a score is not finite or beyond float32; allowed: finite numbers")
    if lo == hi:
        return lo, hi, bytes(len(scores))
    scale = 255 / (hi - lo)
    return lo, hi, bytes([min(255, max(0, int((score - lo) * scale + 0.5))) for score in scores])


def source_codes(sources: Sequence[str]) -> list[int]:
    try:
        return [SOURCE_CODES[source] for source in sources]
    except KeyError as error:
        raise ValueError(f"source {error.args[0]!r}; allowed: {', '.join(SOURCES)}") from None


def width_of(items: Sequence[int], reasons: Sequence[int]) -> int:
    """Bytes that hold the largest index; items are at least 0, reasons (because_of + 1) too."""
    low = min(min(items, default=0), min(reasons, default=0))
    high = max(max(items, default=0), max(reasons, default=1) - 1)
    if low < 0 or high > MAX_INDEX:
        raise ValueError(f"item index {low if low < 0 else high}; allowed: 0 to {MAX_INDEX}")
    return max(1, (max(high, max(reasons, default=0)).bit_length() + 7) // 8)


def planes(numbers: Sequence[int], width: int) -> bytes:
    raw = struct.pack(f"<{len(numbers)}I", *numbers)
    return b"".join([raw[place::4] for place in range(width)])


def unplanes(value: bytes, n: int, width: int) -> list[int]:
    raw = bytearray(4 * n)
    for place in range(width):
        raw[place::4] = value[place * n : (place + 1) * n]
    return list(struct.unpack(f"<{n}I", raw))


def check_version(what: str, version: int, width: int) -> None:
    if version != CODEC_VERSION or not 1 <= width <= 4:
        raise ValueError(f"a packed {what} of version {version}, width {width}; allowed: {CODEC_VERSION}, 1 to 4")


def check_length(what: str, value: bytes, expected: int) -> None:
    if len(value) != expected:
        raise ValueError(f"a packed {what} of {len(value)} bytes whose header asks for {expected}")
