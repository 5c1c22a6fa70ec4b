"""What others offer for the same work on the same matrix: implicit, bare BLAS, faiss where it is installed, MLlib.

Imports are made where they are used: the first call's seconds must not be an import's, so call ``warm_up`` before.
"""

import importlib.util
import warnings

import numpy as np
import pandas as pd
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from jobs.kernels.recipe.sources import ALS_ITERATIONS, ALS_RIDGE

USERS_AT_ONCE = 20_000
PRODUCT_USERS = 2_048
MLLIB_PARTITIONS = 8
FAISS = "faiss" if importlib.util.find_spec("faiss") else None


def warm_up() -> None:
    """Import what is timed, and run it once on next to nothing."""
    import implicit.cpu.als  # noqa: F401 - brings its BLAS: only what is loaded can be limited

    few = sp.csr_matrix(np.eye(4, dtype=np.float32))
    with threadpool_limits(1, "blas"):
        model = implicit_als(few, 2)
        implicit_recommend(model, few, 2)
        implicit_cosine(few, 2)
    if FAISS:
        faiss_best(model.user_factors, model.item_factors, 2)


def implicit_als(cells: sp.csr_matrix, factors: int):
    """The fitted model; all cores."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=factors, regularization=ALS_RIDGE, iterations=ALS_ITERATIONS, random_state=0
    )
    model.fit(cells, show_progress=False)
    return model


def implicit_recommend(model, cells: sp.csr_matrix, n: int) -> None:
    """The best of everybody, what they have left out; all cores."""
    for start in range(0, cells.shape[0], USERS_AT_ONCE):
        users = np.arange(start, min(start + USERS_AT_ONCE, cells.shape[0]))
        model.recommend(users, cells[users], N=n)


def implicit_cosine(cells: sp.csr_matrix, n: int) -> sp.csr_matrix:
    """Cosines of each item's nearest, ``(n_items, n_items)``; all cores."""
    from implicit.nearest_neighbours import CosineRecommender

    model = CosineRecommender(K=n)
    with warnings.catch_warnings():  # it converts within, and warns of its own conversion
        warnings.simplefilter("ignore")
        model.fit(cells, show_progress=False)
    return model.similarity


def product(users: np.ndarray, items: np.ndarray, threads: int) -> None:
    """Users times items, nothing kept: what every exact list of everybody's best costs at least."""
    scores = np.empty((PRODUCT_USERS, len(items)), np.float32)
    with threadpool_limits(threads, "blas"):
        for start in range(0, len(users), PRODUCT_USERS):
            block = users[start : start + PRODUCT_USERS]
            np.matmul(block, items.T, out=scores[: len(block)])


def faiss_best(users: np.ndarray, items: np.ndarray, n: int) -> None:
    """The best of everybody, what they have among them; all cores."""
    import faiss

    faiss.knn(users, items, min(n, len(items)), metric=faiss.METRIC_INNER_PRODUCT)


def mllib_frame(spark, cells: sp.csr_matrix):
    """The cells as a cached Spark frame, which is made before the clock runs."""
    coo = cells.tocoo()
    rows = pd.DataFrame({"user": coo.row, "item": coo.col, "rating": coo.data})
    frame = spark.createDataFrame(rows).repartition(MLLIB_PARTITIONS).cache()
    frame.count()
    return frame


def mllib_als(frame, factors: int):
    """Implicit-feedback ALS, fitted."""
    from pyspark.ml.recommendation import ALS

    als = ALS(rank=factors, maxIter=ALS_ITERATIONS, implicitPrefs=True, regParam=0.05, seed=0)
    return als.setUserCol("user").setItemCol("item").setRatingCol("rating").fit(frame)


def mllib_recommend(model, n: int) -> None:
    """The best of everybody, what they have among them."""
    model.recommendForAllUsers(n).selectExpr("sum(size(recommendations))").collect()
