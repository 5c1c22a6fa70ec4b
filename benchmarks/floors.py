"""What the steps of a night could not be done without, measured on that night's own tables.

usage: python -m benchmarks.floors AS_OF SNAPSHOT     prints JSON: of each step, of each floor its seconds

- ``in_out``: reading the columns a step reads of its tables and writing its tables, by pyarrow with all cores.
- ``als``: implicit's ALS, all cores, on the night's cells with the recipe's own options, once for each ALS in it.
- ``product``: users times items by BLAS, all cores, in those ALS' factors; timed on ``TIMED_USERS``, told for all.

None is a bound in the strict sense: what a night reads may be kept in memory, and products may be cut short.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.sparse as sp

from conf.settings import load_settings
from jobs.kernels.recipe.sources import ALS_ITERATIONS, ALS_RIDGE
from jobs.rim.arguments import moment
from jobs.rim.lake import ROW_GROUP_ROWS, Lake
from jobs.rim.lineage import LIVE_RECIPE, RAW, Job, Lineage, job
from jobs.rim.runner import EVENT_COLUMNS
from schemas.tables import TABLES

STEPS = ("interactions", "cooccurrence", "cold", "recipe", "evaluate", "fit", "candidates", "slates")
READ = {  # of events, where it is not what the runner gives to a local job
    "interactions": ("user_id", "item_id", "kind", "event_time", "source", "value"),
    "cooccurrence": ("user_id", "session_id", "basket_id", "item_id", "kind", "event_time"),
}
ROWS_AT_ONCE = 128_000
SCRATCH = "floor.parquet"
TIMED_USERS, USERS_AT_ONCE = 50_000, 2_048
LIKED = pc.field("weight_micro") > 0


def main(arguments: list[str]) -> int:
    lineage = Lineage(Lake.open(load_settings().lake), load_settings(), moment(arguments[0]), int(arguments[1]))
    found = {name: {"in_out": in_out(job(name), lineage)} for name in STEPS}
    factors = als_of(lineage)
    found["fit"]["als"] = sum(als_seconds(liked(lineage), options) for options in factors)
    found["candidates"]["product"] = sum(product_seconds(lineage, options["factors"]) for options in factors)
    found["candidates"]["als_sources"] = len(factors)
    print(json.dumps({name: {key: round(value, 2) for key, value in one.items()} for name, one in found.items()}))
    return 0


def in_out(of: Job, lineage: Lineage) -> float:
    """Seconds to read a step's input files and to write its output files again."""
    began = time.perf_counter()
    for table in of.inputs:
        for path in paths(lineage, table, of):
            for _ in pq.ParquetFile(path).iter_batches(ROWS_AT_ONCE, columns=columns(table, of)):
                pass
    for table in of.outputs:
        for path in paths(lineage, table, of):
            copied(path)
    return time.perf_counter() - began


def paths(lineage: Lineage, table: str, of: Job) -> list[str]:
    """Files a step reads or writes, those of raw tables of all batches."""
    if table in (LIVE_RECIPE, "event_weights"):
        return []
    if table == "events":
        files = lineage.lake.event_files(lineage.snapshot, lineage.window_start(of), lineage.moment(of))
    elif table in RAW:
        files = [file for batch in lineage.batches for file in batch.files.get(table, ())]
    else:
        files = lineage.resolve(table).files[table]
    return [lineage.lake.store.path(file.path) for file in files]


def columns(table: str, of: Job) -> list[str]:
    return list(READ.get(of.name, EVENT_COLUMNS)) if table == "events" else TABLES[table].names


def copied(path: str) -> None:
    """Written once more, as the lake writes."""
    source, target = pq.ParquetFile(path), Path(path).with_name(SCRATCH)
    with pq.ParquetWriter(target, source.schema_arrow, compression="zstd") as sink:
        for batch in source.iter_batches(ROW_GROUP_ROWS):
            sink.write_batch(batch)
    target.unlink()


def als_of(lineage: Lineage) -> list[dict]:
    """Options of each ALS in the night's recipe."""
    settings = json.loads(lineage.read("recipe")["settings"].to_pylist()[0])
    return [one["options"] for one in settings.values() if one["fit"] == "fit_als"]


def liked(lineage: Lineage) -> sp.csr_matrix:
    """Users times items, 1 where liked; users are coded by a stream over the table, which holds no id twice."""
    users = pc.unique(column(lineage, "interactions", "user_id"))
    parts = []
    for path in paths(lineage, "interactions", job("interactions")):
        rows = pq.read_table(path, columns=["user_id", "item_idx"], filters=LIKED)
        parts.append((pc.index_in(rows["user_id"], users).to_numpy(), rows["item_idx"].to_numpy()))
    user, item = (np.concatenate(part) for part in zip(*parts, strict=True))
    shape = (len(users), lineage.batches[-1].n_items)
    return sp.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape)


def column(lineage: Lineage, table: str, name: str) -> pa.ChunkedArray:
    """Distinct values, file by file."""
    parts = [
        pc.unique(pq.read_table(path, columns=[name])[name]) for path in paths(lineage, table, job("interactions"))
    ]
    return pa.chunked_array(parts)


def als_seconds(cells: sp.csr_matrix, options: dict) -> float:
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=options["factors"], regularization=ALS_RIDGE, iterations=ALS_ITERATIONS, random_state=0
    )
    began = time.perf_counter()
    model.fit(cells, show_progress=False)
    return time.perf_counter() - began


def product_seconds(lineage: Lineage, factors: int) -> float:
    """For everybody who has slates."""
    from threadpoolctl import threadpool_limits

    n_users, n_items = lineage.find("slates").rows("slates"), lineage.batches[-1].n_items
    random, timed = np.random.default_rng(0), min(n_users, TIMED_USERS)
    users = random.standard_normal((timed, factors), np.float32)
    items = random.standard_normal((factors, n_items), np.float32)
    scores = np.empty((USERS_AT_ONCE, n_items), np.float32)
    began = time.perf_counter()
    with threadpool_limits(os.cpu_count(), "blas"):
        for start in range(0, timed, USERS_AT_ONCE):
            block = users[start : start + USERS_AT_ONCE]
            np.matmul(block, items, out=scores[: len(block)])
    return (time.perf_counter() - began) * n_users / max(timed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
