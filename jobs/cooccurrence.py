"""Which items go together? Viewed together: by the same person or anonymous visit. Bought together: in one basket.

Each contributor counts a pair once, with at most ``max_items`` of its newest items, so neither a bot nor a wholesaler
decides. Scores are functions of four counts: n_pair, n_item, n_neighbor and n (contributors in all). As many as memory
holds, and ``max_local_rows`` at most, are counted by a sparse product in this process, more by Spark SQL, to equal
tables.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import reduce

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from conf.settings import Settings
from jobs.kernels.grouping import begins_of, user_order
from jobs.kernels.pairs import top_pairs
from jobs.rim.lineage import Job
from jobs.rim.memory import kernel_bytes
from schemas.tables import NEIGHBOR_KINDS, NO_SIGN_OF_LIKING

ROW_BYTES = 60  # of a contribution that is counted in this process, on its way here and while it is counted
VIEWED, BOUGHT = (NEIGHBOR_KINDS.index(kind) for kind in ("viewed_together", "bought_together"))


def transform(inputs: Mapping[str, DataFrame], as_of: datetime, settings: Settings) -> dict[str, DataFrame]:
    """events, interactions, item_dictionary → item_neighbors."""
    wanted = settings.cooccurrence
    events = inputs["events"].join(F.broadcast(inputs["item_dictionary"]), "item_id", how="inner")
    known = liked(inputs["interactions"])
    others = visits(events).unionByName(baskets(events)).persist()
    n_rows = known.count() + others.count()
    chosen = engine(n_rows, settings)
    contributions = known.unionByName(others)
    local = chosen["engine"] == "sparse"
    rows = count_locally(contributions, wanted) if local else count_in_spark(contributions, wanted)
    return {"item_neighbors": rows, "measured": {"n_contributions": n_rows} | chosen}


def engine(n_rows: int, settings: Settings) -> dict[str, str | int]:
    """Which engine counts so many contributions, why, and what the sparse one would take."""
    needed, room = n_rows * ROW_BYTES, kernel_bytes(settings.resources, beside_spark=True)
    if n_rows > settings.cooccurrence.max_local_rows:
        chosen, why = "spark", "more rows than cooccurrence.max_local_rows"
    elif needed > room:
        chosen, why = "spark", f"{room >> 20:,} MiB are there"
    else:
        chosen, why = "sparse", "it fits memory"
    return {"engine": chosen, "why": why, "estimate_mb": needed >> 20}


def count_locally(contributions: DataFrame, wanted) -> pa.Table:
    """item_neighbors by sparse products, one kind after another: of each no more is held than must be."""
    parts = []
    for code, kind in enumerate(NEIGHBOR_KINDS):
        rows = contributions.where(F.col("kind") == code).drop("kind")
        baskets = brought(rows, wanted.max_items)
        pairs = top_pairs(*baskets, wanted.score, wanted.shrink, wanted.min_pair, wanted.n_neighbors)
        parts.append(pa.table(pairs | {"kind": pa.repeat(kind, len(pairs["rank"]))}))
    return pa.concat_tables(parts)


def brought(rows: DataFrame, max_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Dense codes of contributors and item_idx, both int32, of the newest items of each."""
    contributor, item, last_us = columns_of(rows.toArrow())
    kept = newest_of(contributor, item, last_us, max_items)
    return contributor[kept], item[kept]


def columns_of(rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Copies: each batch came in one piece, and all of it stays while any column is looked at."""
    hashes = pa.array(np.array(rows["contributor"], np.int64))  # in one: a dictionary a batch would fill all memory
    columns = np.array(rows["item_idx"], np.int32), np.array(rows["last_us"], np.int64)
    return hashes.dictionary_encode().indices.to_numpy(), *columns


def newest_of(contributor: np.ndarray, item: np.ndarray, last_us: np.ndarray, max_items: int) -> np.ndarray | slice:
    """Which rows are among the ``max_items`` newest of their contributor, of equals the lowest items."""
    n = int(contributor.max(initial=-1)) + 1
    crowded = np.bincount(contributor, minlength=n) > max_items
    if not crowded.any():
        return slice(None)
    kept = ~crowded[contributor]
    many = np.flatnonzero(~kept)
    order = user_order(contributor[many], item[many], -last_us[many].astype(np.float64), n)
    many = many if order is None else many[order]
    place = np.arange(len(many)) - begins_of(contributor[many], n)[contributor[many]]
    kept[many[place < max_items]] = True
    return kept


def count_in_spark(contributions: DataFrame, wanted) -> DataFrame:
    """item_neighbors by Spark SQL."""
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


JOB = Job(
    name="cooccurrence",
    inputs=("events", "interactions", "item_dictionary"),
    outputs=("item_neighbors",),
    settings=("cooccurrence", "interactions"),
    engine="spark",
    transform=transform,
    window=lambda settings: timedelta(days=settings.interactions.window_days),
)
