"""Which hidden tastes explain what people did? Implicit-feedback matrix factorisation by alternating least squares.

Hu, Koren, Volinsky 2008, fitted by ``implicit`` in this process: the confidence of a cell is 1 + alpha · weight, and 1
where there is none. The seed is a setting, and users enter in an order of content: equal inputs give equal vectors.
"""

import os
from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conf.settings import Als, Settings
from jobs.rim.lineage import Job
from schemas.arrow import arrow_schema
from schemas.tables import ITEM_FACTORS, USER_FACTORS

MICRO = 1e-6


def transform(inputs: Mapping[str, pa.Table], as_of: datetime, settings: Settings) -> dict[str, pa.Table]:
    """interactions → user_factors, item_factors; both empty when nobody likes anything."""
    liked = inputs["interactions"].filter(pc.greater(inputs["interactions"]["weight_micro"], 0))
    if liked.num_rows == 0:
        return {table.name: arrow_schema(table).empty_table() for table in (USER_FACTORS, ITEM_FACTORS)}
    users, rows = np.unique(liked["user_id"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    items, columns = np.unique(liked["item_idx"].to_numpy(), return_inverse=True)
    micro = liked["weight_micro"].to_numpy()
    place = np.argsort(content_order(rows, liked["item_idx"].to_numpy(), micro, len(users)))
    user_factors, item_factors = fit(place[rows], columns, micro * MICRO, (len(users), len(items)), settings.als)
    return {
        "user_factors": pa.table({"user_id": users, "vector": vectors(user_factors[place])}),
        "item_factors": pa.table({"item_idx": items, "vector": vectors(item_factors)}),
        "measured": {"n_users": len(users), "n_items": len(items), "n_cells": liked.num_rows},
    }


def content_order(rows: np.ndarray, items: np.ndarray, micro: np.ndarray, n_users: int) -> np.ndarray:
    """Users by a hash of what they like, ``(n_users,)``.

    Sums round by their order: in the order of pseudonyms, another secret would give slightly other vectors.
    """
    mixed = (items.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * (micro.astype(np.uint64) * np.uint64(2) + np.uint64(1))
    digest = np.zeros(n_users, np.uint64)
    np.add.at(digest, rows, mixed)
    return np.argsort(digest, kind="stable")


def fit(rows, columns, weights, shape: tuple[int, int], wanted: Als) -> tuple[np.ndarray, np.ndarray]:
    """Factors ``(n_users, factors)`` and ``(n_items, factors)``, float32."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # implicit threads over rows: BLAS threads below it only fight
    import scipy.sparse as sp
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    confidence = (1.0 + wanted.alpha * weights).astype(np.float32)
    user_items = sp.csr_matrix((confidence, (rows, columns)), shape)
    user_items.sort_indices()
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=min(wanted.factors, *shape) if min(shape) > 1 else 1,
            regularization=wanted.regularization,
            alpha=1.0,  # in the cells already; implicit's own would make a light cell count less than an empty one
            iterations=wanted.iterations,
            random_state=wanted.seed,
        )
        # Starting from zero, users' vectors do not depend on the users' order, which is their pseudonyms'.
        model.user_factors = np.zeros((shape[0], model.factors), np.float32)
        model.fit(user_items, show_progress=False)
    return model.user_factors, model.item_factors


def vectors(factors: np.ndarray) -> pa.ListArray:
    """A matrix as one list a row."""
    n, width = factors.shape
    offsets = np.arange(0, (n + 1) * width, width, dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, factors.astype(np.float32).ravel())


JOB = Job(
    name="als",
    inputs=("interactions",),
    outputs=("user_factors", "item_factors"),
    settings=("als",),
    engine="local",
    transform=transform,
)
