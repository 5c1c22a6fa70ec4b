"""Candidates by Spark, for more than memory holds and for clusters: blocks of users are scored inside its tasks; what
was fitted lies on each machine once.
"""

from collections.abc import Iterator
from functools import reduce
from operator import and_

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from threadpoolctl import threadpool_limits

from jobs.kernels.proposals import Block, Night, propose_block
from jobs.kernels.recipe.reasons import NOBODY
from jobs.kernels.rules.rebuy import NEVER
from jobs.kernels.shared_spark import share
from schemas.spark import spark_schema
from schemas.tables import CANDIDATES, SEGMENT_LISTS

CELLS = ("item_idx", "weight_micro", "first_us", "last_us", "bought_us")


def propose_in_spark(
    interactions: DataFrame,
    users: DataFrame,
    user_factors: DataFrame,
    segment_lists: DataFrame,
    night: Night,
    block_users: int,
) -> DataFrame:
    """interactions, users, user_factors, segment_lists → candidates."""
    people = histories(interactions).join(vectors(user_factors, night), "user_id", how="left")
    shared = share(people.sparkSession.sparkContext, night)

    def propose(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with threadpool_limits(1, "blas"):
            for batch in batches:
                for start in range(0, batch.num_rows, block_users):
                    block = block_of(batch.slice(start, block_users), shared.value)
                    yield propose_block(block, shared.value)

    known = people.mapInArrow(propose, spark_schema(CANDIDATES))
    liking = interactions.where("weight_micro > 0").select("user_id")
    newcomers = users.join(liking, "user_id", how="left_anti")
    return known.unionByName(lists_for(newcomers, segment_lists))


def vectors(user_factors: DataFrame, night: Night) -> DataFrame:
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
    lists = (F.col(f"cells.{name}").alias(name) for name in CELLS)
    by_user = interactions.groupBy("user_id").agg(cells.alias("cells"), F.max("weight_micro").alias("liked"))
    return by_user.where("liked > 0").select("user_id", *lists)


def block_of(batch: pa.RecordBatch, night: Night) -> Block:
    user = np.repeat(np.arange(batch.num_rows), pc.list_value_length(batch["item_idx"]).to_numpy())
    cells = (batch[name].flatten().to_numpy() for name in CELLS)
    vectors = {name: vectors_of(batch[name], night.stored.width(name)) for name in night.by_vector}
    return Block(batch["user_id"], user, *cells, vectors)


def vectors_of(lists: pa.ListArray, width: int) -> np.ndarray:
    """``(n_users, width)``; zeros for users the fit does not know."""
    found = np.zeros((len(lists), width), np.float32)
    found[lists.is_valid().to_numpy(zero_copy_only=False)] = lists.flatten().to_numpy().reshape(-1, width)
    return found
