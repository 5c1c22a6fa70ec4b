"""Products of sparse matrices of which only the strongest cells of each row are kept: item-to-item weights.

A row is added up in one array as long as a row and cut at once, so that the whole product never stands anywhere.
"""

import numpy as np
import scipy.sparse as sp

from jobs.kernels.compiled import kernel, sparse_rows
from jobs.kernels.threads import in_threads, n_parts

SPARSE = 4  # a row whose terms are fewer than a fourth of the columns is gone through by the columns it touched


def top_product(left: sp.spmatrix, right: sp.spmatrix, n: int) -> sp.csr_matrix:
    """left @ right without its diagonal, of each row the ``n`` cells farthest from 0; of equals the lower column."""
    left, right = sp.csr_matrix(left, dtype=np.float32), sp.csr_matrix(right, dtype=np.float32)
    ends = np.linspace(0, left.shape[0], n_parts() + 1).astype(np.int64)
    sides = (*sparse_rows(left, np.int64), *sparse_rows(right, np.int64))

    def part(at: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return strongest(*sides, right.shape[1], min(n, right.shape[1]), ends[at], ends[at + 1])

    parts = in_threads(part, range(len(ends) - 1))
    counts, columns, values = (np.concatenate(one) for one in zip(*parts, strict=True))
    begins = np.append(0, counts.cumsum())
    found = sp.csr_matrix((values, columns, begins), (left.shape[0], right.shape[1]))
    found.sort_indices()
    return found


@kernel
def strongest(left_at, left_of, left_value, right_at, right_of, right_value, n_columns, n, begin, end):
    """Of the rows ``[begin, end)``: how many cells are kept, and their columns and values."""
    counts, size = np.zeros(end - begin, np.int64), 0
    columns, values = np.empty((end - begin) * n, np.int32), np.empty((end - begin) * n, np.float32)
    total, seen, touched = (
        np.zeros(n_columns, np.float32),
        np.zeros(n_columns, np.bool_),
        np.empty(n_columns + 1, np.int32),
    )
    for row in range(begin, end):
        cost = 0
        for at in range(left_at[row], left_at[row + 1]):
            cost += right_at[left_of[at] + 1] - right_at[left_of[at]]
        few = SPARSE * cost < n_columns
        n_touched = 0
        for at in range(left_at[row], left_at[row + 1]):
            weight = left_value[at]
            for place in range(right_at[left_of[at]], right_at[left_of[at] + 1]):
                column = right_of[place]
                total[column] += weight * right_value[place]
                touched[n_touched] = column  # overwritten unless it is new: nothing branches, nothing is guessed wrong
                n_touched += not seen[column]
                seen[column] = True
        if not few:
            n_touched = n_columns
        total[row] = 0 if row < n_columns else total[row]
        best, strength = columns[size : size + n], values[size : size + n]  # a view for each cell would cost more
        kept, least = 0, np.float32(0)
        for at in range(n_touched):
            column = touched[at] if few else at
            value = total[column]
            if value != 0 and (kept < n or abs(value) >= least):
                kept = keep(best, strength, kept, column, value)
                least = abs(strength[0]) if kept == n else least
            total[column], seen[column] = 0, False
        counts[row - begin] = kept
        size += kept
    return counts, columns[:size], values[:size]


@kernel
def keep(columns, values, size, column, value):
    """Put a cell into a heap of ``size`` cells, the weakest first, which holds at most all of ``columns``; its size."""
    at = size
    if size == len(columns):
        if not weaker(columns[0], values[0], column, value):
            return size
        at = 0
        while 2 * at + 1 < size:  # let the weaker child up
            child = 2 * at + 1
            if child + 1 < size and weaker(columns[child + 1], values[child + 1], columns[child], values[child]):
                child += 1
            if not weaker(columns[child], values[child], column, value):
                break
            columns[at], values[at] = columns[child], values[child]
            at = child
    else:
        size += 1
        while at > 0 and weaker(column, value, columns[(at - 1) // 2], values[(at - 1) // 2]):
            columns[at], values[at] = columns[(at - 1) // 2], values[(at - 1) // 2]
            at = (at - 1) // 2
    columns[at], values[at] = column, value
    return size


@kernel
def weaker(column, value, other, other_value):
    """Whether a cell is nearer to 0 than another; of equals the one of the higher column."""
    return abs(value) < abs(other_value) or (abs(value) == abs(other_value) and column > other)
