"""Users' packed values as the bytes of Redis commands, straight out of flat arrays: ``schemas.user_codec``, compiled.

Byte for byte what ``pack_user`` gives, which also tells what is wrong with a row the loop refuses. The commands are
``SET key value EX ttl`` in RESP; a key's life is shortened by ``crc32(key) % jitter_s``: known beforehand.
"""

import numpy as np

from jobs.kernels.compiled import kernel

HEADER, SCALE = 12, 255
TABLE = 512  # places of the palette's hash table: more than 255 pairs
MAX_ITEMS, MAX_SEEN = 255, 65_535
SET, EX = np.frombuffer(b"*5\r\n$3\r\nSET\r\n", np.uint8), np.frombuffer(b"$2\r\nEX\r\n", np.uint8)


def table_crc32() -> np.ndarray:
    """Of zlib's polynomial, one remainder a byte: ``(256,)`` uint32."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0xEDB88320), table >> 1).astype(np.uint32)
    return table


CRC32 = table_crc32()


@kernel
def pack_rows(columns, rows, before, after, life, table, out, answers):
    """SET commands of ``rows`` into ``out``, what a GET of each key will answer into ``answers``.

    ``columns``: names, items, scores, sources, because_of, seen, flat, then where each row begins in the names, in the
    four lists and in the seen items. A key is a name between ``before`` and ``after``; ``life``: its longest TTL and
    the jitter, both in seconds. Returns the bytes of commands, of answers and of values, and -1, or a row that is refused.
    """
    names, items, scores, sources, because_of, seen, name_begins, begins, seen_begins = columns
    scratch = (
        *(np.empty(TABLE, np.int32), np.empty(256, np.int64), np.empty(256, np.int64), np.empty(256, np.int64)),
        *(np.empty(MAX_SEEN, np.int64), np.empty(2, np.float32)),
    )
    value = np.empty(3 * 1024 + 6 * MAX_SEEN, np.uint8)
    at = n_answers = n_values = 0
    for row in rows:
        first, last = begins[row], begins[row + 1]
        mine = items[first:last], scores[first:last], sources[first:last], because_of[first:last]
        n_value = put_value(value, mine, seen[seen_begins[row] : seen_begins[row + 1]], scratch)
        if n_value < 0:
            return at, n_answers, n_values, row
        name = names[name_begins[row] : name_begins[row + 1]]
        at = put(out, at, SET)
        at = length_line(out, at, len(before) + len(name) + len(after))
        key, at = at, put(out, put(out, put(out, at, before), name), after)
        ttl = life[0] - crc32(out[key:at], table) % life[1]
        answer = at = end_line(out, at)
        at = end_line(out, put(out, length_line(out, at, n_value), value[:n_value]))
        n_answers = put(answers, n_answers, out[answer:at])
        at = length_line(out, put(out, at, EX), n_digits(ttl))
        at = end_line(out, digits(out, at, ttl))
        n_values += n_value
    return at, n_answers, n_values, -1


@kernel
def crc32(text, table):
    crc = np.uint32(0xFFFFFFFF)
    for byte in text:
        crc = crc >> np.uint32(8) ^ table[(crc ^ byte) & np.uint32(255)]
    return np.int64(crc ^ np.uint32(0xFFFFFFFF))


@kernel
def end_line(out, at):
    out[at], out[at + 1] = 13, 10
    return at + 2


@kernel
def n_digits(number):
    found = 1
    while number >= 10:
        found, number = found + 1, number // 10
    return found


@kernel
def put(out, at, text):
    for place in range(len(text)):
        out[at + place] = text[place]
    return at + len(text)


@kernel
def digits(out, at, number):
    """``number`` in decimal."""
    end = at + n_digits(number)
    for place in range(end - 1, at - 1, -1):
        out[place] = 48 + number % 10
        number //= 10
    return end


@kernel
def length_line(out, at, number):
    """``$number CR LF``"""
    out[at] = 36
    return end_line(out, digits(out, at + 1, number))


@kernel
def n_bits(number):
    found = 0
    while number:
        found, number = found + 1, number >> 1
    return found


@kernel
def put_planes(out, at, numbers, n, bits):
    """As ``schemas.bitplanes.pack_planes``."""
    for byte in range(bits // 8):
        for place in range(n):
            out[at + place] = numbers[place] >> 8 * byte & 255
        at += n
    shift = bits // 8 * 8
    for power in range(2, -1, -1):
        part = 1 << power
        if bits & part:
            each, mask = 8 >> power, (1 << part) - 1
            n_bytes = (n + each - 1) // each
            for byte in range(n_bytes):
                held = 0
                for place in range(byte * each, min(n, byte * each + each)):
                    held |= (numbers[place] >> shift & mask) << (place % each * part)
                out[at + byte] = held
            at += n_bytes
            shift += part
    return at


@kernel
def palette_of(items, sources, because_of, table, places, palette, ranked):
    """The pairs of source and reason, sorted; ``places`` gets each item's; -1: something is out of range."""
    n_palette = 0
    table[:] = -1
    for at in range(len(items)):
        if items[at] < 0 or because_of[at] < -1 or sources[at] == 255:
            return -1
        pair = (np.int64(sources[at]) << 32) + because_of[at] + 1
        slot = (pair * 2_654_435_761 >> 16) & (TABLE - 1)
        while table[slot] >= 0 and palette[table[slot]] != pair:
            slot = (slot + 1) & (TABLE - 1)
        if table[slot] < 0:
            table[slot], palette[n_palette] = n_palette, pair
            n_palette += 1
        places[at] = table[slot]
    for place in range(n_palette):  # where each is among the others: they are few
        smaller = 0
        for other in range(n_palette):
            smaller += palette[other] < palette[place]
        ranked[place] = smaller
    for at in range(len(items)):
        places[at] = ranked[places[at]]
    table[:n_palette] = ranked[:n_palette]
    ranked[:n_palette] = palette[:n_palette]
    for place in range(n_palette):
        palette[table[place]] = ranked[place]
    return n_palette


