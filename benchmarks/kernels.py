"""Ours beside the libraries' kernels on one matrix, in one run: the fit, everybody's lists, items that go together.

usage: python -m benchmarks.kernels [USERS ITEMS CELLS [REPEATS]]     (default 20000 5000 900000 1)

The matrix is random, with items' popularity by a power law and users' activity log-normal. What is ours is timed from
Parquet to Parquet, through the jobs' own transforms with a recipe of one source; the libraries' only the bare kernel.
Seconds are the wall's; ratios are of the medians. Writes ``.nightshelf/bench/kernels.json``.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from conf.rules import SHIPPED, load_rules
from conf.settings import load_settings
from deploy.embedded import house, java
from jobs import candidates, fit
from jobs.kernels.pairs import top_pairs
from jobs.kernels.recipe.choose import Choice
from jobs.kernels.recipe.grid import Setting
from jobs.kernels.recipe.recommend import Recipe
from jobs.kernels.recipe.sources import ALS_ITERATIONS, ALS_RIDGE, fit_als
from jobs.kernels.recipe.stored import to_row
from jobs.rim.runner import EVENT_COLUMNS
from jobs.rim.spark_session import spark_session
from schemas.arrow import arrow_schema
from schemas.spark import spark_schema
from schemas.tables import TABLES

FOLDER = house.STATE / "bench"
NIGHT = datetime(2026, 1, 31, tzinfo=UTC)
FACTORS, N_LISTED, N_NEIGHBORS = 64, 100, 100
DEFAULT = (20_000, 5_000, 900_000, 1)
SETTINGS = load_settings(fit={"probe_share": 0, "min_probes": 0}, candidates={"n_items": N_LISTED, "n_new": 0})
SPARK = [name for name in candidates.JOB.inputs if name not in candidates.JOB.arrow_inputs]
KIND = {"source": "bench", "kind": "view", "value": None}


def main(arguments: list[str]) -> int:
    n_users, n_items, n_cells, repeats = (*map(int, arguments), *DEFAULT[len(arguments) :])
    house.enter()
    os.environ["JAVA_HOME"] = str(java.find_java_home())
    FOLDER.mkdir(parents=True, exist_ok=True)
    cells = matrix(n_users, n_items, n_cells)
    sizes = {"users": n_users, "items": n_items, "cells": int(cells.nnz), "factors": FACTORS, "cores": os.cpu_count()}
    print(", ".join(f"{value:,} {name}" for name, value in sizes.items()), flush=True)
    seconds: dict[str, list[float]] = {}
    with threadpool_limits(1, "blas"), spark_session(load_settings(), "bench") as spark:
        for _ in range(repeats):
            once(cells, spark, lambda name, one: seconds.setdefault(name, []).append(one))
    report(seconds, sizes)
    return 0


def matrix(n_users: int, n_items: int, n_cells: int) -> sp.csr_matrix:
    """Binary, ``(n_users, n_items)``."""
    random = np.random.default_rng(0)
    activity = random.lognormal(0, 1.2, n_users)
    activity = np.maximum(1, activity / activity.sum() * n_cells).astype(int)
    popularity = np.cumsum(1 / np.arange(1, n_items + 1) ** 0.8)
    user = np.repeat(np.arange(n_users), activity)
    item = np.searchsorted(popularity / popularity[-1], random.random(len(user))).clip(0, n_items - 1)
    found = sp.csr_matrix((np.ones(len(user), np.float32), (user, item)), (n_users, n_items))
    found.data[:] = 1
    return found


def once(cells: sp.csr_matrix, spark, told: Callable[[str, float], None]) -> None:
    """Everything a single time, each of ours right after the library's."""
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.nearest_neighbours import CosineRecommender

    theirs = AlternatingLeastSquares(
        factors=FACTORS, regularization=ALS_RIDGE, iterations=ALS_ITERATIONS, random_state=0
    )
    with clock("implicit: ALS fit", told):
        theirs.fit(cells, show_progress=False)
    write(inputs(cells))
    with clock("ours: events to factors", told):
        made = fit.transform({name: read(name) for name in fit.JOB.inputs}, NIGHT, SETTINGS)
        write({name: made[name] for name in fit.JOB.outputs})
    with clock("implicit: recommend", told):
        for start in range(0, cells.shape[0], 20_000):
            users = np.arange(start, min(start + 20_000, cells.shape[0]))
            theirs.recommend(users, cells[users], N=N_LISTED)
    with clock("ours: factors to candidates", told):
        lists(spark)
    cosine = CosineRecommender(K=N_NEIGHBORS)
    with clock("implicit: cosine neighbors", told):
        cosine.fit(cells.tocsr(), show_progress=False)
    coo = cells.tocoo()
    with clock("ours: pairs by cosine", told):
        pairs = top_pairs(coo.row, coo.col, "cosine", 0.0, 1, N_NEIGHBORS)
    check_cosine(pairs, cosine.similarity)


