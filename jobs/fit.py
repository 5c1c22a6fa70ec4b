"""What does each source know tonight? Every source of the recipe, fitted on all positive events known.

Matrix factorisation gives vectors, the others give weights between items; beside them stand the items as the ranker
sees them. The last active day of a few users, others every night, is left out and kept for the gate.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits

from conf.settings import Fit, Settings
from jobs.kernels.als_folded import EVENT_BYTES, READ, Crowd, crowd_of, fitted_items
from jobs.kernels.engines import Plan, plan, refined
from jobs.kernels.positives import MICROSECONDS, TOLD, Known, positive_events, sampled
from jobs.kernels.recipe.grid import Setting
from jobs.kernels.recipe.labels import Events
from jobs.kernels.recipe.model import fit_model
from jobs.kernels.recipe.past import Past, latest
from jobs.kernels.recipe.people import DAY_S
from jobs.kernels.recipe.probes import Withheld, withhold
from jobs.kernels.recipe.sources import ByFactors
from jobs.kernels.recipe.stored import from_row, to_tables
from jobs.rim.lineage import Job
from jobs.rim.means import Means
from jobs.rim.memory import is_local, threads_here
from jobs.rim.side_by_side import in_turn
from schemas.arrow import arrow_schema
from schemas.tables import PROBES, TABLES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OUTPUTS = ("user_factors", "item_factors", "item_weights", "item_features", "probes")


def transform(inputs: Mapping[str, pa.Table], as_of: datetime, settings: Settings) -> dict:
    """events, event_weights, items, users, item_dictionary, recipe → OUTPUTS, all empty when nobody likes anything.

    ``means``, where there are any, say how much memory there is and lead to Spark.
    """
    means = inputs.get("means")
    first = plan(inputs["events"].num_rows, means, settings.fit)
    known = positive_events(*(inputs[table] for table in TOLD), share=first.share)
    if not len(known.events.user):
        return {name: arrow_schema(TABLES[name]).empty_table() for name in OUTPUTS}
    recipe = from_row(inputs["recipe"].to_pylist()[0])
    chosen = refined(first, known.events, recipe.chosen, means, settings.fit)
    known = sampled(known, round(chosen.share / first.share * len(known.events.user)))
    events, item_idx = by_index(known, inputs["item_dictionary"])
    withheld = withhold(events, n_probes(events.n_users, settings.fit), seed=int(as_of.timestamp() // DAY_S))
    past = events.past(withheld.keep)
    unseen = hidden(events, withheld, known.user_ids)
    solver = solver_of(chosen, inputs["events"].num_rows, means, settings)
    fitted, users = factorised(solver, recipe.chosen, past, inputs, unseen, item_idx)
    tables = to_tables(fit_model(recipe.chosen, past, past.now, fitted), known.user_ids, item_idx)
    tables["user_factors"] = beside(tables["user_factors"], users, settings)
    measured = {"n_users": events.n_users, "n_items": events.n_items, "n_events": len(events.user), "solver": solver}
    probed = probes(past, withheld, known.user_ids, item_idx)
    return tables | {"probes": probed, "measured": chosen.measured() | measured}


def solver_of(chosen: Plan, n_events: int, means: Means | None, settings: Settings) -> str:
    """Who solves for the users' vectors: the fit itself (``implicit``), threads of this process, Spark, Spark MLlib."""
    if chosen.engine != "folded":
        return chosen.engine
    fits = means is not None and n_events * EVENT_BYTES <= means.alone_bytes
    return "threads" if fits and is_local(settings.spark.master) else "spark"


