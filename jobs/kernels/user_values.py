"""Users' packed values as the bytes of Redis commands, straight out of flat arrays: ``schemas.user_codec``, compiled.

Byte for byte what ``pack_user`` gives, which also tells what is wrong with a row the loop refuses. The commands are
``SET key value EX ttl`` in RESP; a key's life is shortened by ``crc32(key) % jitter_s``: known beforehand.
"""

from functools import partial

import numpy as np

from jobs.kernels.compiled import kernel

compiled = partial(kernel, error_model="numpy")  # no divisor is 0: nothing is looked at before each division
HEADER, SCALE = 12, 255
TABLE = 512  # places of the palette's hash table: more than 255 pairs
MAX_ITEMS, MAX_SEEN = 255, 65_535
SET, EX = np.frombuffer(b"*5\r\n$3\r\nSET\r\n", np.uint8), np.frombuffer(b"$2\r\nEX\r\n", np.uint8)


@compiled
def pack_rows(columns, rows, before, after, life, table, out, answers):
    """SET commands of ``rows`` into ``out``, what a GET of each key will answer into ``answers``.

    ``columns``: names, items, scores, sources, because_of and seen, flat; what each number in sources stands for; where
    each row begins in the names, in the four lists and in the seen items. A key is a name between ``before`` and
    ``after``; ``life``: its longest TTL and the jitter, both in seconds. Returns bytes of commands, of answers and of
    values, and -1, or a row that is refused.
    """
    names, items, scores, sources, because_of, seen, codes, name_begins, begins, seen_begins = columns
    scratch = (
        *(np.empty(TABLE, np.int16), np.empty(256, np.int64), np.empty(256, np.int64), np.empty(256, np.int64)),
        *(np.empty(256, np.int64), np.empty(MAX_SEEN, np.int64), np.empty(2, np.float32)),
    )
    value = np.empty(3 * 1024 + 6 * MAX_SEEN, np.uint8)
    at = n_answers = n_values = 0
    for row in rows:
        lists = items, scores, sources, because_of, codes, begins[row], begins[row + 1]
        n_value = put_value(value, lists, seen, seen_begins[row], seen_begins[row + 1], scratch)
        if n_value < 0:
            return at, n_answers, n_values, row
        name, name_end = name_begins[row], name_begins[row + 1]
        at = put(out, at, SET, 0, len(SET))
        key = at = length_line(out, at, len(before) + name_end - name + len(after))
        at = put(out, put(out, at, before, 0, len(before)), names, name, name_end)
        at = put(out, at, after, 0, len(after))
        ttl = life[0] - crc32(out, key, at, table) % life[1]
        answer = at = end_line(out, at)
        at = end_line(out, put(out, length_line(out, at, n_value), value, 0, n_value))
        n_answers = put(answers, n_answers, out, answer, at)
        at = length_line(out, put(out, at, EX, 0, len(EX)), n_digits(ttl))
        at = end_line(out, digits(out, at, ttl))
        n_values += n_value
    return at, n_answers, n_values, -1


@compiled
def crc32(text, first, last, table):
    crc = np.uint32(0xFFFFFFFF)
    for at in range(first, last):
        crc = crc >> np.uint32(8) ^ table[(crc ^ text[at]) & np.uint32(255)]
    return np.int64(crc ^ np.uint32(0xFFFFFFFF))


@compiled
def end_line(out, at):
    out[at], out[at + 1] = 13, 10
    return at + 2


@compiled
def n_digits(number):
    found = 1
    while number >= 10:
        found, number = found + 1, number // 10
    return found


@compiled
def put(out, at, text, first, last):
    here, there = out[at : at + last - first], text[first:last]  # known bounds: the compiler moves blocks
    for place in range(last - first):
        here[place] = there[place]
    return at + last - first


@compiled
def digits(out, at, number):
    """``number`` in decimal."""
    end = at + n_digits(number)
    for place in range(end - 1, at - 1, -1):
        out[place] = 48 + number % 10
        number //= 10
    return end


@compiled
def length_line(out, at, number):
    """``$number CR LF``"""
    out[at] = 36
    return end_line(out, digits(out, at + 1, number))


@compiled
def n_bits(number):
    found = 0
    while number:
        found, number = found + 1, number >> 1
    return found