@contextmanager
def clock(name: str, told: Callable[[str, float], None]):
    started = time.perf_counter()
    yield
    told(name, time.perf_counter() - started)
    print(f"  {name:<32}{time.perf_counter() - started:9.2f} s", flush=True)


def inputs(cells: sp.csr_matrix) -> dict[str, pa.Table]:
    """Tables of a night in which every cell was one view."""
    coo, n = cells.tocoo(), cells.nnz
    begin_us = round((NIGHT - timedelta(days=30)).timestamp() * 1e6)
    moments = begin_us + np.random.default_rng(1).integers(0, 29 * 86_400, n) * 1_000_000
    user_ids = pa.array([f"{user:032x}" for user in range(cells.shape[0])]).take(pa.array(coo.row))
    names = pa.array([f"i{item:06d}" for item in range(cells.shape[1])])
    als = Recipe({"als": Setting(fit_als, {"factors": FACTORS, "alpha": 1})}, Choice("single", "score_als", ()), [])
    events = {name: pa.repeat(value, n) for name, value in KIND.items() if value}
    events |= {"user_id": user_ids, "item_id": names.take(pa.array(coo.col)), "event_time": moments}
    ones = dict.fromkeys(("weight_micro", "n_events"), np.full(n, 1))
    taken = {"user_id": user_ids, "item_idx": coo.col, "first_time": moments, "last_time": moments, **ones}
    found = {
        "events": filled("events", events).select(EVENT_COLUMNS),
        "interactions": filled("interactions", taken | {"n_purchases": np.zeros(n, int)}),
        "item_dictionary": filled("item_dictionary", {"item_id": names, "item_idx": np.arange(len(names))}),
        "event_weights": pa.Table.from_pylist([KIND | {"weight_micro": 1_000_000}], schema("event_weights")),
        "recipe": pa.Table.from_pylist([to_row(als)], schema("recipe")),
    }
    nothing = ("items", "users", "content_neighbors", "segment_lists")
    return found | {name: schema(name).empty_table() for name in nothing}


def schema(table: str) -> pa.Schema:
    return arrow_schema(TABLES[table])


def filled(table: str, columns: dict) -> pa.Table:
    """The table's rows, null where there is no column."""
    n = len(next(iter(columns.values())))
    given = [
        pa.array(columns[f.name]).cast(f.type) if f.name in columns else pa.nulls(n, f.type) for f in schema(table)
    ]
    return pa.table(given, schema(table).names)


def write(tables: dict[str, pa.Table]) -> None:
    for name, rows in tables.items():
        pq.write_table(rows, FOLDER / f"{name}.parquet", compression="zstd")


def read(name: str) -> pa.Table:
    return pq.read_table(FOLDER / f"{name}.parquet")


def lists(spark) -> None:
    """Everybody's best, written by Spark."""
    given = {name: read(name) for name in candidates.JOB.arrow_inputs} | {"rules": load_rules(SHIPPED)}
    given |= {
        name: spark.read.schema(spark_schema(TABLES[name])).parquet(str(FOLDER / f"{name}.parquet")) for name in SPARK
    }
    found = candidates.transform(given, NIGHT, SETTINGS)["candidates"]
    found.write.mode("overwrite").parquet(str(FOLDER / "candidates"))


def check_cosine(pairs: dict, similarity: sp.csr_matrix) -> None:
    """Equal where both have the pair: of equal scores either may be kept."""
    theirs = np.asarray(similarity[pairs["item_idx"], pairs["neighbor_idx"]]).ravel()
    both = theirs > 0
    apart = float(np.abs(theirs[both] - pairs["score"][both]).max())
    print(f"  cosine: {both.mean():.4%} of our pairs are implicit's, too; at most {apart:.1e} apart")


def report(seconds: dict[str, list[float]], sizes: dict) -> None:
    """Ratios of ours to the library's just before it."""
    names = list(seconds)
    ratios = {
        ours: median(seconds[ours]) / median(seconds[theirs])
        for theirs, ours in zip(names[::2], names[1::2], strict=True)
    }
    for name, ratio in ratios.items():
        print(f"{name:<32}{ratio:6.2f} x the library's")
    target = FOLDER / "kernels.json"
    told = {"sizes": sizes, "machine": platform.platform(), "seconds": seconds, "ratios": ratios}
    target.write_text(json.dumps(told, indent=2) + "\n")
    print(f"written to {target}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
