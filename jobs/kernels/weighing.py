"""What events weigh, as Spark columns."""

from datetime import timedelta

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

DAY_US = timedelta(days=1) // timedelta(microseconds=1)


def weigh(events: DataFrame, weights: pa.Table, dictionary: DataFrame) -> DataFrame:
    """Events of known users on items that carry a weight, brought together by user: all that follows is by user."""
    known = events.where(F.col("user_id").isNotNull() & F.col("item_id").isNotNull())
    weighted = known.withColumn("weight_micro", weight_of(weights.to_pylist())).where("weight_micro is not null")
    indexed = weighted.join(F.broadcast(dictionary), "item_id", how="inner")
    return indexed.select("user_id", "item_idx", "kind", "event_time", "weight_micro").repartition("user_id")


def liked_cells(events: DataFrame, dictionary: DataFrame, weights: pa.Table, unseen: pa.Table) -> DataFrame:
    """user_id, item_idx, last_time, n_events: one row a pair of positive events.

    ``unseen`` says from when on, ``from_time``, the events of some users are held back.
    """
    until = F.broadcast(events.sparkSession.createDataFrame(unseen))
    seen = events.join(until, "user_id", "left").where("from_time is null or event_time < from_time")
    liked = weigh(seen, weights, dictionary).where("weight_micro > 0")
    return liked.groupBy("user_id", "item_idx").agg(
        F.max("event_time").alias("last_time"), F.count("*").alias("n_events")
    )


def confidence(now_s: float, alpha: float, days: float | None = None) -> Column:
    """Of one of ``liked_cells``, as ``recipe.sources.fit_als`` has it."""
    if days is None:
        return F.lit(float(alpha))
    age_us = F.lit(round(now_s * 1e6)) - F.unix_micros("last_time")
    return 1 + alpha * F.pow(F.lit(2.0), -age_us / (days * DAY_US)) * F.log2(1 + F.col("n_events"))


def weight_of(weights: list[dict]) -> Column:
    """What an event weighs; a weight for the very value wins over one for any value."""
    cases = F.when(F.lit(False), F.lit(None).cast("long"))
    for weight in sorted(weights, key=lambda weight: weight["value"] is None):
        event = (F.col("source") == weight["source"]) & (F.col("kind") == weight["kind"])
        if weight["value"] is not None:
            event &= F.col("value") == weight["value"]
        cases = cases.when(event, F.lit(weight["weight_micro"]).cast("long"))
    return cases