@compiled
def put_planes(out, at, numbers, first, n, bits):
    """``n`` numbers from ``first`` as ``schemas.bitplanes.pack_planes`` lays them down."""
    for byte in range(bits // 8):
        for place in range(n):
            out[at + place] = numbers[first + place] >> 8 * byte & 255
        at += n
    shift = bits >> 3 << 3
    for power in range(2, -1, -1):
        part = 1 << power
        if bits & part:
            mask, end = (1 << part) - 1, first + n
            at_number = first
            while at_number < end:
                held, room = 0, 0
                while room < 8 and at_number < end:
                    held |= (numbers[at_number] >> shift & mask) << room
                    room, at_number = room + part, at_number + 1
                out[at] = held
                at += 1
            shift += part
    return at


@compiled
def palette_of(lists, table, places, palette, ranks, unsorted):
    """The pairs of source and reason, sorted; ``places`` gets each item's; -1: something is out of range."""
    items, _, sources, because_of, codes, first, last = lists
    n_palette = 0
    for slot in range(TABLE):
        table[slot] = -1
    for at in range(first, last):
        code = codes[sources[at]]
        if items[at] < 0 or because_of[at] < -1 or code == 255:
            return -1
        pair = (np.int64(code) << 32) + because_of[at] + 1
        slot = (pair * 2_654_435_761 >> 16) & (TABLE - 1)
        while table[slot] >= 0 and unsorted[table[slot]] != pair:
            slot = (slot + 1) & (TABLE - 1)
        if table[slot] < 0:
            table[slot], unsorted[n_palette] = n_palette, pair
            n_palette += 1
        places[at - first] = table[slot]
    for place in range(n_palette):  # each one's rank by how many are smaller: they are few
        smaller = 0
        for other in range(n_palette):
            smaller += unsorted[other] < unsorted[place]
        ranks[place] = smaller
        palette[smaller] = unsorted[place]
    for at in range(last - first):
        places[at] = ranks[places[at]]
    return n_palette


@compiled
def put_scores(out, at, lists, floats):
    """The quantised scores; ``floats`` gets the lowest and the highest. -1: one is not finite."""
    _, scores, _, _, _, first, last = lists
    lo, hi = np.float64(0), np.float64(0)
    for place in range(first, last):
        score = np.float64(scores[place])
        if not np.isfinite(score):
            return -1
        lo = score if place == first or score < lo else lo
        hi = score if place == first or score > hi else hi
    floats[0], floats[1] = lo + 0.0, hi + 0.0
    lo, hi = np.float64(floats[0]), np.float64(floats[1])
    scale = SCALE / (hi - lo) if hi != lo else 0.0
    for place in range(first, last):
        step = np.int32((np.float64(scores[place]) - lo) * scale + 0.5)  # so narrow, several fit a register
        out[at + place - first] = min(np.int32(SCALE), max(np.int32(0), step))
    return at + last - first


@compiled
def n_different(rising, first, last):
    """How many there are without repeats; -1: one is out of range, or they are too many."""
    n = 0
    for place in range(first, last):
        if rising[place] < 0 or rising[place] > 2**31 - 1:
            return -1
        n += place == first or rising[place] != rising[place - 1]
    return n if n <= MAX_SEEN else -1


@compiled
def put_rising(out, at, rising, first, last, lows):
    """As ``schemas.bitplanes.pack_rising``, of numbers that may repeat; -1: they are refused."""
    n = n_different(rising, first, last)
    if n <= 0:
        return at if n == 0 else -1
    low = max(0, n_bits((rising[last - 1] + 1) // n) - 1)
    out[at], out[at + 1], out[at + 2] = n & 255, n >> 8, low
    bitmap = at + 3 + low // 8 * n
    for power in range(3):
        if low & 1 << power:
            bitmap += ((n << power) + 7) // 8
    end = bitmap + ((rising[last - 1] >> low) + n + 7) // 8
    for byte in range(bitmap, end):
        out[byte] = 0
    n = 0
    for place in range(first, last):
        if place == first or rising[place] != rising[place - 1]:
            bit = (rising[place] >> low) + n
            out[bitmap + (bit >> 3)] |= 1 << (bit & 7)
            lows[n] = rising[place] & ((1 << low) - 1)
            n += 1
    put_planes(out, at + 3, lows, 0, n, low)
    return end


@compiled
def put_value(out, lists, seen, seen_first, seen_last, scratch):
    """One value at the beginning of ``out``; returns its length, -1 when the row cannot be packed."""
    items, _, _, _, _, first, last = lists
    table, places, palette, ranks, spare, lows, floats = scratch
    n = last - first
    n_palette = palette_of(lists, table, places, palette, ranks, spare) if n <= MAX_ITEMS else -1
    if n_palette < 0:
        return -1
    most, source = 1, 0
    for at in range(first, last):
        most = max(most, items[at])
    for at in range(n_palette):
        spare[at], ranks[at] = palette[at] & 0xFFFFFFFF, palette[at] >> 32
        most, source = max(most, spare[at]), max(source, ranks[at])
    bits, source_bits = n_bits(most), n_bits(source)
    at = put_scores(out, put_planes(out, HEADER, items, first, n, bits), lists, floats)
    if at < 0:
        return -1
    out[0], out[1], out[2], out[3] = 2, bits - 1 | source_bits << 5, n, n_palette
    head = floats.view(np.uint8)
    for byte in range(8):
        out[4 + byte] = head[byte]
    at = put_planes(out, at, places, 0, n, n_bits(max(0, n_palette - 1)))
    at = put_planes(out, put_planes(out, at, ranks, 0, n_palette, source_bits), spare, 0, n_palette, bits)
    return put_rising(out, at, seen, seen_first, seen_last, lows)
