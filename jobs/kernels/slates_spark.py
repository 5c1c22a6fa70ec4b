"""Slates by Spark, for more than memory holds and for clusters: candidates and histories come together there."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.kernels.rules.apply import Columns
from jobs.kernels.rules.context import User
from jobs.kernels.rules.rebuy import NEVER, days_since
from jobs.kernels.rules.slate import Night, slate_of, to_batch
from jobs.kernels.shared_spark import share
from schemas.spark import spark_schema
from schemas.tables import SLATES, SOURCES

SOURCE_CODES = {name: code for code, name in enumerate(SOURCES)}


def merge_in_spark(candidates: DataFrame, interactions: DataFrame, users: DataFrame, night: Night) -> DataFrame:
    """candidates, interactions, users → slates."""
    people = by_user(candidates).join(histories(interactions), "user_id", how="left")
    located = people.join(users.select("user_id", "country"), "user_id", how="left")
    shared = share(located.sparkSession.sparkContext, night)

    def merge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield to_batch([merge_user(batch, k, shared.value) for k in range(batch.num_rows)])

    return located.mapInArrow(merge, spark_schema(SLATES)).where(F.size("items") > 0)


def by_user(candidates: DataFrame) -> DataFrame:
    """One row per user with the sources' rows as a list of structs, by source."""
    rows = F.sort_array(F.collect_list(F.struct("source", "items", "scores", "because_of")))
    return candidates.groupBy("user_id").agg(rows.alias("proposals"))


def histories(interactions: DataFrame) -> DataFrame:
    """All items a user dealt with, newest first, and when each was last bought, as parallel lists."""
    bought_us = F.coalesce(F.unix_micros("last_purchase_time"), F.lit(NEVER)).alias("bought_us")
    cells = F.sort_array(F.collect_list(F.struct("last_time", "item_idx", bought_us)), asc=False)
    return (
        interactions.groupBy("user_id")
        .agg(cells.alias("cells"))
        .select("user_id", F.col("cells.item_idx").alias("seen"), F.col("cells.bought_us").alias("bought_us"))
    )


def merge_user(batch: pa.RecordBatch, k: int, night: Night) -> tuple:
    """One row of slates, out of row k of a batch."""
    return slate_of(read_candidates(batch["proposals"][k]), read_user(batch, k, night), night)


def read_user(batch: pa.RecordBatch, k: int, night: Night) -> User:
    if not batch["seen"][k].is_valid:  # somebody who did nothing so far
        return User(user_id=batch["user_id"][k].as_py(), country=batch["country"][k].as_py())
    return User(
        user_id=batch["user_id"][k].as_py(),
        seen=batch["seen"][k].values.to_numpy(),
        bought_days=days_since(batch["bought_us"][k].values.to_numpy(), night.as_of),
        country=batch["country"][k].as_py(),
    )


def read_candidates(proposals: pa.ListScalar) -> Columns:
    """Items, scores, codes of sources and reasons of all sources' rows."""
    rows = proposals.values
    codes = [SOURCE_CODES[source] for source in rows.field("source").to_pylist()]
    sources = np.repeat(np.array(codes, np.int8), pc.list_value_length(rows.field("items")).to_numpy())
    items, scores, because = (rows.field(name).flatten().to_numpy() for name in ("items", "scores", "because_of"))
    return items, scores.astype(np.float64), sources, because
