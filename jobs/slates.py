"""Which list does each user get tonight? The candidates in the order of the recipe, then the business rules.

Every item keeps the source that spoke for it most and that source's reason, one of the user's own items; an item that
is merely popular, or pinned though nobody proposed it, has none. Beside the list stand the items the user already
has, newest first, which serving keeps out of any refill, and the chance with which an explored place drew its item.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.settings import Settings, Slates
from jobs.kernels.rules.apply import Columns, apply_rules
from jobs.kernels.rules.context import Context, User
from jobs.kernels.rules.eligible import comes_back
from jobs.kernels.rules.night import rules_tonight, warnings_of
from jobs.kernels.rules.rebuy import NEVER, days_since
from jobs.rim.lineage import Job
from schemas.arrow import arrow_schema
from schemas.spark import spark_schema
from schemas.tables import SLATES, SOURCES

ALIKE_BY = "als"  # whose vectors say how alike items are, where the rules ask for it
SOURCE_CODES = {name: code for code, name in enumerate(SOURCES)}


def transform(inputs: Mapping, as_of: datetime, settings: Settings) -> dict:
    """candidates, interactions, users (Spark); items, item_dictionary, item_factors (Arrow), rules → slates."""
    proposals = by_user(inputs["candidates"])
    people = proposals.join(histories(inputs["interactions"]), "user_id", how="left")
    located = people.join(inputs["users"].select("user_id", "country"), "user_id", how="left")
    night = build_night(inputs, as_of, settings.slates)
    shared = located.sparkSession.sparkContext.broadcast(night)

    def merge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield merge_block(batch, shared.value)

    slates = located.mapInArrow(merge, spark_schema(SLATES)).where(F.size("items") > 0)
    return {"slates": slates, "measured": {"warnings": warnings_of(night.rules)}}


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


@dataclass(frozen=True)
class Night:
    """What a task needs to merge candidates: the compiled rules among it."""

    rules: Context
    as_of: datetime
    n_seen: int


def build_night(inputs: Mapping, as_of: datetime, wanted: Slates) -> Night:
    rules, items, dictionary, factors = (inputs[name] for name in ("rules", "items", "item_dictionary", "item_factors"))
    factors = factors.filter(pc.equal(factors["source"], ALIKE_BY))
    return Night(rules_tonight(rules, items, dictionary, factors, as_of, wanted.n_items), as_of, wanted.n_seen)


def merge_block(batch: pa.RecordBatch, night: Night) -> pa.RecordBatch:
    schema = arrow_schema(SLATES)
    rows = [merge_user(batch, k, night) for k in range(batch.num_rows)]
    columns = list(zip(*rows, strict=True)) if rows else [[] for _ in schema]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema.names)


def merge_user(batch: pa.RecordBatch, k: int, night: Night) -> tuple:
    """One row of slates, out of row k of a batch."""
    user = read_user(batch, k, night.as_of)
    candidates = read_candidates(batch["proposals"][k])
    items, scores, sources, because, propensities = apply_rules(*candidates, user, night.rules)
    names = [SOURCES[code] for code in sources]
    seen = user.seen[~comes_back(user, night.rules)][: night.n_seen]
    return user.user_id, items, scores.astype(np.float32), names, because, propensities, seen


def read_user(batch: pa.RecordBatch, k: int, as_of: datetime) -> User:
    if not batch["seen"][k].is_valid:  # somebody who did nothing so far
        return User(user_id=batch["user_id"][k].as_py(), country=batch["country"][k].as_py())
    return User(
        user_id=batch["user_id"][k].as_py(),
        seen=batch["seen"][k].values.to_numpy(),
        bought_days=days_since(batch["bought_us"][k].values.to_numpy(), as_of),
        country=batch["country"][k].as_py(),
    )


def read_candidates(proposals: pa.ListScalar) -> Columns:
    """Items, scores, codes of sources and reasons of all sources' rows."""
    rows = proposals.values
    codes = [SOURCE_CODES[source] for source in rows.field("source").to_pylist()]
    sources = np.repeat(np.array(codes, np.int8), pc.list_value_length(rows.field("items")).to_numpy())
    items, scores, because = (rows.field(name).flatten().to_numpy() for name in ("items", "scores", "because_of"))
    return items, scores.astype(np.float64), sources, because


JOB = Job(
    name="slates",
    inputs=("candidates", "interactions", "users", "items", "item_dictionary", "item_factors"),
    outputs=("slates",),
    settings=("slates",),
    engine="spark",
    transform=transform,
    arrow_inputs=("items", "item_dictionary", "item_factors"),
    rules=("diversity", "rebuy", "exploration", "promotion"),
)
