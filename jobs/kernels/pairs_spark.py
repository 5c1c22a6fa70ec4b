"""Which items share contributors, by Spark SQL: for more contributions than memory holds. As ``pairs`` counts them."""

from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from conf.settings import Cooccurrence
from jobs.kernels.contributions import BOUGHT, VIEWED
from schemas.tables import NEIGHBOR_KINDS, NO_SIGN_OF_LIKING


def count_in_spark(
    events: DataFrame, interactions: DataFrame, dictionary: DataFrame, wanted: Cooccurrence
) -> DataFrame:
    """Rows of item_neighbors."""
    events = events.join(F.broadcast(dictionary), "item_id", how="inner")
    contributions = liked(interactions).unionByName(visits(events)).unionByName(baskets(events))
    kept = newest(contributions, wanted.max_items).persist()
    parts = [
        neighbors(kept.where(F.col("kind") == code), wanted).withColumn("kind", F.lit(kind))
        for code, kind in enumerate(NEIGHBOR_KINDS)
    ]
    return reduce(DataFrame.unionByName, parts)


def liked(interactions: DataFrame) -> DataFrame:
    """Known users with what they like."""
    return numbered(interactions.where("weight_micro > 0"), F.col("user_id"), VIEWED)


def visits(events: DataFrame) -> DataFrame:
    """Anonymous sessions with what they touched."""
    anonymous = events.where(F.col("user_id").isNull() & ~F.col("kind").isin(*NO_SIGN_OF_LIKING))
    return numbered(latest(anonymous, F.col("session_id")), F.col("contributor"), VIEWED)


def baskets(events: DataFrame) -> DataFrame:
    """Orders with what was bought in them; a purchase without an order belongs to its session's."""
    bought = events.where(F.col("kind") == "purchase")
    return numbered(latest(bought, F.coalesce("basket_id", "session_id")), F.col("contributor"), BOUGHT)


def latest(events: DataFrame, contributor: Column) -> DataFrame:
    return (
        events.where(contributor.isNotNull())
        .groupBy(contributor.alias("contributor"), "item_idx")
        .agg(F.max("event_time").alias("last_time"))
    )


def numbered(rows: DataFrame, contributor: Column, kind: int) -> DataFrame:
    """21 bytes a contribution: of ten million contributors two share a 64-bit hash once in 400,000 nights."""
    return rows.select(
        F.xxhash64(contributor).alias("contributor"),
        F.lit(kind).cast("byte").alias("kind"),
        "item_idx",
        F.unix_micros("last_time").alias("last_us"),
    )


def newest(contributions: DataFrame, max_items: int) -> DataFrame:
    """At most ``max_items`` of each contributor."""
    order = Window.partitionBy("contributor", "kind").orderBy(F.desc("last_us"), "item_idx")
    kept = contributions.withColumn("position", F.row_number().over(order)).where(F.col("position") <= max_items)
    return kept.select("contributor", "kind", "item_idx")


def neighbors(contributions: DataFrame, wanted) -> DataFrame:
    """Counted pairs, scored, mirrored and ranked: the ``n_neighbors`` best of each item.

    Ties: score descending, then neighbor_idx ascending.
    """
    counts = contributions.groupBy("item_idx").agg(F.count("*").alias("n_item"))
    n = contributions.select(F.countDistinct("contributor").alias("n"))
    pairs = count_pairs(contributions).where(F.col("n_pair") >= wanted.min_pair)
    scored = score_pairs(mirrored(pairs), counts, n, wanted.shrink)
    order = Window.partitionBy("item_idx").orderBy(F.desc("score"), "neighbor_idx")
    ranked = scored.withColumn("score", F.col(wanted.score)).withColumn("rank", F.row_number().over(order))
    return ranked.where(F.col("rank") <= wanted.n_neighbors).drop("n_item", "n_neighbor", "n", "cosine")


def count_pairs(contributions: DataFrame) -> DataFrame:
    """Each unordered pair of a contributor once."""
    left = contributions.select("contributor", F.col("item_idx").alias("low"))
    right = contributions.select("contributor", F.col("item_idx").alias("high"))
    both = left.join(right, "contributor", how="inner").where(F.col("low") < F.col("high"))
    return both.groupBy("low", "high").agg(F.count("*").alias("n_pair"))


def mirrored(pairs: DataFrame) -> DataFrame:
    there = pairs.select(F.col("low").alias("item_idx"), F.col("high").alias("neighbor_idx"), "n_pair")
    back = pairs.select(F.col("high").alias("item_idx"), F.col("low").alias("neighbor_idx"), "n_pair")
    return there.unionByName(back)


def score_pairs(pairs: DataFrame, counts: DataFrame, n: DataFrame, shrink: float) -> DataFrame:
    """Add cosine (shrunk), lift and llr."""
    n_neighbor = counts.select(F.col("item_idx").alias("neighbor_idx"), F.col("n_item").alias("n_neighbor"))
    with_counts = (
        pairs.join(F.broadcast(counts), "item_idx", how="inner")
        .join(F.broadcast(n_neighbor), "neighbor_idx", how="inner")
        .crossJoin(F.broadcast(n))
    )
    pair, item, other, total = (F.col(name).cast("double") for name in ("n_pair", "n_item", "n_neighbor", "n"))
    return (
        with_counts.withColumn("cosine", pair / (F.sqrt(item * other) + shrink))
        .withColumn("lift", pair * total / (item * other))
        .withColumn("llr", log_likelihood_ratio(pair, item, other, total))
    )


def log_likelihood_ratio(pair: Column, item: Column, other: Column, total: Column) -> Column:
    """2 · Σ observed · ln(observed / expected) over the four cells of the pair (Dunning 1993), at least 0."""
    cells = (
        (pair, item * other),
        (item - pair, item * (total - other)),
        (other - pair, (total - item) * other),
        (total - item - other + pair, (total - item) * (total - other)),
    )
    both, left, right, neither = (F.when(o > 0, o * F.log(o * total / e)).otherwise(0.0) for o, e in cells)
    return F.greatest(2 * (both + (left + right) + neither), F.lit(0.0))  # in this order it is equal in both directions
