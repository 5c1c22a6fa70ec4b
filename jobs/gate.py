"""May these tables leave the lake? Great Expectations judges each table's statistics and a sample of its rows.

Statistics are computed in one pass and judged as a one-row frame; rows are checked one by one on a sample only. The
verdict is stored beside the table and decides: publish takes nothing without it. Judging again gives the same answer.
"""

import argparse
import os
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from conf.settings import Settings
from jobs.kernels.rules.night import last_purchases, rebuy_tonight
from jobs.kernels.statistics import neighbor_statistics, slate_statistics, trending_statistics
from jobs.rim.arguments import add_run_arguments
from jobs.rim.errors import GateRefused
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage
from jobs.rim.verdict import Verdict, read_verdict, write_verdict
from schemas.tables import TABLES

JUDGED = ("item_neighbors", "slates", "trending")
NONE = (0, 0)
SOME = (1, None)
TOO_LITTLE = {  # what an empty table usually means
    "item_neighbors": "no two items share cooccurrence.min_pair contributors: too little data?",
    "slates": "nothing was proposed to anybody: too little data?",
    "trending": "no event on an available item within trending.window_hours before as_of",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tables", nargs="+", required=True, choices=JUDGED, metavar="TABLE", help=", ".join(JUDGED))
    add_run_arguments(parser)


def main(args: argparse.Namespace, settings: Settings) -> int:
    """Judge every table before refusing any, so that one look shows all that is wrong."""
    lineage = Lineage(Lake.open(settings.lake), settings, args.as_of, args.snapshot)
    verdicts = [judge(table, lineage) for table in args.tables]
    for verdict in verdicts:
        print(describe(verdict))
    refused = [verdict for verdict in verdicts if not verdict.passed]
    if refused:
        raise GateRefused("; ".join(f"{v.table} {v.version}: {', '.join(v.failures)}" for v in refused))
    return 0


def describe(verdict: Verdict) -> str:
    numbers = ", ".join(f"{name} {value:,.6g}" for name, value in verdict.statistics.items())
    return f"gate: {verdict.table} {'passed' if verdict.passed else 'REFUSED'} ({numbers})"


def judge(table: str, lineage: Lineage) -> Verdict:
    """The stored verdict, or a new one, stored."""
    known = read_verdict(table, lineage)
    if known is not None:
        return known
    manifest = lineage.resolve(table)
    statistics: dict[str, float] = {}
    try:
        rows = lineage.lake.read(table, manifest.files[table])
    except ValueError as error:  # nulls where the schema has none, or no Parquet at all: nothing to measure
        failures = [f"rows of {table} are not what its schema says: {error}"]
    else:
        statistics = measure(table, rows, lineage)
        failures = validate(table, statistics, rows, lineage.settings)
    verdict = Verdict(table, manifest.version, not failures, statistics, failures)
    write_verdict(verdict, lineage)
    return verdict


def measure(table: str, rows: pa.Table, lineage: Lineage) -> dict[str, float]:
    if table == "item_neighbors":
        return neighbor_statistics(rows)
    if table == "trending":
        return trending_statistics(rows)
    interactions = lineage.lake.read("interactions", lineage.resolve("interactions").files["interactions"])
    last_day = pa.scalar(lineage.as_of - timedelta(days=1), interactions["last_time"].type)
    active = interactions.filter(
        pc.and_(pc.greater_equal(interactions["last_time"], last_day), pc.greater(interactions["weight_micro"], 0))
    )
    found = slate_statistics(
        rows,
        interactions,
        comes_back(interactions, lineage),
        pc.unique(active["user_id"]),
        available_items(lineage),
        np.unique(interactions["item_idx"].to_numpy()),
        lineage.settings.slates.n_items,
    )
    n_users = pc.count_distinct(interactions.filter(pc.greater(interactions["weight_micro"], 0))["user_id"]).as_py()
    nobody = {} if n_users else {"fill": 1.0, "item_coverage": 1.0}  # sessions only: there is nobody to have a slate
    return found | {"n_users": n_users} | nobody


def comes_back(interactions: pa.Table, lineage: Lineage) -> np.ndarray:
    """Bool, one per row: the business rules let the user be shown the item again."""
    dictionary = lineage.lake.dictionary(lineage.snapshot)
    items = lineage.lake.current("items", lineage.snapshot, lineage.as_of)
    rebuy = rebuy_tonight(lineage.rules, items, dictionary, lineage.as_of)
    return rebuy.comes_back(interactions["item_idx"].to_numpy(), last_purchases(interactions))


def available_items(lineage: Lineage) -> np.ndarray:
    """item_idx of everything that is not marked unavailable; an item without a catalogue row is available."""
    dictionary = lineage.lake.dictionary(lineage.snapshot)
    items = lineage.lake.current("items", lineage.snapshot, lineage.as_of)
    gone = items.filter(pc.invert(items["available"])).select(["item_id"])
    return dictionary.join(gone, "item_id", join_type="left anti")["item_idx"].to_numpy()


def bounds(
    table: str, settings: Settings, statistics: dict[str, float]
) -> dict[str, tuple[float | None, float | None]]:
    """What the statistics of a table may be, inclusive; there are slates unless there is nobody to have one."""
    if table == "item_neighbors":
        return {"n_rows": SOME, "n_own_neighbors": NONE, "n_one_sided": NONE}
    if table == "trending":
        return {"n_for_all": SOME, "n_gaps": NONE}
    broken = (
        "n_repeated_users",
        "n_repeated_items",
        "n_seen_items",
        "n_unavailable_items",
        "n_out_of_order",
        "n_without_own_reason",
        "n_bad_propensities",
        "n_uneven",
    )
    return {
        "n_rows": (min(1, statistics["n_users"]), None),
        **dict.fromkeys(broken, NONE),
        "fill": (settings.gate.min_fill, None),
        "user_coverage": (settings.gate.min_user_coverage, None),
        "item_coverage": (settings.gate.min_item_coverage, None),
    }


def validate(table: str, statistics: dict[str, float], rows: pa.Table, settings: Settings) -> list[str]:
    """One line per failed expectation: what, of which column, what was seen, what is allowed."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # nothing about a user's data leaves the machine
    from schemas.expectations import row_expectations, statistic_expectations

    step = max(rows.num_rows // settings.gate.sample_rows, 1)
    sample = rows.take(np.arange(0, rows.num_rows, step)).to_pandas()
    wanted = statistic_expectations(bounds(table, settings, statistics))
    failures = run_suite(f"{table} as a whole", wanted, pd.DataFrame([statistics]))
    if failures and not rows.num_rows:
        failures[-1] += f" ({TOO_LITTLE[table]})"
    return failures + run_suite(f"{table} row by row", row_expectations(TABLES[table]), sample)


def run_suite(name: str, expectations: list, frame: pd.DataFrame) -> list[str]:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    definition = (
        context.data_sources.add_pandas(name).add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
    )
    suite = gx.ExpectationSuite(name=name, expectations=expectations)
    result = definition.get_batch(batch_parameters={"dataframe": frame}).validate(suite, result_format="BASIC")
    return [explain_failure(name, outcome) for outcome in result.results if not outcome.success]


def explain_failure(name: str, outcome) -> str:
    wanted = outcome.expectation_config.kwargs
    seen = outcome.result.get("partial_unexpected_list", outcome.exception_info)
    told = ", ".join(map(str, seen)) if isinstance(seen, list) else seen
    return f"{outcome.expectation_config.type} of {wanted['column']} ({name}): saw {told}, allowed {allowed(wanted)}"


def allowed(wanted: dict) -> str:
    """An expectation's bounds or values in words."""
    low, high, values = (wanted.get(name) for name in ("min_value", "max_value", "value_set"))
    if values:
        return f"one of {', '.join(values)}"
    if low is not None and high is not None:
        return f"{low:g} to {high:g}" if low < high else f"{low:g}"
    if low is None and high is None:
        return "no nulls"
    return f"{low:g} or more" if high is None else f"{high:g} or less"