@kernel
def put_scores(out, at, scores, floats):
    """The quantised scores; ``floats`` gets the lowest and the highest. -1: one is not finite."""
    lo, hi = np.float64(0), np.float64(0)
    for place in range(len(scores)):
        score = np.float64(scores[place])
        if not np.isfinite(score):
            return -1
        lo = score if place == 0 or score < lo else lo
        hi = score if place == 0 or score > hi else hi
    floats[0], floats[1] = lo + 0.0, hi + 0.0
    lo, hi = np.float64(floats[0]), np.float64(floats[1])
    scale = SCALE / (hi - lo) if hi != lo else 0.0
    for place in range(len(scores)):
        out[at + place] = min(SCALE, max(0, int((np.float64(scores[place]) - lo) * scale + 0.5))) if scale else 0
    return at + len(scores)


@kernel
def put_rising(out, at, rising, lows):
    """As ``schemas.bitplanes.pack_rising``, of numbers that may repeat; -1: one is out of range, or too many."""
    n = 0
    for place in range(len(rising)):
        if rising[place] < 0 or rising[place] > 2**31 - 1:
            return -1
        if place == 0 or rising[place] != rising[place - 1]:
            n += 1
    if n == 0 or n > MAX_SEEN:
        return -1 if n else at
    low = max(0, n_bits((rising[-1] + 1) // n) - 1)
    out[at], out[at + 1], out[at + 2] = n & 255, n >> 8, low
    bitmap = at + 3
    bitmap += low // 8 * n
    for power in range(3):
        if low & 1 << power:
            bitmap += ((n << power) + 7) // 8
    n_bitmap = ((rising[-1] >> low) + n + 7) // 8
    out[bitmap : bitmap + n_bitmap] = 0
    n = 0
    for place in range(len(rising)):
        if place == 0 or rising[place] != rising[place - 1]:
            bit = (rising[place] >> low) + n
            out[bitmap + (bit >> 3)] |= 1 << (bit & 7)
            lows[n] = rising[place] & ((1 << low) - 1)
            n += 1
    put_planes(out, at + 3, lows, n, low)
    return bitmap + n_bitmap


@kernel
def put_value(out, columns, seen, scratch):
    """One value at the beginning of ``out``; returns its length, -1 when the row cannot be packed."""
    items, scores, sources, because_of = columns
    table, places, palette, ranked, low_parts, floats = scratch
    n = len(items)
    n_palette = palette_of(items, sources, because_of, table, places, palette, ranked) if n <= MAX_ITEMS else -1
    if n_palette < 0:
        return -1
    most, source = 1, 0
    for at in range(n):
        most = max(most, items[at])
    for at in range(n_palette):
        most, source = max(most, palette[at] & 0xFFFFFFFF), max(source, palette[at] >> 32)
    bits, source_bits = n_bits(most), n_bits(source)
    at = put_planes(out, HEADER, items, n, bits)
    at = put_scores(out, at, scores, floats)
    if at < 0:
        return -1
    out[0], out[1], out[2], out[3] = 2, bits - 1 | source_bits << 5, n, n_palette
    out[4:HEADER] = floats.view(np.uint8)
    at = put_planes(out, at, places, n, n_bits(max(0, n_palette - 1)))
    for place in range(n_palette):
        ranked[place] = palette[place] >> 32
    at = put_planes(out, at, ranked, n_palette, source_bits)
    for place in range(n_palette):
        ranked[place] = palette[place] & 0xFFFFFFFF
    at = put_planes(out, at, ranked, n_palette, bits)
    return put_rising(out, at, seen, low_parts)
