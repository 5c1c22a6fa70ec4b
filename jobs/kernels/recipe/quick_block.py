"""Candidates of a block of users, without a score for every user and item.

What a history times item-to-item weights touches is all that is added up and ranked; products of factors keep only the
best; and of the candidates alone every source is asked for its score.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
import scipy.sparse as sp

from jobs.kernels.compiled import kernel, sparse_rows
from jobs.kernels.recipe.block_kernels import LEAST_BEST, NOWHERE, by_histories
from jobs.kernels.recipe.block_topk import ByLength, topk_product
from jobs.kernels.recipe.model import FAR, N_CANDIDATES, N_RANKED, Model
from jobs.kernels.recipe.people import People
from jobs.kernels.recipe.sources import ByNeighbors

SLOTS = 8  # sources by history a compiled loop takes at once: the rest of a tuple is empty, so that it compiles once
PLACES = np.log2(1 + np.arange(N_RANKED, dtype=np.float32))
NO_ROWS = (np.zeros(1, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))


def quick_block(
    model: Model,
    people: People,
    users: np.ndarray,
    offset: int,
    barred: sp.csr_matrix,
    items: Mapping[str, ByLength],
    n_each: int = N_CANDIDATES,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of users (from ``offset`` on), items, and for each source its score over the user's best and the log of
    its rank, by user, then item: the ``n_each`` best of every source and popularity; of equals the lower item first.

    ``items`` are the model's ``lengths``. One thread; the interpreter's lock is free.
    """
    owned = barred[users]
    owned.eliminate_zeros()
    factors = {name: np.require(model.sources[name].users[users], np.float32, "C") for name in items}
    best = {name: topk_product(factors[name], items[name], owned, N_RANKED, above=0) for name in items}
    found = [codes for codes, _ in best.values()]
    begins, union, columns = candidates_by_history(model, people, users, owned, found, n_each)
    for name, (codes, scores) in best.items():
        vectors = np.require(model.sources[name].items, np.float32, "C")
        column = columns[:, list(model.sources).index(name)]
        by_factors(factors[name], vectors, codes, scores, PLACES, np.float32(FAR), begins, union, column)
    row = np.repeat(np.arange(len(users)), np.diff(begins))
    return row + offset, union.astype(np.int64), columns.reshape(len(row), 2 * len(model.sources))


def candidates_by_history(
    model: Model, people: People, users: np.ndarray, owned: sp.csr_matrix, found: list[np.ndarray], n_each: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Begins by user, items, and columns ``(n, n_sources, 2)``, those of the sources by history filled."""
    names = [name for name, source in model.sources.items() if isinstance(source, ByNeighbors)]
    histories = {
        kind: sparse_rows(people.history(kind)[users]) for kind in {model.sources[name].history for name in names}
    }
    which = np.array([list(model.sources).index(name) for name in names], np.int64)
    n_users, n_lists = len(users), len(model.sources) + len(model.popular)
    begins = np.zeros(n_users + 1, np.int64)
    room = n_users * min(n_lists * n_each, people.n_items)
    union, columns = np.empty(room + 1, np.int32), np.empty((room, len(model.sources), 2), np.float32)
    by_histories(
        slots([histories[model.sources[name].history] for name in names]),
        slots([sparse_rows(model.sources[name].weights) for name in names]),
        sparse_rows(owned)[:2],
        np.require(model.warm, bool, "CW"),
        np.stack(found, axis=1) if found else np.zeros((n_users, 0, 1), np.int32),
        padded(model.popular),
        n_each,
        PLACES,
        np.float32(FAR),
        begins,
        union,
        columns,
        which,
    )
    return begins, union[: begins[-1]], columns[: begins[-1]]


def slots(sources: list[tuple]) -> tuple[tuple[np.ndarray, ...], ...]:
    """Begins, columns and values, each of all sources, filled up with empty ones."""
    n_slots = max(-(-len(sources) // SLOTS), 1) * SLOTS
    return tuple(zip(*sources, *[NO_ROWS] * (n_slots - len(sources)), strict=True))


def padded(lists: tuple[np.ndarray, ...]) -> np.ndarray:
    """``(n_lists, n)`` int32, each ended by -1."""
    found = np.full((len(lists), max(map(len, lists), default=0) + 1), NOWHERE, np.int32)
    for row, one in zip(found, lists, strict=True):
        row[: len(one)] = one
    return found


@partial(kernel, fastmath={"reassoc", "contract"})  # in any order, that is, eight at once
def dot(left, right):
    total = np.float32(0)
    for at in range(len(left)):
        total += left[at] * right[at]
    return total


@kernel
def by_factors(users, vectors, codes, scores, places, far, begins, union, columns):
    """What a source by factors says of the candidates; ``codes`` and ``scores`` ``(n_users, k)`` are its best.

    ``columns`` ``(n, 2)`` are this source's.
    """
    position = np.full(len(vectors), np.int64(NOWHERE))
    for user in range(len(users)):
        mine, told = union[begins[user] : begins[user + 1]], columns[begins[user] : begins[user + 1]]
        best = max(scores[user, 0], LEAST_BEST)
        for at, item in enumerate(mine):
            told[at, 0], told[at, 1] = dot(users[user], vectors[item]) / best, far
            position[item] = at
        for place, code in enumerate(codes[user]):
            if code < 0:
                break
            if position[code] >= 0:
                told[position[code], 0], told[position[code], 1] = scores[user, place] / best, places[place]
        for item in mine:
            position[item] = NOWHERE
