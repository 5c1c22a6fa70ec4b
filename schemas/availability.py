"""What is out of stock, or back, right now: corrections of the catalogue's flag that hold within seconds.

They live outside generations, so that neither a publish nor a rollback brings back what was taken out. The value under
``{ctl}:availability``, version 1, little-endian:

    offset   size   what
    0        1      version = 1
    1        8      sequence, rises with every change
    9        4      m, bytes of one bitmap
    13       4      CRC-32 of the two bitmaps
    17       *      the two bitmaps, zlib: ``out`` then ``back``, m bytes each

Item i is bit i % 8 (lowest first) of byte i // 8; what lies behind the end is not set. ``out`` items may not be
recommended whatever the catalogue says, ``back`` items may; no item is both. Indices are never reused, so bitmaps stay
true under every version of the dictionary. A hundred items out of 100,000 are about 300 bytes.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

AVAILABILITY_VERSION = 1
HEADER = struct.Struct("<BQII")
MAX_BYTES = 2**28  # of one bitmap: indices below 2**31
SPREAD = [bytes(value >> bit & 1 for bit in range(8)) for value in range(256)]  # a byte as its eight bits


class Availability(NamedTuple):
    """Two bitmaps over item_idx and the number of the change that made them."""

    sequence: int
    out: bytes
    back: bytes


UNCORRECTED = Availability(0, b"", b"")


def pack_availability(value: Availability) -> bytes:
    size = max(len(value.out), len(value.back))
    bitmaps = value.out.ljust(size, b"\0") + value.back.ljust(size, b"\0")
    head = HEADER.pack(AVAILABILITY_VERSION, value.sequence, size, zlib.crc32(bitmaps))
    return head + zlib.compress(bitmaps)


def unpack_availability(raw: bytes) -> Availability:
    """The corrections behind ``raw``.

    Raises:
        ValueError: another version, truncated or damaged.
    """
    if len(raw) < HEADER.size:
        raise ValueError(f"availability of {len(raw)} bytes; allowed: {HEADER.size} or more")
    version, sequence, size, crc = HEADER.unpack_from(raw)
    if version != AVAILABILITY_VERSION or size > MAX_BYTES:
        raise ValueError(
            f"availability of version {version}, {size} bytes; allowed: {AVAILABILITY_VERSION}, {MAX_BYTES}"
        )
    try:
        bitmaps = zlib.decompressobj().decompress(raw[HEADER.size :], 2 * size + 1)  # never more than it says
    except zlib.error as error:
        raise ValueError(f"availability cannot be read: {error}") from None
    if len(bitmaps) != 2 * size or zlib.crc32(bitmaps) != crc:
        raise ValueError(f"availability {sequence} is damaged: set it again by `nightshelf availability`")
    return Availability(sequence, bitmaps[:size], bitmaps[size:])


def changed(
    before: Availability, out: Iterable[int] = (), back: Iterable[int] = (), forget: Iterable[int] = ()
) -> Availability:
    """The next corrections: ``out`` and ``back`` set, ``forget`` left to the catalogue again; later ones win."""
    bits_out, bits_back = bytearray(before.out), bytearray(before.back)
    for items, wanted_out, wanted_back in ((forget, 0, 0), (back, 0, 1), (out, 1, 0)):
        for item in items:
            set_bit(bits_out, item, wanted_out)
            set_bit(bits_back, item, wanted_back)
    return Availability(before.sequence + 1, bytes(bits_out), bytes(bits_back))


def set_bit(bits: bytearray, place: int, value: int) -> None:
    if place >> 3 >= len(bits):
        if not value:
            return
        bits.extend(bytes((place >> 3) + 1 - len(bits)))
    mask = 1 << (place & 7)
    bits[place >> 3] = bits[place >> 3] | mask if value else bits[place >> 3] & ~mask


def items_of(bits: bytes) -> Iterator[int]:
    """The rising indices whose bit is set."""
    return (8 * place + bit for place, value in enumerate(bits) if value for bit in range(8) if value >> bit & 1)


def corrected(flags: bytes, correction: Availability) -> Callable[[int], bool]:
    """Whether an item may be recommended; ``flags`` are the catalogue's, a 0 or 1 an item.

    An index behind the end of ``flags`` is not available. Asking costs one function call, however many corrections.
    """
    n, merged = len(flags), merge(flags, correction)

    def available(item_idx: int) -> bool:
        return 0 <= item_idx < n and merged[item_idx] == 1

    return available


def merge(flags: bytes, correction: Availability) -> bytes:
    """The flags, corrected."""
    n = len(flags)
    out, back = (int.from_bytes(spread(bits, n), "little") for bits in (correction.out, correction.back))
    return ((int.from_bytes(flags, "little") | back | out) ^ out).to_bytes(n, "little")


def spread(bits: bytes, n: int) -> bytes:
    """One byte, 0 or 1, for each of the first ``n`` bits."""
    return b"".join([SPREAD[value] for value in bits[: (n + 7) // 8]])[:n]
