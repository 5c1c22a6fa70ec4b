"""Which items share contributors, and how much? Counted item by item, in memory.

Of each item the baskets it lies in are gone through, and of what was counted the best stay. Time is the sum of the
squares of the baskets' sizes; memory is one item's counts, whatever comes out.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from jobs.kernels.compiled import kernel
from jobs.kernels.grouping import compiled_for, each_part, settle

SCORES = ("cosine", "lift", "llr")
THREADS = 2
PARTS = 16  # an item's cost varies: threads take the next part when they are done


@dataclass(frozen=True)
class PairCounts:
    """Counts of pairs, one entry each: ``item`` and ``other`` share ``n_pair`` of ``n`` contributors."""

    item: np.ndarray
    other: np.ndarray
    n_pair: np.ndarray
    n_item: np.ndarray
    n_other: np.ndarray
    n: int


def top_pairs(contributor: np.ndarray, item: np.ndarray, score: str, shrink: float, min_pair: int, n_top: int) -> dict:
    """The ``n_top`` best partners of each item, as columns of item_neighbors without ``kind``.

    ``contributor`` and ``item`` are dense 0-based codes, one entry per distinct contribution. Ties: score descending,
    then partner ascending.
    """
    shape = (int(contributor.max()) + 1, int(item.max()) + 1) if len(item) else (0, 0)
    baskets = sp.csr_matrix((np.ones(len(item), bool), (contributor, item)), shape)
    by_item = baskets.T.tocsr()
    n_item = np.diff(by_item.indptr).astype(np.int64)
    ends = np.linspace(0, shape[1], PARTS + 1).astype(np.int64)

    def count(part: int) -> tuple[np.ndarray, ...]:
        sides = (by_item.indptr, by_item.indices, baskets.indptr, baskets.indices)
        wanted = (SCORES.index(score), shrink, min_pair, n_top)
        return best_partners(*sides, n_item, shape[0], *wanted, ends[part], ends[part + 1])

    with ThreadPoolExecutor(THREADS) as pool:
        parts = list(pool.map(count, range(PARTS)))
    found, other, n_pair = (np.concatenate(column) for column in zip(*parts, strict=True))
    return ranked(PairCounts(found, other, n_pair, n_item[found], n_item[other], shape[0]), score, shrink)


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
    """By position in ``SCORES``."""
    if score == 0:
        return n_pair / (np.sqrt(np.float64(n_item * n_other)) + shrink)
    if score == 1:
        return n_pair * np.float64(n) / (n_item * n_other)
    total = term(n_pair, n_item * n_other, n)
    total += term(n_item - n_pair, n_item * (n - n_other), n) + term(n_other - n_pair, (n - n_item) * n_other, n)
    total += term(n - n_item - n_other + n_pair, (n - n_item) * (n - n_other), n)
    return max(2 * total, 0.0)


@kernel
def term(seen, expected, n):
    if seen <= 0:
        return 0.0
    return seen * np.log(np.float64(seen) * n / np.float64(expected))


def ranked(pairs: PairCounts, score: str, shrink: float) -> dict[str, np.ndarray]:
    """All scores, and the rank within each item."""
    scores = {
        "cosine": pairs.n_pair / (np.sqrt(pairs.n_item * pairs.n_other) + shrink),
        "lift": pairs.n_pair * float(pairs.n) / (pairs.n_item * pairs.n_other),
        "llr": log_likelihood_ratio(pairs),
    }
    order = by_score(pairs, scores[score])
    item = pairs.item[order]
    return {
        "item_idx": item.astype(np.int32),
        "rank": (np.arange(len(item)) - np.searchsorted(item, item) + 1).astype(np.int32),
        "neighbor_idx": pairs.other[order].astype(np.int32),
        "n_pair": pairs.n_pair[order],
        "lift": scores["lift"][order],
        "llr": scores["llr"][order],
        "score": scores[score][order],
    }


def by_score(pairs: PairCounts, score: np.ndarray) -> np.ndarray:
    """Positions by item, which they stand by already, then by falling score, then by partner."""
    begins = np.append(np.flatnonzero(np.diff(pairs.item, prepend=-1)), len(pairs.item))
    order = np.arange(len(pairs.item))
    _, other, falling = compiled_for(order, pairs.other, -score)
    each_part(begins, lambda first, last: settle(order, begins, other, falling, first, last))
    return order


def log_likelihood_ratio(pairs: PairCounts) -> np.ndarray:
    """2 · Σ observed · ln(observed / expected) over the four cells of each pair (Dunning 1993), at least 0."""
    pair, item, other = (a.astype(np.float64) for a in (pairs.n_pair, pairs.n_item, pairs.n_other))
    n = float(pairs.n)
    cells = (
        (pair, item * other),
        (item - pair, item * (n - other)),
        (other - pair, (n - item) * other),
        (n - item - other + pair, (n - item) * (n - other)),
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(seen > 0, seen * np.log(seen * n / expected), 0.0) for seen, expected in cells]
    both, left, right, neither = terms
    return np.maximum(2 * (both + (left + right) + neither), 0.0)  # in this order it is equal in both directions
