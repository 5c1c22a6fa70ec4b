"""Matrix factorisation by Spark MLlib, for matrices that no one machine should hold.

Dozens of times the price of ``als`` on one machine, so only where that one holds too few people to learn from.
Confidences are those of ``recipe.sources.fit_als``; MLlib multiplies the ridge by the number of a row's cells, so it
gets its share of the mean.
"""

from collections.abc import Callable, Mapping
from functools import reduce

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.kernels.recipe.grid import Setting
from jobs.kernels.recipe.sources import ALS_ITERATIONS, ALS_RIDGE, SEED, ByFactors, fit_als
from jobs.kernels.weighing import confidence, liked_cells

LEAST = 1e-6  # a rating of 0 is no sign of liking to MLlib, and one of 1 is twice the confidence
PLACES = 33  # bits of a row's place in its partition, in monotonically_increasing_id


def factorised(
    chosen: Mapping[str, Setting],
    in_spark: Callable[[str], DataFrame],
    weights: pa.Table,
    unseen: pa.Table,
    now_s: float,
    item_idx: np.ndarray,
) -> tuple[dict[str, ByFactors], DataFrame | None]:
    """Each chosen source that factorises: with vectors of items alone, at the codes of ``item_idx``; and user_factors.

    ``unseen`` says from when on the events of some users are held back. Items of nobody who was read stay at nothing.
    """
    events, dictionary = in_spark("events"), in_spark("item_dictionary")
    cells, found, parts = liked_cells(events, dictionary, weights, unseen).persist(), {}, []
    for name, setting in chosen.items():
        if setting.fit is fit_als:
            users, items = fit_als_mllib(cells, now_s, **setting.options)
            vectors = np.zeros((len(item_idx), setting.options["factors"]), np.float32)
            known = np.isin(item_idx, items["item_idx"])
            place = np.searchsorted(items["item_idx"].to_numpy(), item_idx[known])
            vectors[known] = items["vector"].combine_chunks().flatten().to_numpy().reshape(-1, vectors.shape[1])[place]
            nobody = np.zeros((0, vectors.shape[1]), np.float32)
            found[name] = ByFactors(nobody, vectors, {"days": None} | dict(setting.options))
            parts.append(users.withColumn("source", F.lit(name)))
    return found, reduce(DataFrame.unionByName, parts) if parts else None


def fit_als_mllib(
    cells: DataFrame, now_s: float, factors: int, alpha: float, days: float | None = None
) -> tuple[DataFrame, pa.Table]:
    """``cells`` as of ``liked_cells``. Returns (user_id, vector) of all users, by Spark, and (item_idx, vector) of all
    items, by rising item_idx.
    """
    from pyspark.ml.recommendation import ALS

    users = numbered(cells.select("user_id").distinct())
    rating = F.greatest(confidence(now_s, alpha, days) - 1, F.lit(LEAST)).cast("float")
    rated = (
        cells.join(users, "user_id").select("user", F.col("item_idx").alias("item"), rating.alias("rating")).persist()
    )
    n_cells, n_rows = rated.count(), users.count() + rated.select("item").distinct().count()
    learner = ALS(
        rank=factors,
        maxIter=ALS_ITERATIONS,
        regParam=ALS_RIDGE * n_rows / (2 * n_cells),
        implicitPrefs=True,
        alpha=1.0,
        seed=SEED,
        userCol="user",
        itemCol="item",
        ratingCol="rating",
    )
    model = learner.fit(rated)
    rated.unpersist()
    vectors = model.userFactors.withColumnRenamed("id", "user").join(users, "user")
    return vectors.select("user_id", F.col("features").alias("vector")), by_item(model.itemFactors.toArrow())


def numbered(users: DataFrame) -> DataFrame:
    """Each user_id with a number ``user`` from 0 on, which MLlib wants; the same for the same users."""
    placed = users.repartition("user_id").sortWithinPartitions("user_id")
    placed = placed.withColumn("place", F.monotonically_increasing_id()).persist()
    part = F.shiftright("place", PLACES)
    counts = placed.groupBy(part.alias("part")).agg(F.count("*").alias("n"))
    before = F.sum("n").over(Window.orderBy("part").rowsBetween(Window.unboundedPreceding, -1))
    offsets = F.broadcast(counts.select("part", F.coalesce(before, F.lit(0)).alias("offset")))
    number = F.col("offset") + F.col("place").bitwiseAND((1 << PLACES) - 1)
    return placed.withColumn("part", part).join(offsets, "part").select("user_id", number.cast("int").alias("user"))


def by_item(factors: pa.Table) -> pa.Table:
    """By rising item_idx."""
    order = np.argsort(factors["id"].to_numpy())
    return pa.table({"item_idx": factors["id"].take(order), "vector": factors["features"].take(order)})
