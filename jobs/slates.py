"""Which list does each user get tonight? All sources' candidates fused by reciprocal rank, unavailable items out.

Every item keeps the source that spoke for it most and that source's reason, one of the user's own items. Beside the
list stand the items the user already has, newest first, which serving keeps out of any refill.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.settings import Settings
from jobs.kernels.fuse import fuse
from jobs.rim.lineage import Job
from schemas.arrow import arrow_schema
from schemas.spark import spark_schema
from schemas.tables import SLATES, SOURCES

FUSED = SOURCES[:3]  # trending is added at request time, by the hourly run's own lists


def transform(inputs: Mapping, as_of: datetime, settings: Settings) -> dict[str, DataFrame]:
    """candidates, interactions (Spark); items, item_dictionary (Arrow) → slates."""
    proposals = by_user(inputs["candidates"])
    people = proposals.join(seen_items(inputs["interactions"], settings.slates.n_seen), "user_id", how="inner")
    blocked = unavailable(inputs["items"], inputs["item_dictionary"])
    wanted = settings.slates
    weights = [getattr(wanted, f"weight_{source}") for source in FUSED]

    def merge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield merge_block(batch, weights, blocked, wanted.rank_constant, wanted.n_items)

    return {"slates": people.mapInArrow(merge, spark_schema(SLATES)).where(F.size("items") > 0)}


def by_user(candidates: DataFrame) -> DataFrame:
    """One row per user with ``<source>_items`` and ``<source>_because_of``, null where a source is silent."""
    pivoted = candidates.groupBy("user_id").pivot("source", list(FUSED))
    return pivoted.agg(F.first("items").alias("items"), F.first("because_of").alias("because_of"))


def seen_items(interactions: DataFrame, n: int) -> DataFrame:
    """The n items a user dealt with last, newest first."""
    cells = F.sort_array(F.collect_list(F.struct("last_time", "item_idx")), asc=False)
    return interactions.groupBy("user_id").agg(F.slice(cells["item_idx"], 1, n).alias("seen"))


def unavailable(items: pa.Table, dictionary: pa.Table) -> np.ndarray:
    """item_idx of items that may not be recommended."""
    gone = items.filter(pa.compute.invert(items["available"])).select(["item_id"])
    return dictionary.join(gone, "item_id", join_type="left semi")["item_idx"].to_numpy()


def merge_block(
    batch: pa.RecordBatch, weights: list[float], blocked: np.ndarray, rank_constant: int, n: int
) -> pa.RecordBatch:
    rows = []
    for k in range(batch.num_rows):
        lists = [
            (code, weight, *allowed(batch, source, k, blocked))
            for code, (source, weight) in enumerate(zip(FUSED, weights, strict=True))
        ]
        items, scores, sources, because = fuse(lists, rank_constant, n)
        names = [FUSED[code] for code in sources]
        rows.append((batch["user_id"][k].as_py(), items, scores, names, because, batch["seen"][k].as_py()))
    schema = arrow_schema(SLATES)
    columns = list(zip(*rows, strict=True)) if rows else [[] for _ in schema]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema.names)


def allowed(batch: pa.RecordBatch, source: str, k: int, blocked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A source's items and reasons in rank order, without blocked ones."""
    items, because = batch[f"{source}_items"][k], batch[f"{source}_because_of"][k]
    if not items.is_valid:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    listed, reasons = items.values.to_numpy(), because.values.to_numpy()
    keep = ~np.isin(listed, blocked)
    return listed[keep], reasons[keep]


JOB = Job(
    name="slates",
    inputs=("candidates", "interactions", "items", "item_dictionary"),
    outputs=("slates",),
    settings=("slates",),
    engine="spark",
    transform=transform,
    arrow_inputs=("items", "item_dictionary"),
)
