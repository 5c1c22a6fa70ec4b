"""Items' packed lists straight out of flat arrays: ``schemas.codec``, version 1, compiled.

Byte for byte what ``pack_list`` gives, which also tells what is wrong with a list the loop refuses.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jobs.kernels.compiled import kernel, typed
from schemas.codec import HEADER, MAX_ITEMS, NONE, pack_list
from schemas.tables import SOURCES

HEADER_BYTES, WIDEST = HEADER.size, 4
AT_ONCE = 8_192  # items whose values stand in memory together
CONTENT = SOURCES.index("content")
N_SOURCES = len(SOURCES)


@dataclass(frozen=True)
class Found:
    """Neighbors of items, by item, and of each in the order they are preferred: parallel arrays.

    ``begins`` is where each item's rows begin, and the end; ``source`` positions in ``SOURCES``.
    """

    item: np.ndarray
    begins: np.ndarray
    neighbor: np.ndarray
    score: np.ndarray
    source: np.ndarray


@dataclass(frozen=True)
class Alike:
    """What items are described like, the most alike first: as ``Found``, of the source ``content``."""

    item: np.ndarray
    begins: np.ndarray
    other: np.ndarray
    weight: np.ndarray


def item_values(found: Found, alike: Alike) -> Iterator[tuple[int, bytes]]:
    """Each item and its packed list: what was found, without itself and repeats, filled up with what it is like.

    Raises:
        ValueError: a list cannot be packed.
    """
    behind, left = matched(found.item, alike.item)
    items = np.concatenate([found.item, alike.item[left]])
    first = np.append(np.arange(len(found.item)), np.full(len(left), NONE))
    second = np.append(behind, left)
    rows = (
        typed(
            (found.begins, np.int64), (found.neighbor, np.int32), (found.score, np.float64), (found.source, np.int64)
        ),
        typed((alike.begins, np.int64), (alike.other, np.int32), (alike.weight, np.float32)),
    )
    floats = np.zeros(2, np.float32)
    columns = np.empty(MAX_ITEMS, np.int64), np.empty(MAX_ITEMS), np.empty(MAX_ITEMS, np.int64)
    lists = (*columns, np.empty(N_SOURCES, np.int64), floats, floats.view(np.uint8))
    out = np.empty(AT_ONCE * (HEADER_BYTES + (WIDEST + 2) * MAX_ITEMS + (WIDEST + 1) * N_SOURCES), np.uint8)
    for start in range(0, len(items), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        ends = np.zeros(len(items[some]) + 1, np.int64)
        places = typed((items[some], np.int32), (first[some], np.int64), (second[some], np.int64))
        bad = pack_items(*places, *rows, lists, out, ends)
        if bad >= 0:
            n = int(ends[bad + 1])
            chosen, scores, sources = (column[:n].tolist() for column in lists[:3])
            pack_list(chosen, scores, [SOURCES[code] for code in sources], [NONE] * n)
            raise ValueError(f"the list of item {items[start + bad]} cannot be packed")
        text, at = out[: ends[-1]].tobytes(), ends.tolist()
        for place, item in enumerate(items[some].tolist()):
            yield item, text[at[place] : at[place + 1]]


def matched(item: np.ndarray, alike: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each item its place in ``alike``, ``NONE`` where it has none; and the places that are of no item."""
    place_of = np.full(max(item.max(initial=0), alike.max(initial=0)) + 1, NONE)
    place_of[alike] = np.arange(len(alike))
    behind = place_of[item]
    left = np.ones(len(alike), bool)
    left[behind[behind != NONE]] = False
    return behind, np.flatnonzero(left)


