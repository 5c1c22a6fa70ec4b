"""The best candidates of a block of users: every source scores all items, the ranking model orders what they like best,
and each is told with what spoke for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from conf.settings import Candidates
from jobs.kernels.recipe.fresh import NewItems
from jobs.kernels.recipe.people import People
from jobs.kernels.recipe.reasons import NOBODY
from jobs.kernels.recipe.recommend import Best, Recipe, first, lone_source
from jobs.kernels.recipe.stored import Stored, people_of
from jobs.kernels.rules.rebuy import Rebuy
from schemas.arrow import arrow_schema
from schemas.tables import CANDIDATES

SHOWN_AS = {
    "together": "cosine",
    "als_fading": "als",
    "ease_fading": "ease",
    "walk_fading": "walk",
}  # how a source is called in slates
POPULAR, CONTENT = "popular", "content"
BELOW = 0.999  # of the user's last candidate's score: the best new item's


@dataclass(frozen=True)
class Night:
    """What a task needs to score a block."""

    recipe: Recipe
    stored: Stored
    new: NewItems
    rebuy: Rebuy
    wanted: Candidates

    @property
    def by_vector(self) -> tuple[str, ...]:
        """The names of the vectors users need: all, or those of the source that ranks alone."""
        name = lone_source(self.recipe, self.stored.model)
        return tuple(kind for kind in self.stored.by_vector if name in (None, kind))


@dataclass(frozen=True)
class Block:
    """Some users and what they dealt with: parallel arrays, in any order, of positions in ``user_ids``, item_idx,
    weights, times in microseconds and those of the last purchase, ``rebuy.NEVER`` where there was none.

    ``vectors`` ``(n_users, width)`` by the names in ``Night.by_vector``, zeros for users the fit does not know.
    """

    user_ids: pa.Array
    user: np.ndarray
    item_idx: np.ndarray
    weight_micro: np.ndarray
    first_us: np.ndarray
    last_us: np.ndarray
    bought_us: np.ndarray
    vectors: Mapping[str, np.ndarray]


def propose_block(block: Block, night: Night) -> pa.RecordBatch:
    """The best candidates of a block of users, one row a user and source that speaks most for any of them."""
    n_users = len(block.user_ids)
    people, *out = read_block(block, night)
    model = night.stored.with_users(block.vectors)
    barred = barred_cells(people, *out, night.stored)
    wanted = night.wanted.n_items, barred, night.wanted.explain
    best = first(night.recipe, model, people, np.arange(n_users), *wanted)
    new = night.new.alike(people, night.wanted.n_new, *out)
    return to_batch(block.user_ids, in_one(best, new, night.stored))


@dataclass(frozen=True)
class Rows:
    """Parallel arrays: positions of users, item_idx, scores, positions of sources in ``names``, reasons' item_idx.

    Those of one user and source stand by falling score.
    """

    user: np.ndarray
    item: np.ndarray
    score: np.ndarray
    source: np.ndarray
    because: np.ndarray
    names: list[str]


def in_one(best: Best, new: tuple, stored: Stored) -> Rows:
    """The recipe's candidates and, below the last of each user, the new items."""
    user, item, alike, reason = new
    shown = [*(SHOWN_AS.get(name, name) for name in stored.model.sources), POPULAR, CONTENT]
    names = sorted(set(shown))
    place = np.array([names.index(name) for name in shown])
    by_score = np.lexsort((item, -alike, user))
    user, item, alike, reason = user[by_score], item[by_score], alike[by_score], reason[by_score]
    last = np.ones(max(user.max(initial=0), best.user.max(initial=0)) + 1)
    np.minimum.at(last, best.user, best.score)
    reasons = np.concatenate([best.reason, reason])
    known = np.append(stored.item_idx, NOBODY)  # nobody, -1, is the last
    return Rows(
        np.concatenate([best.user, user]),
        np.concatenate([stored.item_idx[best.item], item]),
        np.concatenate([best.score, BELOW * alike * last[user]]),
        np.concatenate([place[:-1][best.speaker], np.full(len(user), place[-1])]),
        known[reasons],
        names,
    )


def read_block(block: Block, night: Night) -> tuple[People, np.ndarray, np.ndarray]:
    """What the users of a block like; and parallel, positions of users and item_idx that may not be shown to them."""
    liked, n_users = block.weight_micro > 0, len(block.user_ids)
    taken = (column[liked] for column in (block.user, block.item_idx, block.first_us, block.last_us))
    out = ~night.rebuy.comes_back(block.item_idx, block.bought_us)
    return people_of(*taken, n_users, night.stored), block.user[out], block.item_idx[out]


def barred_cells(people: People, user: np.ndarray, item_idx: np.ndarray, stored: Stored) -> sp.csr_matrix:
    """``(n_users, n_items)`` of the model's items."""
    code = stored.codes(item_idx)
    known = code >= 0
    cells = (np.ones(known.sum(), np.float32), (user[known], code[known]))
    return sp.csr_matrix(cells, (people.n_users, people.n_items))


def to_batch(user_ids: pa.Array, rows: Rows) -> pa.RecordBatch:
    group = rows.user * len(rows.names) + rows.source
    order = np.argsort(group, kind="stable")
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    user, source = np.divmod(group[order][begins], len(rows.names))
    offsets = pa.array(np.append(begins, len(order)), pa.int32())
    lists = (pa.ListArray.from_arrays(offsets, pa.array(c[order])) for c in (rows.item, rows.score, rows.because))
    columns = (user_ids.take(pa.array(user)), pa.array(np.array(rows.names)[source], pa.string()), *lists)
    schema = arrow_schema(CANDIDATES)
    arrays = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema.names)