def factorised(
    solver: str,
    chosen: Mapping[str, Setting],
    past: Past,
    inputs: Mapping,
    unseen: pa.Table,
    item_idx: np.ndarray,
) -> tuple[dict[str, ByFactors], "Callable[[], Crowd] | DataFrame | None"]:
    """The sources whose users' vectors are made apart, and who has these as user_factors; none for ``implicit``."""
    if solver == "threads":
        events, told = inputs["events"].select(READ), (inputs["event_weights"], inputs["item_dictionary"])
        fitted = fitted_items(chosen, past)
        crowd = partial(crowd_of, events, *told, unseen, item_idx, fitted, past.now) if fitted else None
        return fitted, crowd
    if solver == "spark":
        from jobs.kernels.als_folded_spark import folded_in_spark

        return folded_in_spark(chosen, past, inputs["means"].in_spark, inputs["event_weights"], unseen, item_idx)
    if solver == "mllib":
        from jobs.kernels.als_mllib import factorised as by_mllib

        return by_mllib(chosen, inputs["means"].in_spark, inputs["event_weights"], unseen, past.now, item_idx)
    return {}, None


def beside(rows: pa.Table, users: "Callable[[], Crowd] | DataFrame | None", settings: Settings):
    """user_factors made here and those made apart; all by Spark where some are."""
    if users is None:
        return rows
    if callable(users):
        return everybody(rows, users, threads_here(settings.spark))
    return users.sparkSession.createDataFrame(rows).unionByName(users)


def everybody(rows: pa.Table, crowd: Callable[[], Crowd], n_threads: int) -> Iterator[pa.Table]:
    """In parts. The crowd is read when all else has been fitted, and let go of."""
    yield rows
    known = crowd()
    with threadpool_limits(1, "blas"):
        yield from in_turn(known.solve, known.blocks(), n_threads)


def hidden(events: Events, withheld: Withheld, user_ids: np.ndarray) -> pa.Table:
    """Of each probed user when the day begins that the fit does not see."""
    last_s = latest(events.user, events.time_s, events.n_users)[withheld.users]
    begin_us = (last_s // DAY_S * DAY_S * MICROSECONDS).astype(np.int64)
    return pa.table(
        {"user_id": user_ids[withheld.users], "from_time": pa.array(begin_us).cast(pa.timestamp("us", "UTC"))}
    )


def by_index(known: Known, dictionary: pa.Table) -> tuple[Events, np.ndarray]:
    """The events with items coded by rising item_idx, and the item_idx of each code."""
    place = pc.index_in(pa.array(known.item_ids, pa.string()), dictionary["item_id"].combine_chunks())
    item_idx = dictionary["item_idx"].to_numpy()[place.to_numpy()].astype(np.int64)
    order = np.argsort(item_idx)
    code, context = np.argsort(order).astype(np.int32), known.events.context
    moved = context.of_codes(np.arange(known.events.n_users), order)
    return replace(known.events, item=code[known.events.item], context=moved), item_idx[order]


def n_probes(n_users: int, wanted: Fit) -> int:
    return max(wanted.min_probes, round(wanted.probe_share * n_users))


def probes(past: Past, withheld: Withheld, user_ids: np.ndarray, item_idx: np.ndarray) -> pa.Table:
    """One row a probed user; ``past`` is what the fit saw."""
    known = np.isin(past.cell_user, withheld.users)
    user, item, last_s = past.cell_user[known], past.cell_item[known], past.cell_last[known]
    last_us = np.round(last_s * MICROSECONDS).astype(np.int64)
    columns = {
        "user_id": user_ids[withheld.users],
        "items": by_user(withheld.users, user, item_idx[item]),
        "last_us": by_user(withheld.users, user, last_us),
        "withheld": by_user(withheld.users, withheld.user, item_idx[withheld.item]),
    }
    return pa.table(columns).cast(arrow_schema(PROBES))


def by_user(users: np.ndarray, user: np.ndarray, values: np.ndarray) -> pa.ListArray:
    """The values of each of ``users``, both by rising user, as lists."""
    offsets = np.append(np.searchsorted(user, users), len(user)).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, values)


JOB = Job(
    name="fit",
    inputs=(*TOLD, "item_dictionary", "recipe"),
    outputs=OUTPUTS,
    settings=("fit", "interactions"),
    engine="either",
    transform=transform,
    window=lambda settings: timedelta(days=settings.interactions.window_days),
)