@kernel
def pack_items(items, first, second, found, alike, lists, out, ends):
    """Values into ``out``, each up to its place in ``ends``; -1, or the place of a list that is refused.

    ``first`` and ``second`` are each item's places among ``found`` and ``alike``, -1 for none. Of a refused one
    ``lists`` holds items, scores and sources, beside room for what packing takes, and its end is their number.
    """
    for place in range(len(items)):
        n = 0
        if first[place] >= 0:
            n = take_found(items[place], found, found[0][first[place]], found[0][first[place] + 1], lists)
        if second[place] >= 0:
            n = fill_up(items[place], alike, alike[0][second[place]], alike[0][second[place] + 1], lists, n)
        end = put_list(out, ends[place], lists, n)
        if end < 0:
            ends[place + 1] = n
            return place
        ends[place + 1] = end
    return -1


@kernel
def holds(chosen, n, item):
    found = False
    for at in range(n):  # to the end: no jump that is guessed wrong
        found |= chosen[at] == item
    return found


@kernel
def take_found(item, found, row, last, lists):
    """How many are taken."""
    _, neighbors, scores, sources = found
    chosen, score, source, _, _, _ = lists
    n = 0
    while row < last and n < MAX_ITEMS:
        if neighbors[row] != item and not holds(chosen, n, neighbors[row]):
            chosen[n], score[n], source[n] = neighbors[row], scores[row], sources[row]
            n += 1
        row += 1
    return n


@kernel
def fill_up(item, alike, row, last, lists, n):
    """Others behind the ``n`` there are, all scored below these; how many there are then.

    Their weights stay as they are, or in proportion with the first at half of the least before them. Beneath a least
    of 0, as a pair that met by chance alone has in LLR, there is no proportion: they are moved.
    """
    _, others, weights = alike
    chosen, score, source, _, _, _ = lists
    least = np.inf
    for at in range(n):
        least = min(least, score[at])
    highest, n_before = 0.0, n
    while row < last and n < MAX_ITEMS:
        if others[row] != item and not holds(chosen, n_before, others[row]):
            weight = np.float64(weights[row])
            highest = weight if n == n_before else highest
            if least <= 0:
                score[n] = least - 1 + (weight - highest)
            else:
                score[n] = weight * min(1.0, least / 2 / highest)
            chosen[n], source[n] = others[row], CONTENT
            n += 1
        row += 1
    return n


@kernel
def put_list(out, at, lists, n):
    """One value from ``at`` on; where it ends, -1 when it cannot be packed."""
    chosen, score, source, position, floats, bits = lists
    highest, n_palette, low, high = 1, 0, 0.0, 0.0
    for code in range(N_SOURCES):
        position[code] = -1
    for place in range(n):
        if chosen[place] < 0 or not np.isfinite(score[place]):
            return -1
        highest = max(highest, chosen[place])
        position[source[place]] = 0
        low = score[place] if place == 0 or score[place] < low else low
        high = score[place] if place == 0 or score[place] > high else high
    for code in range(N_SOURCES):
        if position[code] == 0:
            position[code] = n_palette
            n_palette += 1
    floats[0], floats[1] = low + 0.0, high + 0.0
    low, high = np.float64(floats[0]), np.float64(floats[1])
    if not (np.isfinite(low) and np.isfinite(high)):
        return -1
    width = 1
    while highest >> 8 * width:
        width += 1
    out[at], out[at + 1], out[at + 2], out[at + 3] = 1, width, n, n_palette
    for byte in range(8):
        out[at + 4 + byte] = bits[byte]
    at += HEADER_BYTES
    for byte in range(width):
        for place in range(n):
            out[at + place] = chosen[place] >> 8 * byte & 255
        at += n
    scale = 255 / (high - low) if high != low else 0.0
    for place in range(n):
        out[at + place] = min(255, max(0, np.int64((score[place] - low) * scale + 0.5)))
        out[at + n + place] = position[source[place]]
    at += 2 * n
    for code in range(N_SOURCES):
        if position[code] >= 0:
            out[at + position[code]] = code
    at += n_palette
    for place in range(width * n_palette):
        out[at + place] = 0
    return at + width * n_palette
