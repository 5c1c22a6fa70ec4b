"""Each row's numbers into rising order, many short rows at once."""

import numpy as np

from jobs.kernels.compiled import kernel

FEW = 255  # rows up to here go by their uppermost bits and then by insertion, which has little left to do
UPPER_BITS = 6


def rising_rows(values: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """A copy, int64, in which each row's values rise; a copy alone where one is negative.

    ``begins``: where rows begin, and the last one's end, ``(n_rows + 1,)``.
    """
    sorted_rows = values.astype(np.int64)
    longest = int(np.diff(begins).max(initial=0))
    if len(values) and sorted_rows.min() >= 0:
        sort_rows(sorted_rows, begins, np.empty(longest, np.int64), np.empty(257, np.int64))
    return sorted_rows


@kernel
def sort_rows(values, begins, spare, counts):
    for row in range(len(begins) - 1):
        mine = values[begins[row] : begins[row + 1]]
        largest, bits = 0, 0
        for value in mine:
            largest = max(largest, value)
        while largest >> bits:
            bits += 1
        if len(mine) <= FEW:
            by_bits(mine, spare, counts, max(0, bits - UPPER_BITS), UPPER_BITS)
            insert_all(mine)
        else:
            for shift in range(0, bits, 8):
                by_bits(mine, spare, counts, shift, 8)


@kernel
def by_bits(mine, spare, counts, shift, bits):
    """By that many bits from ``shift``, equals as they stand."""
    mask = (1 << bits) - 1
    for place in range(mask + 2):
        counts[place] = 0
    for value in mine:
        counts[(value >> shift & mask) + 1] += 1
    for place in range(mask):
        counts[place + 1] += counts[place]
    for value in mine:
        spare[counts[value >> shift & mask]] = value
        counts[value >> shift & mask] += 1
    for place in range(len(mine)):
        mine[place] = spare[place]


@kernel
def insert_all(mine):
    for place in range(1, len(mine)):
        value, at = mine[place], place
        while at > 0 and mine[at - 1] > value:
            mine[at] = mine[at - 1]
            at -= 1
        mine[at] = value
