"""What events weigh, as Spark columns."""

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def weigh(events: DataFrame, weights: pa.Table, dictionary: DataFrame) -> DataFrame:
    """Events of known users on items that carry a weight, brought together by user: all that follows is by user."""
    known = events.where(F.col("user_id").isNotNull() & F.col("item_id").isNotNull())
    weighted = known.withColumn("weight_micro", weight_of(weights.to_pylist())).where("weight_micro is not null")
    indexed = weighted.join(F.broadcast(dictionary), "item_id", how="inner")
    return indexed.select("user_id", "item_idx", "kind", "event_time", "weight_micro").repartition("user_id")


def weight_of(weights: list[dict]) -> Column:
    """What an event weighs; a weight for the very value wins over one for any value."""
    cases = F.when(F.lit(False), F.lit(None).cast("long"))
    for weight in sorted(weights, key=lambda weight: weight["value"] is None):
        event = (F.col("source") == weight["source"]) & (F.col("kind") == weight["kind"])
        if weight["value"] is not None:
            event &= F.col("value") == weight["value"]
        cases = cases.when(event, F.lit(weight["weight_micro"]).cast("long"))
    return cases
