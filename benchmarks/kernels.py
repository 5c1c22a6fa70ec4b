"""Ours beside the libraries' kernels on one matrix, in one run: the fit, everybody's lists, items that go together.

usage: python -m benchmarks.kernels [USERS ITEMS CELLS [REPEATS]]     (default 6040 3706 740000 4)

The matrix is random, with items' popularity by a power law and users' activity log-normal. What is ours is timed from
Parquet to Parquet, through the jobs' own transforms with a recipe of one source; the peers' only the bare kernel. Each
repeat runs all of them, one after another; of several the first, which starts workers and compiles, does not count.
Seconds are medians, ratios are of these. MLlib runs in the first two repeats only, and not at all above ``MLLIB_CELLS``
cells. Writes ``.nightshelf/bench/kernels.json``.
"""

import json
import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from benchmarks import peers
from benchmarks.cells import matrix
from benchmarks.meter import Cost, Meter, cores
from benchmarks.tables import kernel_table
from conf.rules import SHIPPED, load_rules
from conf.settings import load_settings
from deploy.embedded import house, java
from deploy.embedded.problems import Problem, guarded
from jobs import candidates, fit
from jobs.kernels.pairs import top_pairs
from jobs.kernels.recipe.block_topk import by_length, topk_product
from jobs.kernels.recipe.choose import Choice
from jobs.kernels.recipe.grid import Setting
from jobs.kernels.recipe.recommend import Recipe
from jobs.kernels.recipe.sources import ALS_ITERATIONS, fit_als
from jobs.kernels.recipe.stored import to_row
from jobs.rim.lake import Lake
from jobs.rim.manifest import DataFile
from jobs.rim.means import Means
from jobs.rim.memory import kernel_bytes
from jobs.rim.runner import EVENT_COLUMNS, write_output
from jobs.rim.spark_session import spark_session
from jobs.rim.stored_rows import StoredRows
from schemas.arrow import arrow_schema
from schemas.tables import TABLES

FOLDER = house.STATE / "bench"
NIGHT = datetime(2026, 1, 31, tzinfo=UTC)
FACTORS, N_LISTED, N_NEIGHBORS = 64, 100, 100
DEFAULT = (6_040, 3_706, 740_000, 4)
MLLIB_CELLS, MLLIB_REPEATS = 1_000_000, 2  # so many cells are a minute of MLlib's fit on two cores
BLOCK_USERS = 1_024
SETTINGS = load_settings(fit={"probe_share": 0, "min_probes": 0}, candidates={"n_items": N_LISTED, "n_new": 0})
EVENTS = "events.parquet"  # with the columns that are read alone
FILES: dict[str, list[DataFile]] = {}  # of each table, those written last
KIND = {"source": "bench", "kind": "view", "value": None}

Told = Callable[[str, Cost], None]


def main(arguments: list[str]) -> int:
    if not all(word.isdecimal() and int(word) for word in arguments) or len(arguments) > len(DEFAULT):
        raise Problem(f"{' '.join(arguments)}: allowed are USERS ITEMS CELLS REPEATS, whole numbers from 1")
    n_users, n_items, n_cells, repeats = (*map(int, arguments), *DEFAULT[len(arguments) :])
    house.enter()
    os.environ["JAVA_HOME"] = str(java.find_java_home())
    FOLDER.mkdir(parents=True, exist_ok=True)
    cells = matrix(n_users, n_items, n_cells)
    sizes = {"users": n_users, "items": n_items, "cells": int(cells.nnz), "factors": FACTORS, "cores": cores()}
    print(", ".join(f"{value:,} {name}" for name, value in sizes.items()), flush=True)
    costs: dict[str, list[Cost]] = {}
    peers.warm_up()  # first of all: only libraries that are loaded are limited
    with threadpool_limits(1, "blas"), spark_session(load_settings(), "bench") as spark:
        for repeat in range(repeats):
            print(f"repeat {repeat + 1} of {repeats}", flush=True)
            compare(cells, spark, repeat, lambda name, cost: costs.setdefault(name, []).append(cost))
    report(costs, sizes)
    return 0


