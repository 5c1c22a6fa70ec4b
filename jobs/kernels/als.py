"""Implicit-feedback ALS (Hu, Koren, Volinsky 2008), its rows solved by a few steps of conjugate gradients (Takács,
Pilászy, Tikk 2011), as ``implicit`` does it: the same beginning, the same steps, the same factors but for rounding.

The factors that a row looks at are laid side by side first, so that all its steps find them within the caches, and are
gone through four at once. Rows are shared out to threads; results do not hang on how many there are.
"""

from functools import partial

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from jobs.kernels.compiled import kernel, sparse_rows
from jobs.kernels.grouping import each_part

STEPS = 3  # of conjugate gradients: each iteration begins where the one before ended
START = 0.01  # factors begin between 0 and this
NEAR = 4_096  # others laid side by side: at 64 factors 1 MiB
SOLVED = 1e-20  # squared length of a residual
ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)  # beside whole numbers they would become wider

vectors = partial(kernel, fastmath={"reassoc", "contract"})  # sums in any order, that is, many terms at once
Side = tuple[np.ndarray, np.ndarray, np.ndarray]


def factorise(
    confidence: sp.csr_matrix, factors: int, regularization: float, iterations: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Factors of users and of items, float32, ``(n_users, factors)`` and ``(n_items, factors)``.

    ``confidence`` ``(n_users, n_items)``, above 0 where a user took an item; what nobody took has zeros.
    """
    random, (n_users, n_items) = np.random.default_rng(seed), confidence.shape
    users, items = (random.random((n, factors), dtype=np.float32) * np.float32(START) for n in (n_users, n_items))
    by_user, by_item = sparse_rows(confidence, np.int64), sparse_rows(confidence.T.tocsr(), np.int64)
    with threadpool_limits(1, "blas"):  # below threads of our own they only fight
        for _ in range(iterations):
            improve(users, items, by_user, regularization)
            improve(items, users, by_item, regularization)
    return users, items


def improve(rows: np.ndarray, others: np.ndarray, side: Side, regularization: float) -> None:
    """A few steps towards the best ``rows`` for these ``others``, in place; ``side`` are their ``sparse_rows``."""
    gram = others.T @ others + np.float32(regularization) * np.eye(others.shape[1], dtype=np.float32)
    each_part(side[0], lambda first, last: improve_rows(*side, rows, others, gram, first, last))


@vectors
def improve_rows(begins, columns, values, rows, others, gram, first, last):
    """``gram`` is YᵀY + λI of all ``others``. A row of no cells is 0."""
    n_factors = others.shape[1]
    near = np.empty((NEAR, n_factors), np.float32)
    residual, direction, product = (
        np.empty(n_factors, np.float32),
        np.empty(n_factors, np.float32),
        np.empty(n_factors, np.float32),
    )
    for row in range(first, last):
        here, own, trust = rows[row], columns[begins[row] : begins[row + 1]], values[begins[row] : begins[row + 1]]
        if len(own) == 0:
            here[:] = 0
            continue
        multiply(gram, here, product)
        residual[:] = 0
        for tile in range(0, len(own), NEAR):
            lay(others, own[tile : tile + NEAR], near)
            add_weighted(near, trust[tile : tile + NEAR], here, ONE, residual)
        for at in range(n_factors):
            residual[at] -= product[at]
            direction[at] = residual[at]
        square = dot(residual, residual)
        for _ in range(STEPS):
            if square < SOLVED:
                break
            multiply(gram, direction, product)
            for tile in range(0, len(own), NEAR):
                if len(own) > NEAR:
                    lay(others, own[tile : tile + NEAR], near)
                add_weighted(near, trust[tile : tile + NEAR], direction, ZERO, product)
            step, before = square / dot(direction, product), square
            for at in range(n_factors):
                here[at] += step * direction[at]
                residual[at] -= step * product[at]
            square = dot(residual, residual)
            for at in range(n_factors):
                direction[at] = residual[at] + square / before * direction[at]


@vectors
def dot(left, right):
    total = ZERO
    for at in range(len(left)):
        total += left[at] * right[at]
    return total


@vectors
def lay(others, which, near):
    """The ``others`` of a row side by side."""
    for place in range(len(which)):
        copy, other = near[place], others[which[place]]
        for at in range(len(other)):
            copy[at] = other[at]


@vectors
def multiply(gram, row, product):
    """``product = gram @ row``; ``gram`` is symmetric."""
    product[:] = 0
    n = len(row)
    for line in range(0, n - 3, 4):
        one, two, three, four = gram[line], gram[line + 1], gram[line + 2], gram[line + 3]
        first, second, third, fourth = row[line], row[line + 1], row[line + 2], row[line + 3]
        for at in range(n):
            product[at] += first * one[at] + second * two[at] + third * three[at] + fourth * four[at]
    for line in range(n - n % 4, n):
        one, first = gram[line], row[line]
        for at in range(n):
            product[at] += first * one[at]


@vectors
def add_weighted(near, confidence, row, wanted, total):
    """``total += Yᵀ(C - 1)Y·row`` of a row's own others ``near``, or, ``wanted`` being 1, ``Yᵀ(C - (C - 1)Y·row)``."""
    n = len(confidence)
    for cell in range(0, n - 3, 4):
        one, two, three, four = near[cell], near[cell + 1], near[cell + 2], near[cell + 3]
        first, second, third, fourth = ZERO, ZERO, ZERO, ZERO
        for at in range(len(row)):
            first += one[at] * row[at]
            second += two[at] * row[at]
            third += three[at] * row[at]
            fourth += four[at] * row[at]
        first, second = weight(confidence[cell], first, wanted), weight(confidence[cell + 1], second, wanted)
        third, fourth = weight(confidence[cell + 2], third, wanted), weight(confidence[cell + 3], fourth, wanted)
        for at in range(len(total)):
            total[at] += first * one[at] + second * two[at] + third * three[at] + fourth * four[at]
    for cell in range(n - n % 4, n):
        one = near[cell]
        first = weight(confidence[cell], dot(one, row), wanted)
        for at in range(len(total)):
            total[at] += first * one[at]


@vectors
def weight(confidence, score, wanted):
    return wanted * confidence + (ONE - TWO * wanted) * (confidence - ONE) * score
