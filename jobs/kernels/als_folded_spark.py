"""As ``als_folded``, in Spark's tasks: for more events than memory holds as bare cells, and on clusters."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from threadpoolctl import threadpool_limits

from jobs.kernels.als_folded import USERS_AT_ONCE, against, fitted_items
from jobs.kernels.recipe.grid import Setting
from jobs.kernels.recipe.past import Past
from jobs.kernels.recipe.sources import ByFactors
from jobs.kernels.recipe.stored import vectors
from jobs.kernels.shared_spark import share
from jobs.kernels.weighing import confidence, liked_cells
from schemas.arrow import arrow_schema
from schemas.spark import spark_schema
from schemas.tables import USER_FACTORS


def folded_in_spark(
    chosen: Mapping[str, Setting],
    past: Past,
    in_spark: Callable[[str], DataFrame],
    weights: pa.Table,
    unseen: pa.Table,
    item_idx: np.ndarray,
) -> tuple[dict[str, ByFactors], DataFrame | None]:
    """``als_folded.fitted_items``, and user_factors of all users; as ``als_folded.crowd_of`` has its arguments."""
    fitted = fitted_items(chosen, past)
    if not fitted:
        return {}, None
    cells = liked_cells(in_spark("events"), in_spark("item_dictionary"), weights, unseen)
    columns = [confidence(past.now, **one.options).cast("float").alias(name) for name, one in fitted.items()]
    rows = F.collect_list(F.struct("item_idx", *columns)).alias("cells")
    lists = [F.col(f"cells.{name}").alias(name) for name in ("item_idx", *fitted)]
    people = cells.groupBy("user_id").agg(rows).select("user_id", *lists)
    known = Items(item_idx, {name: source.items for name, source in fitted.items()})
    shared = share(people.sparkSession.sparkContext, known)

    def solve(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for start in range(0, batch.num_rows, USERS_AT_ONCE):
                yield from solved(batch.slice(start, USERS_AT_ONCE), shared.value)

    return fitted, people.mapInArrow(solve, spark_schema(USER_FACTORS))


@dataclass(frozen=True)
class Items:
    """Vectors of items by source, ``(n_items, factors)``, at the positions of ``item_idx``, which rises."""

    item_idx: np.ndarray
    vectors: Mapping[str, np.ndarray]


def solved(block: pa.RecordBatch, known: Items) -> Iterator[pa.RecordBatch]:
    """user_factors of a block of users, one batch a source."""
    user = np.repeat(np.arange(block.num_rows), pc.list_value_length(block["item_idx"]).to_numpy())
    item_idx = block["item_idx"].flatten().to_numpy()
    place = np.minimum(np.searchsorted(known.item_idx, item_idx), len(known.item_idx) - 1)
    met = known.item_idx[place] == item_idx
    user_ids = block["user_id"].to_numpy(zero_copy_only=False)
    for name, items in known.vectors.items():
        values = block[name].flatten().to_numpy()[met]
        cells = sp.csr_matrix((values, (user[met], place[met])), (block.num_rows, len(items)))
        with threadpool_limits(1, "blas"):
            rows = vectors("user_id", user_ids, name, against(items, cells))
        yield from rows.select(arrow_schema(USER_FACTORS).names).cast(arrow_schema(USER_FACTORS)).to_batches()