def compare(cells: sp.csr_matrix, spark, repeat: int, told: Told) -> None:
    """Everything a single time, each of ours near what others offer for it."""
    with clock("implicit: ALS fit", told):
        theirs = peers.implicit_als(cells, FACTORS)
    tables = inputs(cells)
    pq.write_table(tables.pop("events"), FOLDER / EVENTS, compression="zstd")
    write(tables)
    with clock("ours: events to factors", told):
        given = {name: read(name) for name in fit.JOB.inputs if name != "events"}
        made = fit.transform(given | {"events": read_events()}, NIGHT, SETTINGS)
        write({name: made[name] for name in fit.JOB.outputs})
    with clock("implicit: recommend", told):
        peers.implicit_recommend(theirs, cells, N_LISTED)
    with clock("ours: factors to candidates", told):
        lists(spark, explain=False)
    with clock("ours: the same with because_of", told):
        lists(spark, explain=True)
    with clock("ours: the same by Spark", told):
        lists(spark, explain=True, engine="spark")
    products(theirs.user_factors, theirs.item_factors, cells, told)
    with clock("implicit: cosine neighbors", told):
        similarity = peers.implicit_cosine(cells, N_NEIGHBORS)
    coo = cells.tocoo()
    with clock("ours: pairs by cosine", told):
        pairs = top_pairs(coo.row, coo.col, "cosine", 0.0, 1, N_NEIGHBORS)
    check_cosine(pairs, similarity)
    if repeat < MLLIB_REPEATS and cells.nnz <= MLLIB_CELLS:
        mllib(cells, spark, told)


def products(users: np.ndarray, items: np.ndarray, cells: sp.csr_matrix, told: Told) -> None:
    """Everybody's best by the same vectors, what people have left out."""
    for threads in (1, 2):
        with clock(f"bare product, {threads} thread{'s' * (threads > 1)}", told):
            peers.product(users, items, threads)
        with clock(f"ours: topk_product, {threads} thread{'s' * (threads > 1)}", told):
            best_of_all(users, items, cells, threads)
    if peers.FAISS:
        with clock("faiss: exact inner product", told):
            peers.faiss_best(users, items, N_LISTED)


def best_of_all(users: np.ndarray, items: np.ndarray, cells: sp.csr_matrix, threads: int) -> None:
    ordered = by_length(items)

    def block(start: int) -> None:
        rows = slice(start, start + BLOCK_USERS)
        topk_product(users[rows], ordered, cells[rows], N_LISTED)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(block, range(0, len(users), BLOCK_USERS)))


def mllib(cells: sp.csr_matrix, spark, told: Told) -> None:
    frame = peers.mllib_frame(spark, cells)
    with clock("MLlib: ALS fit", told):
        model = peers.mllib_als(frame, FACTORS)
    with clock("MLlib: recommendForAllUsers", told):
        peers.mllib_recommend(model, N_LISTED)
    frame.unpersist()


@contextmanager
def clock(name: str, told: Told):
    with Meter(own=True) as cost:
        yield
    told(name, cost)
    print(f"  {name:<32}{cost.seconds:9.2f} s", flush=True)


def als_alone() -> Recipe:
    return Recipe({"als": Setting(fit_als, {"factors": FACTORS, "alpha": 1})}, Choice("single", "score_als", ()), [])


def inputs(cells: sp.csr_matrix) -> dict[str, pa.Table]:
    """Tables of a night in which every cell was one view."""
    coo, n = cells.tocoo(), cells.nnz
    begin_us = round((NIGHT - timedelta(days=30)).timestamp() * 1e6)
    moments = begin_us + np.random.default_rng(1).integers(0, 29 * 86_400, n) * 1_000_000
    user_ids = pa.array([f"{user:032x}" for user in range(cells.shape[0])]).take(pa.array(coo.row))
    names = pa.array([f"i{item:06d}" for item in range(cells.shape[1])])
    events = {name: pa.repeat(value, n) for name, value in KIND.items() if value}
    events |= {"user_id": user_ids, "item_id": names.take(pa.array(coo.col)), "event_time": moments}
    ones = dict.fromkeys(("weight_micro", "n_events"), np.full(n, 1))
    taken = {"user_id": user_ids, "item_idx": coo.col, "first_time": moments, "last_time": moments, **ones}
    found = {
        "events": filled("events", events).select(EVENT_COLUMNS),
        "interactions": filled("interactions", taken | {"n_purchases": np.zeros(n, int)}),
        "item_dictionary": filled("item_dictionary", {"item_id": names, "item_idx": np.arange(len(names))}),
        "event_weights": pa.Table.from_pylist([KIND | {"weight_micro": 1_000_000}], schema("event_weights")),
        "recipe": pa.Table.from_pylist([to_row(als_alone())], schema("recipe")),
    }
    nothing = ("items", "users", "content_neighbors", "segment_lists")
    return found | {name: schema(name).empty_table() for name in nothing}


