"""Numbers as planes of their bits: as small as their width asks for, read by a few C calls a plane. Standard library.

Numbers of ``bits`` bits are laid down as ``bits // 8`` byte planes (all lowest bytes, then all second bytes, ...), then
the rest of the width in planes of 4, 2 and 1 bits, in this order, each only where the rest has that bit set. A plane of
``h`` bits holds ``8 / h`` numbers a byte, the first in the lowest bits, and ends in zero bits: ``ceil(n * h / 8)``
bytes. 17 bits are two byte planes and one of single bits.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import accumulate
from struct import pack, unpack

PARTS = (4, 2, 1)
SPREAD = {  # width -> byte -> the numbers it holds, a byte each
    h: [bytes([byte >> shift & (1 << h) - 1 for shift in range(0, 8, h)]) for byte in range(256)] for h in PARTS
}
LOWER, UPPER = (bytes([byte >> shift & 15 for byte in range(256)]) for shift in (0, 4))
MAX_BITS = 31


@cache
def layout(bits: int) -> tuple[tuple[int, int], ...]:
    """The planes of a width: lowest bit and bits of each."""
    whole = bits // 8 * 8
    planes = [(shift, 8) for shift in range(0, whole, 8)]
    for part in PARTS:
        if bits & part:
            planes.append((whole, part))
            whole += part
    return tuple(planes)


@lru_cache(8192)
def size(n: int, bits: int) -> int:
    """Bytes that ``n`` numbers take."""
    return sum((n * part + 7) // 8 for _, part in layout(bits))


def pack_planes(numbers: Sequence[int], bits: int) -> bytes:
    """``numbers``, all below ``2 ** bits``, as planes."""
    return b"".join(pack_plane(numbers, shift, part) for shift, part in layout(bits))


def pack_plane(numbers: Sequence[int], shift: int, part: int) -> bytes:
    each, mask = 8 // part, (1 << part) - 1
    bare = [number >> shift & mask for number in numbers]
    return bytes(
        sum(number << place * part for place, number in enumerate(bare[at : at + each]))
        for at in range(0, len(bare), each)
    )


def unpack_planes(value: bytes, at: int, n: int, bits: int) -> list[int]:
    """The ``n`` numbers whose planes begin at ``at``."""
    if bits <= 8:
        return list(unpack_bytes(value, at, n, bits))
    raw = bytearray(4 * n)
    for byte in range(bits // 8):
        raw[byte::4] = value[at : at + n]
        at += n
    if bits % 8:
        raw[bits // 8 :: 4] = unpack_bytes(value, at, n, bits % 8)
    return list(unpack(f"<{n}I", raw))


def unpack_bytes(value: bytes, at: int, n: int, bits: int) -> bytes:
    """Numbers of at most 8 bits, a byte each; lanes of a byte cannot overflow, so one OR adds a plane to all."""
    if bits == 8:
        return value[at : at + n]
    lanes = 0
    for shift, part in layout(bits):
        end = at + (n * part + 7) // 8
        plane = unpack_halves(value[at:end], n) if part == 4 else unpack_plane(value[at:end], n, SPREAD[part])
        if bits == part:
            return plane
        lanes |= int.from_bytes(plane, "little") << shift
        at = end
    return lanes.to_bytes(n, "little")


def unpack_plane(plane: bytes, n: int, spread: list[bytes]) -> bytes:
    return b"".join([spread[byte] for byte in plane])[:n]


def unpack_halves(plane: bytes, n: int) -> bytes:
    found = bytearray(2 * len(plane))
    found[::2], found[1::2] = plane.translate(LOWER), plane.translate(UPPER)
    return bytes(found[:n])


def pack_rising(numbers: Sequence[int]) -> bytes:
    """Rising numbers without repeats, none for none, by Elias and Fano: about 2 + log2(largest / n) bits each.

    n u16, low bits l u8, the l lowest bits of each as planes, then a bitmap: for each number as many zeros as its
    upper bits rose since the number before, then a one. Bits fill a byte from the lowest.
    """
    if not numbers:
        return b""
    low = low_bits(len(numbers), numbers[-1])
    upper = sum(1 << (number >> low) + place for place, number in enumerate(numbers))
    bitmap = upper.to_bytes((upper.bit_length() + 7) // 8, "little")
    return pack("<HB", len(numbers), low) + pack_planes([number & (1 << low) - 1 for number in numbers], low) + bitmap


def low_bits(n: int, largest: int) -> int:
    """The largest width with ``n << width <= largest + 1``, 0 where there is none."""
    return max(0, ((largest + 1) // n).bit_length() - 1)


def unpack_rising(value: bytes, at: int) -> list[int]:
    """The numbers ``pack_rising`` laid down from ``at`` to the end of ``value``.

    Raises:
        ValueError: cut off, or its bitmap does not hold as many numbers as it says.
    """
    if at == len(value):
        return []
    if len(value) < at + 3:
        raise ValueError(f"a rising set of {len(value) - at} bytes; allowed: 0, or more than 3")
    n, low = unpack("<HB", value[at : at + 3])
    begin = at + 3 + size(n, low)
    runs = f"{int.from_bytes(value[begin:], 'little'):b}"[::-1].split("1")
    if low > MAX_BITS or len(runs) != n + 1 or n == 0 or value[-1] == 0:
        raise ValueError(f"a rising set whose bitmap holds {len(runs) - 1} of {n} numbers")
    upper = accumulate(map(len, runs[:-1]))
    if low == 0:
        return list(upper)
    return [high << low | rest for high, rest in zip(upper, unpack_planes(value, at + 3, n, low), strict=True)]
