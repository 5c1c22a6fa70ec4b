"""Which items share contributors, and how much? Counted item by item, in memory.

Of each item the baskets it lies in are gone through, and of what was counted the best stay. Time is the sum of the
squares of the baskets' sizes; memory is one item's counts, whatever comes out.
"""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from jobs.kernels.compiled import kernel
from jobs.kernels.grouping import settle
from jobs.kernels.threads import in_threads, n_parts

SCORES = ("cosine", "lift", "llr")
COSINE, LIFT, LLR = range(len(SCORES))


def top_pairs(contributor: np.ndarray, item: np.ndarray, score: str, shrink: float, min_pair: int, n_top: int) -> dict:
    """The ``n_top`` best partners of each item, as columns of item_neighbors without ``kind``.

    ``contributor`` and ``item`` are dense 0-based codes, one entry per distinct contribution. Ties: score descending,
    then partner ascending.
    """

    def told(pairs: tuple[np.ndarray, ...], n_item: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
        return columns(*pairs, n_item, n, SCORES.index(score), shrink)

    names = ("item_idx", "rank", "neighbor_idx", "n_pair", "lift", "llr", "score")
    return dict(zip(names, counted(contributor, item, score, shrink, min_pair, n_top, told), strict=True))


def scored_pairs(contributor: np.ndarray, item: np.ndarray, score: str, min_pair: int, n_top: int) -> tuple:
    """Of the same pairs items, partners and scores alone, without shrinking and in any order."""

    def told(pairs: tuple[np.ndarray, ...], n_item: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
        return *pairs[:2], scores(*pairs, n_item, n, SCORES.index(score), 0.0)

    return counted(contributor, item, score, 0.0, min_pair, n_top, told)


def counted(contributor, item, score: str, shrink: float, min_pair: int, n_top: int, told: Callable) -> tuple:
    """Columns of what ``told(pairs, n_item, n)`` makes of the pairs of a part of the items, side by side."""
    shape = (int(contributor.max()) + 1, int(item.max()) + 1) if len(item) else (0, 0)
    baskets = sp.csr_matrix((np.ones(len(item), bool), (contributor, item)), shape)
    by_item = baskets.T.tocsr()
    n_item = np.diff(by_item.indptr).astype(np.int64)
    ends = np.linspace(0, shape[1], n_parts() + 1).astype(np.int64)

    def count(part: int) -> tuple[np.ndarray, ...]:
        sides = (by_item.indptr, by_item.indices, baskets.indptr, baskets.indices)
        wanted = (SCORES.index(score), shrink, min_pair, n_top)
        return told(best_partners(*sides, n_item, shape[0], *wanted, ends[part], ends[part + 1]), n_item, shape[0])

    parts = in_threads(count, range(len(ends) - 1))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


@kernel
def best_partners(item_at, item_of, basket_at, basket_of, n_item, n, score, shrink, min_pair, n_top, begin, end):
    """Of the items ``[begin, end)``: items, partners and counts of their ``n_top`` best, in no order within an item."""
    n_items = len(n_item)
    room = (end - begin) * min(n_top, n_items)
    items, others, counts = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    count, touched = np.zeros(n_items, np.int32), np.empty(n_items + 1, np.int32)  # narrow: for the caches
    scores, size = np.empty(n_items), 0
    for item in range(begin, end):
        n_touched = 0
        for at in range(item_at[item], item_at[item + 1]):
            basket = item_of[at]
            for place in range(basket_at[basket], basket_at[basket + 1]):
                other = basket_of[place]
                touched[n_touched] = other  # overwritten unless it is new: nothing branches, nothing is guessed wrong
                n_touched += count[other] == 0
                count[other] += 1
        n_found = 0
        for at in range(n_touched):
            other, n_pair = touched[at], count[touched[at]]
            if other != item and n_pair >= min_pair:
                scores[n_found] = score_of(score, np.int64(n_pair), n_item[item], n_item[other], n, shrink)
                touched[n_found] = other  # what is read later lies behind
                n_found += 1
            else:
                count[other] = 0
        kept = min(n_top, n_found)
        least = -np.inf if n_found <= n_top else np.partition(scores[:n_found], n_found - n_top)[n_found - n_top]
        above = 0
        for at in range(n_found):
            above += scores[at] > least
        last = last_of_equals(touched[:n_found][scores[:n_found] == least], kept - above)
        for at in range(n_found):
            other = touched[at]
            if scores[at] > least or (scores[at] == least and other <= last):
                items[size], others[size], counts[size] = item, other, count[other]
                size += 1
            count[other] = 0
    return items[:size], others[:size], counts[:size]


@kernel
def last_of_equals(equals, n):
    """The ``n``-th lowest; -1 for none."""
    if n <= 0 or len(equals) == 0:
        return -1
    return np.sort(equals)[min(n, len(equals)) - 1]


@kernel
def score_of(score, n_pair, n_item, n_other, n, shrink):
    """By position in ``SCORES``; llr is 2 · Σ observed · ln(observed / expected) over the pair's four cells (Dunning
    1993), at least 0.
    """
    if score == COSINE:
        return n_pair / (np.sqrt(np.float64(n_item * n_other)) + shrink)
    if score == LIFT:
        return n_pair * np.float64(n) / (n_item * n_other)
    total = term(n_pair, n_item * n_other, n)  # in this order it is equal in both directions
    total += term(n_item - n_pair, n_item * (n - n_other), n) + term(n_other - n_pair, (n - n_item) * n_other, n)
    total += term(n - n_item - n_other + n_pair, (n - n_item) * (n - n_other), n)
    return max(2 * total, 0.0)


@kernel
def term(seen, expected, n):
    if seen <= 0:
        return 0.0
    return seen * np.log(np.float64(seen) * n / np.float64(expected))


@kernel
def scores(items, others, n_pair, n_item, n, score, shrink):
    found = np.empty(len(items))
    for at in range(len(items)):
        found[at] = score_of(score, n_pair[at], n_item[items[at]], n_item[others[at]], n, shrink)
    return found


@kernel
def columns(items, others, n_pair, n_item, n, score, shrink):
    """Of pairs by item the columns of item_neighbors, within each item by rank."""
    found = scores(items, others, n_pair, n_item, n, score, shrink)
    order, begins, n_begins = np.arange(len(items)), np.empty(len(items) + 1, np.int64), 0
    for at in range(len(items)):
        if at == 0 or items[at] != items[at - 1]:
            begins[n_begins] = at
            n_begins += 1
    begins[n_begins] = len(items)
    settle(order, begins, others.astype(np.int32), -found, 0, n_begins)
    rank = np.empty(len(items), np.int32)
    for one in range(n_begins):
        for at in range(begins[one], begins[one + 1]):
            rank[at] = at - begins[one] + 1
    items, others, n_pair, found = items[order], others[order], n_pair[order], found[order]
    lift = scores(items, others, n_pair, n_item, n, LIFT, shrink)
    llr = scores(items, others, n_pair, n_item, n, LLR, shrink)
    return items.astype(np.int32), rank, others.astype(np.int32), n_pair, lift, llr, found
