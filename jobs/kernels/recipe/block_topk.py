"""The best items of many users by inner product: blocked products, and of each tile only what can still get in.

Items stand by falling length of their vectors, so that a user is done once the next vectors are too short to reach
their ``k``-th best (Cauchy-Schwarz; LEMP: Teflioudi, Gemulla, Mykytiuk 2015). Exact but for a product's rounding.

Entries are those of ``block_kernels``.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from jobs.kernels.compiled import kernel
from jobs.kernels.recipe.block_kernels import EMPTY, LAST_CODE, sift

TILE_ITEMS = 2048
TILE_USERS = 512  # a tile of scores is 4 MiB: it goes from the product to the scan within the caches
ROUNDING = 1e-5  # of the product of two lengths: more than a product of 150 factors is off by
NOTHING = -1


@dataclass(frozen=True)
class ByLength:
    """Items by falling length: ``code`` of each, ``vectors`` ``(n, factors)``, ``place`` of each code or -1.

    ``longest`` is the length of the first vector of each tile.
    """

    code: np.ndarray
    place: np.ndarray
    vectors: np.ndarray
    longest: np.ndarray


def by_length(items: np.ndarray, shown: np.ndarray | None = None) -> ByLength:
    """``items`` ``(n_items, factors)``, those where bool ``shown`` is true. A copy: make it once for a fit."""
    length = np.sqrt(np.einsum("ij,ij->i", items, items, dtype=np.float64))
    code = np.argsort(-length, kind="stable").astype(np.int32)
    if shown is not None:
        code = code[shown[code]]
    place = np.full(len(items), NOTHING, np.int32)
    place[code] = np.arange(len(code), dtype=np.int32)
    return ByLength(code, place, np.ascontiguousarray(items[code], np.float32), length[code[::TILE_ITEMS]])


def topk_product(
    users: np.ndarray, items: np.ndarray | ByLength, barred: sp.csr_matrix, k: int, above: float = -np.inf
) -> tuple[np.ndarray, np.ndarray]:
    """Item codes int32 and scores float32, both ``(n_users, k)``: the highest first, of equals the lower code.

    ``users`` ``(n_users, factors)``; items where ``barred`` ``(n_users, n_items)`` is not 0 stay out, and scores not
    above ``above``. Places left over are -1 with minus infinity. One thread; the interpreter's lock is free.
    """
    items = items if isinstance(items, ByLength) else by_length(items)
    users = np.ascontiguousarray(users, np.float32)
    entries = np.empty((len(users), k), np.int64)
    for start in range(0, len(users) if k else 0, TILE_USERS):
        rows = slice(start, start + TILE_USERS)
        entries[rows] = best_of_block(users[rows], items, barred[rows], k, np.float32(above))
    return unpacked(entries)


def best_of_block(users: np.ndarray, items: ByLength, barred: sp.csr_matrix, k: int, above: np.float32) -> np.ndarray:
    """Entries ``(n_users, k)``, falling; a tile of items at a time, without users no further item can matter to."""
    length = np.sqrt(np.einsum("ij,ij->i", users, users, dtype=np.float64)) * (1 + ROUNDING)
    owned, owned_at = places_of(barred, items.place)
    kept, count = np.empty((len(users), 2 * k), np.int64), np.zeros(len(users), np.int64)
    least = np.full(len(users), entries_of(above, 0))
    tile = np.empty(len(users) * TILE_ITEMS, np.float32)
    for longest, first in zip(items.longest, range(0, len(items.code), TILE_ITEMS), strict=True):
        live = np.flatnonzero((length * longest >= unpacked(least)[1]) & (length * longest > above))
        vectors, codes = (part[first : first + TILE_ITEMS] for part in (items.vectors, items.code))
        scores = tile[: len(live) * len(codes)].reshape(len(live), len(codes))
        np.matmul(users if len(live) == len(users) else users[live], vectors.T, out=scores)
        bar(scores, live, first, owned, owned_at)
        if first == 0 and k < len(codes):
            worst = np.partition(scores, -k, axis=1)[:, -k]
            least[live] = np.maximum(least[live], entries_of(worst, LAST_CODE))
        sift(scores, live, codes, kept, count, least)
    kept[np.arange(2 * k) >= count[:, None]] = EMPTY
    return np.sort(kept, axis=1)[:, : -k - 1 : -1]


def places_of(barred: sp.csr_matrix, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of what is barred, row by row and rising, what has none left out; and where each row begins."""
    row = np.repeat(np.arange(barred.shape[0], dtype=np.int64), np.diff(barred.indptr))
    at = place[barred.indices]
    there = (at >= 0) & (barred.data != 0)
    key = np.sort(row[there] * len(place) + at[there])
    begins = np.searchsorted(key, np.arange(barred.shape[0] + 1) * len(place))
    return key - np.repeat(np.arange(barred.shape[0]) * len(place), np.diff(begins)), begins


def unpacked(entries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes int32 and scores float32."""
    ordered = (entries >> 32).astype(np.int32)
    scores = (ordered ^ ((ordered >> 31) & LAST_CODE)).view(np.float32)
    codes = (LAST_CODE - (entries & LAST_CODE)).astype(np.int32)
    return np.where(entries == EMPTY, NOTHING, codes), np.where(entries == EMPTY, -np.inf, scores)


def entries_of(scores: np.ndarray, codes: np.ndarray) -> np.ndarray:
    bits = (scores + np.float32(0)).view(np.int32).astype(np.int64)  # minus 0 is 0
    return ((bits ^ ((bits >> 31) & LAST_CODE)) << 32) | (LAST_CODE - codes)


@kernel
def bar(scores, live, first, owned, owned_at):
    """Minus infinity for what is owned of a tile that begins at place ``first``."""
    for row in range(len(live)):
        own = owned[owned_at[live[row]] : owned_at[live[row] + 1]]
        for at in range(np.searchsorted(own, first), np.searchsorted(own, first + scores.shape[1])):
            scores[row, own[at] - first] = -np.inf
