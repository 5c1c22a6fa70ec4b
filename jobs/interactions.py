"""What has each user dealt with, and how strongly?

One row per user and item: weights of events by kind, capped per user and day, halved every ``half_life_days`` whole
UTC days. Weights are integer micro-units, so sums are equal in any order. An item only disliked, returned or rated
low stays with weight 0: nobody is shown what they already know. Decay by age instead of Hu et al.'s constant weights.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from conf.settings import Settings
from jobs.rim.lineage import Job


def transform(inputs: Mapping, as_of: datetime, settings: Settings) -> dict[str, DataFrame]:
    """events, item_dictionary (Spark), event_weights (Arrow) → interactions."""
    wanted = settings.interactions
    weighted = weigh(inputs["events"], inputs["event_weights"])
    daily = daily_totals(weighted, wanted.max_per_user_item_day)
    capped = cap_user_days(daily, wanted.max_per_user_day)
    totals = decayed_totals(capped, as_of, wanted.half_life_days)
    rows = totals.join(F.broadcast(inputs["item_dictionary"]), "item_id", how="inner")
    return {"interactions": rows.drop("item_id")}


def weigh(events: DataFrame, weights: pa.Table) -> DataFrame:
    """Events of known users on items that carry a weight, brought together by user: all that follows is by user."""
    known = events.where(F.col("user_id").isNotNull() & F.col("item_id").isNotNull())
    weighted = known.withColumn("weight_micro", weight_of(weights.to_pylist()))
    named = weighted.where(F.col("weight_micro").isNotNull())
    return named.select("user_id", "item_id", "kind", "event_time", "weight_micro").repartition("user_id")


def weight_of(weights: list[dict]) -> Column:
    """What an event weighs; a weight for the very value wins over one for any value."""
    cases = F.when(F.lit(False), F.lit(None).cast("long"))
    for weight in sorted(weights, key=lambda weight: weight["value"] is None):
        event = (F.col("source") == weight["source"]) & (F.col("kind") == weight["kind"])
        if weight["value"] is not None:
            event &= F.col("value") == weight["value"]
        cases = cases.when(event, F.lit(weight["weight_micro"]).cast("long"))
    return cases


def daily_totals(weighted: DataFrame, max_events: int) -> DataFrame:
    """Per user, item, UTC day and kind; beyond ``max_events`` of them further events add nothing."""
    n_counted = F.least(F.count("*"), F.lit(max_events))
    return weighted.groupBy("user_id", "item_id", "kind", F.to_date("event_time").alias("day")).agg(
        floor_ratio(F.sum("weight_micro") * n_counted, F.count("*")).alias("day_micro"),
        F.count("*").alias("n_events"),
        F.min("event_time").alias("first_time"),
        F.max("event_time").alias("last_time"),
    )


def cap_user_days(daily: DataFrame, max_events: int) -> DataFrame:
    """Scale down the days on which a user has more than ``max_events`` events: bots and resellers."""
    n_day = F.sum("n_events").over(Window.partitionBy("user_id", "day"))
    return daily.withColumn(
        "day_micro", floor_ratio(F.col("day_micro") * max_events, F.greatest(n_day, F.lit(max_events)))
    )


def decayed_totals(capped: DataFrame, as_of: datetime, half_life_days: int) -> DataFrame:
    """One row per user and item; a day's weight halves every ``half_life_days`` days before the last full day."""
    newest = (as_of - timedelta(microseconds=1)).date()
    bought = F.col("kind") == "purchase"
    decay = F.pow(F.lit(0.5), F.datediff(F.lit(newest), F.col("day")) / F.lit(half_life_days))
    return capped.groupBy("user_id", "item_id").agg(
        F.greatest(F.sum(F.round(F.col("day_micro") * decay).cast("long")), F.lit(0)).alias("weight_micro"),
        F.sum("n_events").cast("int").alias("n_events"),
        F.sum(F.when(bought, F.col("n_events")).otherwise(0)).cast("int").alias("n_purchases"),
        F.min("first_time").alias("first_time"),
        F.max("last_time").alias("last_time"),
        F.max(F.when(bought, F.col("last_time"))).alias("last_purchase_time"),
    )


def floor_ratio(numerator: Column, denominator: Column) -> Column:
    """Integer division that rounds towards minus infinity, so that equal inputs give equal micro-units."""
    return F.floor(numerator / denominator).cast("long")


JOB = Job(
    name="interactions",
    inputs=("events", "event_weights", "item_dictionary"),
    outputs=("interactions",),
    settings=("interactions",),
    engine="spark",
    transform=transform,
    arrow_inputs=("event_weights",),
    window=lambda settings: timedelta(days=settings.interactions.window_days),
)
