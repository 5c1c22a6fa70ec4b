"""What does the recipe put first for each user, and because of which of their own items?

Users are scored in blocks inside Spark tasks: every fitted source scores all items, the best of each are candidates,
and the ranking model orders them. Items the user already has never come out, but for what they bought and may buy
again by the business rules. Behind them stand new items described like what the user took, for places that are
explored. Who likes nothing so far gets the list of those like them. The fitted tables are broadcast once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import and_

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.settings import Candidates, Settings
from jobs.kernels.recipe.fresh import NewItems, new_items
from jobs.kernels.recipe.people import People
from jobs.kernels.recipe.reasons import NOBODY
from jobs.kernels.recipe.recommend import Best, Recipe, first, lone_source
from jobs.kernels.recipe.stored import Stored, from_row, load_model, people_of
from jobs.kernels.rules.night import rebuy_tonight
from jobs.kernels.rules.rebuy import NEVER, Rebuy
from jobs.rim.lineage import Job
from jobs.rim.memory import task_bytes
from schemas.arrow import arrow_schema
from schemas.spark import spark_schema
from schemas.tables import CANDIDATES, SEGMENT_LISTS

SHOWN_AS = {
    "together": "cosine",
    "als_fading": "als",
    "ease_fading": "ease",
    "walk_fading": "walk",
}  # how a source is called in slates
POPULAR, CONTENT = "popular", "content"
BELOW = 0.999  # of the user's last candidate's score: the best new item's
USER_BYTES = 1 << 20  # of a user whose candidates are ranked: about 1,200 of them, described
ARROW = (
    *("recipe", "item_factors", "item_weights", "item_features", "content_neighbors"),
    *("items", "item_dictionary"),
)


def transform(inputs: Mapping, as_of: datetime, settings: Settings) -> dict[str, DataFrame]:
    """interactions, users, user_factors, segment_lists (Spark); the other tables (Arrow) and rules → candidates."""
    recipe = from_row(inputs["recipe"].to_pylist()[0])
    stored = load_model(recipe, inputs)
    rebuy = rebuy_tonight(inputs["rules"], inputs["items"], inputs["item_dictionary"], as_of)
    night = Night(recipe, stored, new_items(inputs["content_neighbors"], stored), rebuy, settings.candidates)
    people = histories(inputs["interactions"]).join(vectors(inputs["user_factors"], night), "user_id", how="left")
    shared = people.sparkSession.sparkContext.broadcast(night)
    # A number: all of settings would take the secret along to every executor.
    block_users = max(min(settings.candidates.block_users, task_bytes(settings) // USER_BYTES), 1)

    def propose(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for start in range(0, batch.num_rows, block_users):
                yield propose_block(batch.slice(start, block_users), shared.value)

    known = people.mapInArrow(propose, spark_schema(CANDIDATES))
    liking = inputs["interactions"].where("weight_micro > 0").select("user_id")
    newcomers = inputs["users"].join(liking, "user_id", how="left_anti")
    return {"candidates": known.unionByName(lists_for(newcomers, inputs["segment_lists"]))}


def vectors(user_factors: DataFrame, night: "Night") -> DataFrame:
    """One row a user, a column for each kind of vector that plays a part tonight."""
    if not night.by_vector:
        return user_factors.where("false").select("user_id")
    return user_factors.groupBy("user_id").pivot("source", list(night.by_vector)).agg(F.first("vector"))


def lists_for(newcomers: DataFrame, lists: DataFrame) -> DataFrame:
    """The list of their kind for users who like nothing so far."""
    nobody = F.transform("items", lambda _: F.lit(NOBODY)).alias("because_of")
    kind = reduce(and_, (newcomers[name].eqNullSafe(lists[name]) for name in SEGMENT_LISTS.key))
    found = newcomers.join(F.broadcast(lists), kind, how="inner")
    return found.select("user_id", F.lit("segment").alias("source"), "items", "scores", nobody)


def histories(interactions: DataFrame) -> DataFrame:
    """One row per user who likes anything: parallel lists, in any order, of what they dealt with."""
    bought_us = F.coalesce(F.unix_micros("last_purchase_time"), F.lit(NEVER)).alias("bought_us")
    times = (F.unix_micros("first_time").alias("first_us"), F.unix_micros("last_time").alias("last_us"))
    cells = F.collect_list(F.struct("item_idx", "weight_micro", *times, bought_us))
    lists = (
        F.col(f"cells.{name}").alias(name) for name in ("item_idx", "weight_micro", "first_us", "last_us", "bought_us")
    )
    by_user = interactions.groupBy("user_id").agg(cells.alias("cells"), F.max("weight_micro").alias("liked"))
    return by_user.where("liked > 0").select("user_id", *lists)


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


def propose_block(block: pa.RecordBatch, night: Night) -> pa.RecordBatch:
    """The best candidates of a block of users, one row a user and source that speaks most for any of them."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        vectors = {name: vectors_of(block[name], night.stored.width(name)) for name in night.by_vector}
        people, *out = read_block(block, night)
        model = night.stored.with_users(vectors)
        barred = barred_cells(people, *out, night.stored)
        wanted = night.wanted.n_items, barred, night.wanted.explain
        best = first(night.recipe, model, people, np.arange(block.num_rows), *wanted)
        new = night.new.alike(people, night.wanted.n_new, *out)
    return to_batch(block["user_id"], in_one(best, new, night.stored))


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


def read_block(block: pa.RecordBatch, night: Night) -> tuple[People, np.ndarray, np.ndarray]:
    """What the users of a block like; and parallel, positions of users and item_idx that may not be shown to them."""
    user = np.repeat(np.arange(block.num_rows), pc.list_value_length(block["item_idx"]).to_numpy())
    item_idx, micro, first_us, last_us, bought_us = (
        block[name].flatten().to_numpy() for name in ("item_idx", "weight_micro", "first_us", "last_us", "bought_us")
    )
    liked = micro > 0
    people = people_of(user[liked], item_idx[liked], first_us[liked], last_us[liked], block.num_rows, night.stored)
    out = ~night.rebuy.comes_back(item_idx, bought_us)
    return people, user[out], item_idx[out]


def barred_cells(people: People, user: np.ndarray, item_idx: np.ndarray, stored: Stored) -> sp.csr_matrix:
    """``(n_users, n_items)`` of the model's items."""
    code = stored.codes(item_idx)
    known = code >= 0
    cells = (np.ones(known.sum(), np.float32), (user[known], code[known]))
    return sp.csr_matrix(cells, (people.n_users, people.n_items))


def vectors_of(lists: pa.ListArray, width: int) -> np.ndarray:
    """``(n_users, width)``; zeros for users the fit does not know."""
    found = np.zeros((len(lists), width), np.float32)
    found[lists.is_valid().to_numpy(zero_copy_only=False)] = lists.flatten().to_numpy().reshape(-1, width)
    return found


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


JOB = Job(
    name="candidates",
    inputs=("interactions", "users", "user_factors", "segment_lists", *ARROW),
    outputs=("candidates",),
    settings=("candidates",),
    engine="spark",
    transform=transform,
    arrow_inputs=ARROW,
    rules=("rebuy",),
)
