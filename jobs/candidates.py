"""What does each source propose to each user, and because of which of their own items?

Users are scored in blocks inside Spark tasks: a BLAS product with a top-k kernel for ALS, one step along the neighbor
lists for the others. Items the user already has never come out, but for what they bought and may buy again by the
business rules. Item factors and neighbor lists are broadcast once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.settings import Settings
from jobs.kernels.because import gram, strongest_reasons
from jobs.kernels.rules.night import rebuy_tonight
from jobs.kernels.rules.rebuy import NEVER, Rebuy
from jobs.kernels.topn import top_items
from jobs.kernels.walk import propose_neighbors
from jobs.rim.lineage import Job
from schemas.arrow import arrow_schema
from schemas.spark import spark_schema
from schemas.tables import CANDIDATES, NEIGHBOR_KINDS

MICRO = 1e-6


def transform(inputs: Mapping, as_of: datetime, settings: Settings) -> dict[str, DataFrame]:
    """interactions, user_factors (Spark); the other tables (Arrow) and rules → candidates."""
    people = histories(inputs["interactions"]).join(inputs["user_factors"], "user_id", how="left")
    rebuy = rebuy_tonight(inputs["rules"], inputs["items"], inputs["item_dictionary"], as_of)
    model = build_model(inputs["item_factors"], inputs["item_neighbors"], rebuy, settings)
    shared = people.sparkSession.sparkContext.broadcast(model)

    def propose(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for start in range(0, batch.num_rows, shared.value.block_users):
                yield from propose_block(batch.slice(start, shared.value.block_users), shared.value)

    return {"candidates": people.mapInArrow(propose, spark_schema(CANDIDATES))}


def histories(interactions: DataFrame) -> DataFrame:
    """One row per user: item_idx, weight_micro and the last purchase as parallel lists, the strongest first."""
    bought_us = F.coalesce(F.unix_micros("last_purchase_time"), F.lit(NEVER)).alias("bought_us")
    cell = F.struct((-F.col("weight_micro")).alias("minus_micro"), "item_idx", bought_us)
    cells = F.sort_array(F.collect_list(cell))
    lists = (F.col(f"cells.{name}").alias(name) for name in ("minus_micro", "item_idx", "bought_us"))
    return interactions.groupBy("user_id").agg(cells.alias("cells")).select("user_id", *lists)


@dataclass(frozen=True)
class Model:
    """What a task needs to score a block: everything is indexed by item_idx, unknown items have zero rows."""

    item_factors: np.ndarray  # (n_items, factors) float32
    fitted: np.ndarray  # (n_items,) bool: has a vector
    shared: np.ndarray  # (factors, factors)
    neighbors: dict[str, sp.csr_matrix]  # by kind, (n_items, n_items)
    rebuy: Rebuy
    alpha: float
    n: int
    max_history: int
    block_users: int


def build_model(item_factors: pa.Table, item_neighbors: pa.Table, rebuy: Rebuy, settings: Settings) -> Model:
    columns = [item_factors["item_idx"], item_neighbors["item_idx"], item_neighbors["neighbor_idx"]]
    n_items = 1 + max([int(c.to_numpy().max()) for c in columns if len(c)], default=0)
    fitted = np.zeros(n_items, bool)
    fitted[item_factors["item_idx"].to_numpy()] = True
    factors = np.zeros((n_items, list_width(item_factors["vector"])), np.float32)
    factors[fitted] = stack(item_factors.sort_by("item_idx")["vector"])
    return Model(
        item_factors=factors,
        fitted=fitted,
        shared=gram(factors, settings.als.regularization),
        neighbors={kind: neighbor_matrix(item_neighbors, kind, n_items) for kind in NEIGHBOR_KINDS},
        rebuy=rebuy,
        alpha=settings.als.alpha,
        n=settings.candidates.n_per_source,
        max_history=settings.candidates.max_history,
        block_users=settings.candidates.block_users,
    )


def list_width(vectors: pa.ChunkedArray) -> int:
    return len(vectors[0]) if len(vectors) else 1


def stack(vectors: pa.ChunkedArray) -> np.ndarray:
    """A column of equally long lists as a matrix."""
    return vectors.combine_chunks().flatten().to_numpy().reshape(len(vectors), list_width(vectors))


def neighbor_matrix(item_neighbors: pa.Table, kind: str, n_items: int) -> sp.csr_matrix:
    rows = item_neighbors.filter(pa.compute.equal(item_neighbors["kind"], kind))
    cells = (rows["score"].to_numpy(), (rows["item_idx"].to_numpy(), rows["neighbor_idx"].to_numpy()))
    return sp.csr_matrix(cells, (n_items, n_items))


def propose_block(block: pa.RecordBatch, model: Model) -> Iterator[pa.RecordBatch]:
    """All sources' candidates of a block of users, one record batch per source."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        people = read_block(block, model.rebuy)
        proposals = {"als": propose_als(people, model)} if model.fitted.any() else {}
        for kind in NEIGHBOR_KINDS:
            proposals[kind] = [propose_walk(person, kind, model) for person in people]
    for source, lists in proposals.items():
        rows = [(p.user_id, source, *lst) for p, lst in zip(people, lists, strict=True) if len(lst[0])]
        if rows:
            yield to_batch(rows)


