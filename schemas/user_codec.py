"""The one packed value of a user in a generation: the slate, and behind it what the user has seen.

Codec version 2, little-endian, nothing aligned; ``n`` items, ``p`` palette entries, ``b`` bits of an index, planes as
in ``schemas.bitplanes``:

    offset  size             what
    0       1                version = 2
    1       1                b - 1 (b: 1 to 32) in the low 5 bits; s, the bits of a source's position, in the upper 3
    2       1                n, 0 to 255
    3       1                p, 0 to n
    4       4                score_lo, float32
    8       4                score_hi, float32
    12      planes(n, b)     item indices
    ...     n                scores, quantised as in version 1
    ...     planes(n, w)     palette position of each item; w: the bits of p - 1
    ...     planes(p, s)     palette: position of the source in ``schemas.tables.SOURCES``
    ...     planes(p, b)     palette: because_of + 1, 0 for none
    ...     the rest         seen: rising indices by Elias and Fano (``pack_rising``); no bytes for none

The palette is that of version 1 (``schemas.codec``): sorted, no pair twice, so equal users give equal bytes. One value
instead of two saves a user some 170 bytes of Redis (key, TTL and the allocator's rounding), and these planes a quarter
of version 1: 100 items of 100,000 with 20 reasons are 432 to 439 bytes, 30 seen items another 55.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from schemas.bitplanes import pack_planes, pack_rising, size, unpack_planes, unpack_rising
from schemas.codec import (
    CODEC_VERSION,
    HEADER,
    MAX_IDS,
    Slate,
    check_columns,
    quantise,
    source_codes,
    unpack_list,
    width_of,
)
from schemas.tables import SOURCES

USER_VERSION = 2
BITS, SOURCE_SHIFT = 31, 5


class UserValue(NamedTuple):
    """What a generation holds for a user; ``seen`` rises."""

    slate: Slate
    seen: list[int]


def pack_user(
    items: Sequence[int],
    scores: Sequence[float],
    sources: Sequence[str],
    because_of: Sequence[int],
    seen: Collection[int] = (),
) -> bytes:
    """Pack a slate of 0 to 255 items and a set of at most 65,535 seen items.

    Raises:
        ValueError: as ``schemas.codec.pack_list`` and ``pack_ids``.
    """
    n = check_columns(items, scores, sources, because_of)
    lo, hi, quantised = quantise(scores)
    pairs = list(zip(source_codes(sources), because_of, strict=True))
    palette = sorted(set(pairs))
    reasons = [because + 1 for _, because in palette]
    rising = rising_ids(seen)
    width_of(items, reasons)  # refuses what is out of range
    bits = max(1, max(max(items, default=0), max(reasons, default=0)).bit_length())
    source_bits = max((code for code, _ in palette), default=0).bit_length()
    position = {pair: place for place, pair in enumerate(palette)}
    return b"".join(
        (
            HEADER.pack(USER_VERSION, bits - 1 | source_bits << SOURCE_SHIFT, n, len(palette), lo, hi),
            pack_planes(items, bits),
            quantised,
            pack_planes([position[pair] for pair in pairs], place_bits(len(palette))),
            pack_planes([code for code, _ in palette], source_bits),
            pack_planes(reasons, bits),
            pack_rising(rising),
        )
    )


def rising_ids(ids: Collection[int]) -> list[int]:
    rising = sorted(set(ids))
    if len(rising) > MAX_IDS:
        raise ValueError(f"{len(rising)} ids in one set; allowed: at most {MAX_IDS}")
    width_of(rising, ())
    return rising


def place_bits(n_palette: int) -> int:
    return max(0, n_palette - 1).bit_length()


def unpack_user(value: bytes) -> UserValue:
    """What is behind ``value``; one of version 1, of an older generation, is a slate without seen items.

    Raises:
        ValueError: unknown version, wrong length, a palette that does not fit.
    """
    if value[:1] == bytes([CODEC_VERSION]):
        return UserValue(unpack_list(value), [])
    bits, source_bits, n, n_palette, lo, hi = read_header(value)
    at_scores = HEADER.size + size(n, bits)
    at_places = at_scores + n
    at_sources = at_places + size(n, place_bits(n_palette))
    at_reasons = at_sources + size(n_palette, source_bits)
    at_seen = at_reasons + size(n_palette, bits)
    if len(value) < at_seen:
        raise ValueError(f"a packed user of {len(value)} bytes whose header asks for {at_seen} or more")
    try:
        names = [SOURCES[code] for code in unpack_planes(value, at_sources, n_palette, source_bits)]
        reasons = [reason - 1 for reason in unpack_planes(value, at_reasons, n_palette, bits)]
        places = unpack_planes(value, at_places, n, place_bits(n_palette))
        step = (hi - lo) / 255
        slate = Slate(
            unpack_planes(value, HEADER.size, n, bits),
            [lo + q * step if q < 255 else hi for q in value[at_scores:at_places]],
            [names[place] for place in places],
            [reasons[place] for place in places],
        )
    except IndexError:
        raise ValueError(f"a packed user names a source or reason it does not hold; sources: {SOURCES}") from None
    return UserValue(slate, unpack_rising(value, at_seen))


def read_header(value: bytes) -> tuple[int, int, int, int, float, float]:
    if len(value) < HEADER.size:
        raise ValueError(f"a packed user of {len(value)} bytes; allowed: {HEADER.size} or more")
    version, widths, n, n_palette, lo, hi = HEADER.unpack_from(value)
    if version != USER_VERSION:
        raise ValueError(f"a packed user of version {version}; allowed: {CODEC_VERSION} or {USER_VERSION}")
    return (widths & BITS) + 1, widths >> SOURCE_SHIFT, n, n_palette, lo, hi