def schema(table: str) -> pa.Schema:
    return arrow_schema(TABLES[table])


def filled(table: str, columns: dict) -> pa.Table:
    """The table's rows; null where there is no column, or 0 where null is not allowed."""
    n = len(next(iter(columns.values())))
    nothing = pa.nulls(n), pa.repeat(0, n)
    given = [
        pa.array(columns[f.name]).cast(f.type) if f.name in columns else nothing[not f.nullable].cast(f.type)
        for f in schema(table)
    ]
    return pa.table(given, schema(table).names)


def lake() -> Lake:
    return Lake.open(load_settings(lake={"uri": str(house.ROOT / FOLDER / "kernels"), "min_free_mb": 0}).lake)


def write(tables: dict[str, pa.Table]) -> None:
    """Into the lake, as a step commits them: each file is read back."""
    for name, rows in tables.items():
        FILES[name] = [lake().write(f"{name}/part-0.parquet", name, rows)] if rows.num_rows else []


def read(name: str) -> pa.Table:
    return lake().read(name, FILES[name])


def read_events() -> pa.Table:
    """As ``rim.event_parts`` does: texts as dictionaries."""
    texts = [field.name for field in schema("events") if field.type == pa.string()]
    return pq.read_table(FOLDER / EVENTS, read_dictionary=texts)


def lists(spark, explain: bool, engine: str = "threads") -> None:
    """Everybody's best into the lake; with the own item that speaks most for each place, if asked."""
    wanted = SETTINGS.candidates.model_copy(update={"explain": explain, "engine": engine})
    settings = SETTINGS.model_copy(update={"candidates": wanted})
    stored = {name: StoredRows(lake(), name, FILES[name]) for name in candidates.JOB.inputs}
    given = {name: stored[name] if name in candidates.JOB.columns else read(name) for name in stored}
    room = kernel_bytes(settings.resources, beside_spark=True)
    given["means"] = Means(room, room, lambda name: stored[name].frame(spark))
    found = candidates.transform(given | {"rules": load_rules(SHIPPED)}, NIGHT, settings)["candidates"]
    write_output("candidates", found, lake(), NIGHT, engine)


def check_cosine(pairs: dict, similarity: sp.csr_matrix) -> None:
    """Equal where both have the pair: of equal scores either may be kept."""
    theirs = np.asarray(similarity[pairs["item_idx"], pairs["neighbor_idx"]]).ravel()
    both = theirs > 0
    apart = float(np.abs(theirs[both] - pairs["score"][both]).max())
    print(f"  cosine: {both.mean():.4%} of our pairs are implicit's, too; at most {apart:.1e} apart")


def report(costs: dict[str, list[Cost]], sizes: dict) -> None:
    told = {
        "sizes": sizes | {"iterations": ALS_ITERATIONS, "listed": N_LISTED},
        "machine": platform.platform(),
        "faiss": "installed" if peers.FAISS else "not installed",
        "mllib": "ran" if sizes["cells"] <= MLLIB_CELLS else f"not run: more than {MLLIB_CELLS:,} cells",
        "costs": {name: [asdict(one) for one in some[1:] or some] for name, some in costs.items()},
    }
    target = FOLDER / "kernels.json"
    target.write_text(json.dumps(told, indent=1) + "\n")
    print(f"\n{kernel_table(told)}\nwritten to {target}")


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