@dataclass(frozen=True)
class Person:
    """A user with their items, the strongest first, and those of them that stay out."""

    user_id: str
    items: np.ndarray
    weights: np.ndarray
    seen: np.ndarray
    vector: np.ndarray | None


def read_block(block: pa.RecordBatch, rebuy: Rebuy) -> list[Person]:
    return [read_person(block, k, rebuy) for k in range(block.num_rows)]


def read_person(block: pa.RecordBatch, k: int, rebuy: Rebuy) -> Person:
    items, minus, bought = (block[name][k].values.to_numpy() for name in ("item_idx", "minus_micro", "bought_us"))
    vector = block["vector"][k]
    return Person(
        user_id=block["user_id"][k].as_py(),
        items=items,
        weights=-minus * MICRO,
        seen=items[~rebuy.comes_back(items, bought)],
        vector=vector.values.to_numpy() if vector.is_valid else None,
    )


def propose_als(people: list[Person], model: Model) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Items, scores and reasons of each person; empty without a vector."""
    known = [k for k, person in enumerate(people) if person.vector is not None]
    nothing = (np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.int32))
    lists = [nothing] * len(people)
    if not known:
        return lists
    seen = seen_matrix([people[k] for k in known], model)
    vectors = np.stack([people[k].vector for k in known])
    for k, items, scores in zip(known, *top_items(vectors, model.item_factors, seen, model.n), strict=True):
        lists[k] = (items, scores, als_reasons(people[k], items, model))
    return lists


def seen_matrix(people: list[Person], model: Model) -> sp.csr_matrix:
    """``(n_users, n_items)``: what each person has and may not get again, and everything without a vector."""
    unfitted = np.flatnonzero(~model.fitted)
    rows = [np.union1d(person.seen[person.seen < len(model.fitted)], unfitted) for person in people]
    indptr = np.cumsum([0] + [len(row) for row in rows])
    indices = np.concatenate(rows)
    return sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), (len(people), len(model.fitted)))


def als_reasons(person: Person, items: np.ndarray, model: Model) -> np.ndarray:
    liked = (person.weights > 0) & (person.items < len(model.fitted))
    history, weights = person.items[liked], person.weights[liked]
    confidence = 1.0 + model.alpha * weights
    own = strongest_reasons(
        model.item_factors[items].astype(np.float64),
        model.item_factors[history].astype(np.float64),
        confidence,
        model.shared,
    )
    return history[own].astype(np.int32)


def propose_walk(person: Person, kind: str, model: Model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    liked = (person.weights > 0) & (person.items < len(model.fitted))
    history, weights = person.items[liked][: model.max_history], person.weights[liked][: model.max_history]
    return propose_neighbors(history, weights, model.neighbors[kind], person.seen, model.n)


def to_batch(rows: list[tuple]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True))
    schema = arrow_schema(CANDIDATES)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema.names)


JOB = Job(
    name="candidates",
    inputs=("interactions", "user_factors", "item_factors", "item_neighbors", "items", "item_dictionary"),
    outputs=("candidates",),
    settings=("als", "candidates"),
    engine="spark",
    transform=transform,
    arrow_inputs=("item_factors", "item_neighbors", "items", "item_dictionary"),
    rules=("rebuy",),
)
