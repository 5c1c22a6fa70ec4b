"""Which list does each user get tonight? All sources' candidates fused by reciprocal rank, then the business rules.

Every item keeps the source that spoke for it most and that source's reason, one of the user's own items; an item that
is pinned though nobody proposed it has none. Beside the list stand the items the user already has, newest first, which
serving keeps out of any refill, and the chance with which an explored place drew its item.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.settings import Settings, Slates
from jobs.kernels.fuse import fuse
from jobs.kernels.rules.apply import apply_rules
from jobs.kernels.rules.context import Context, User
from jobs.kernels.rules.eligible import comes_back, may_show
from jobs.kernels.rules.night import rules_tonight, warnings_of
from jobs.kernels.rules.rebuy import NEVER, days_since
from jobs.rim.lineage import Job
from schemas.arrow import arrow_schema
from schemas.spark import spark_schema
from schemas.tables import SLATES, SOURCES

FUSED = SOURCES[:3]  # trending is added at request time, by the hourly run's own lists


def transform(inputs: Mapping, as_of: datetime, settings: Settings) -> dict:
    """candidates, interactions, users (Spark); items, item_dictionary, item_factors (Arrow), rules → slates."""
    proposals = by_user(inputs["candidates"])
    people = proposals.join(histories(inputs["interactions"]), "user_id", how="inner")
    located = people.join(inputs["users"].select("user_id", "country"), "user_id", how="left")
    night = build_night(inputs, as_of, settings.slates)
    shared = located.sparkSession.sparkContext.broadcast(night)

    def merge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield merge_block(batch, shared.value)

    slates = located.mapInArrow(merge, spark_schema(SLATES)).where(F.size("items") > 0)
    return {"slates": slates, "measured": {"warnings": warnings_of(night.rules)}}


def by_user(candidates: DataFrame) -> DataFrame:
    """One row per user with ``<source>_items`` and ``<source>_because_of``, null where a source is silent."""
    pivoted = candidates.groupBy("user_id").pivot("source", list(FUSED))
    return pivoted.agg(F.first("items").alias("items"), F.first("because_of").alias("because_of"))


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
    """What a task needs to merge candidates: the compiled rules and the weights of the sources in ``FUSED``."""

    rules: Context
    as_of: datetime
    weights: tuple[float, ...]
    rank_constant: int
    n_seen: int


def build_night(inputs: Mapping, as_of: datetime, wanted: Slates) -> Night:
    tables = (inputs[name] for name in ("rules", "items", "item_dictionary", "item_factors"))
    return Night(
        rules=rules_tonight(*tables, as_of, wanted.n_items),
        as_of=as_of,
        weights=tuple(getattr(wanted, f"weight_{source}") for source in FUSED),
        rank_constant=wanted.rank_constant,
        n_seen=wanted.n_seen,
    )


def merge_block(batch: pa.RecordBatch, night: Night) -> pa.RecordBatch:
    schema = arrow_schema(SLATES)
    rows = [merge_user(batch, k, night) for k in range(batch.num_rows)]
    columns = list(zip(*rows, strict=True)) if rows else [[] for _ in schema]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema.names)


def merge_user(batch: pa.RecordBatch, k: int, night: Night) -> tuple:
    """One row of slates, out of row k of a batch."""
    user = read_user(batch, k, night.as_of)
    lists = [
        (code, weight, *allowed(batch, source, k, user, night.rules))
        for code, (source, weight) in enumerate(zip(FUSED, night.weights, strict=True))
    ]
    candidates = fuse(lists, night.rank_constant, sum(len(items) for _, _, items, _ in lists))
    items, scores, sources, because, propensities = apply_rules(*candidates, user, night.rules)
    names = [SOURCES[code] for code in sources]
    seen = user.seen[~comes_back(user, night.rules)][: night.n_seen]
    return user.user_id, items, scores.astype(np.float32), names, because, propensities, seen


def read_user(batch: pa.RecordBatch, k: int, as_of: datetime) -> User:
    return User(
        user_id=batch["user_id"][k].as_py(),
        seen=batch["seen"][k].values.to_numpy(),
        bought_days=days_since(batch["bought_us"][k].values.to_numpy(), as_of),
        country=batch["country"][k].as_py(),
    )


def allowed(batch: pa.RecordBatch, source: str, k: int, user: User, rules: Context) -> tuple[np.ndarray, np.ndarray]:
    """A source's items and reasons in rank order, without what the user may not be shown: ranks close up."""
    items, because = batch[f"{source}_items"][k], batch[f"{source}_because_of"][k]
    if not items.is_valid:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    listed, reasons = items.values.to_numpy(), because.values.to_numpy()
    keep = may_show(listed, user, rules)
    return listed[keep], reasons[keep]


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
