"""May these tables leave the lake? Great Expectations judges each table's statistics and a sample of its rows.

Statistics are computed in one pass and judged as a one-row frame; rows are checked one by one on a sample only. Slates
are judged with all that they rest on: tonight's fit, the events of the last day, the recipe, and the night before. The
verdict is stored beside the table and decides: publish takes nothing without it. Judging again gives the same answer.
"""

import argparse
import os

import numpy as np
import pandas as pd
import pyarrow as pa

from conf.settings import Settings
from jobs.judging.arrivals import measure_arrivals
from jobs.judging.artefact import measure_artefact
from jobs.judging.bounds import ARRIVED, bounds, compared
from jobs.judging.change import measure_change
from jobs.judging.slates import measure_slates
from jobs.judging.standing import measure_standing
from jobs.kernels.statistics import content_statistics, neighbor_statistics, trending_statistics
from jobs.kernels.threads import use_threads
from jobs.rim.arguments import add_run_arguments
from jobs.rim.errors import GateRefused
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage
from jobs.rim.memory import threads_here
from jobs.rim.verdict import Verdict, read_verdict, write_verdict
from schemas.tables import TABLES

JUDGED = ("item_neighbors", "content_neighbors", "slates", "trending")
TOO_LITTLE = {  # what an empty table usually means, where one is refused
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
    use_threads(threads_here(settings.spark))
    verdicts = [judge(table, lineage) for table in args.tables]
    for verdict in verdicts:
        print(describe(verdict))
    refused = [verdict for verdict in verdicts if not verdict.passed]
    if refused:
        raise GateRefused("; ".join(f"{v.table} {v.version}: {', '.join(v.failures)}" for v in refused))
    return 0


def describe(verdict: Verdict) -> str:
    numbers = ", ".join(f"{name} {value:,.6g}" for name, value in verdict.statistics.items())
    warnings = "".join(f"; warning: {warning}" for warning in verdict.warnings)
    return f"gate: {verdict.table} {'passed' if verdict.passed else 'REFUSED'} ({numbers}){warnings}"


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
    verdict = Verdict(table, manifest.version, not failures, statistics, failures, warn(table, statistics))
    write_verdict(verdict, lineage)
    return verdict


def measure(table: str, rows: pa.Table, lineage: Lineage) -> dict[str, float]:
    if table == "item_neighbors":
        return neighbor_statistics(rows)
    if table == "content_neighbors":
        return content_statistics(rows, lineage.batches[-1].n_items)
    if table == "trending":
        return trending_statistics(rows)
    found = measure_slates(rows, lineage)
    beside = measure_artefact(lineage) | measure_arrivals(lineage) | measure_standing(lineage)
    return found | beside | measure_change(rows, found, lineage)


def warn(table: str, statistics: dict[str, float]) -> list[str]:
    """What is legal, but should be looked at."""
    if table != "slates" or "last_day_events" not in statistics:
        return []
    found = []
    if not statistics["last_day_events"]:
        found.append("no event in the last day")
    elif not compared(statistics):
        seen = {name: statistics[name] for name in ARRIVED if statistics[name] < statistics.get(ARRIVED[name], 0)}
        found += [
            f"{name} is {value:g}, usual is {statistics[ARRIVED[name]]:g} or more" for name, value in seen.items()
        ]
    if not any(name.startswith("gain_on_") for name in statistics):
        found.append("the recipe was compared with nothing: no pooled day in the table metrics")
    if "ndcg_recipe" not in statistics:
        found.append("too few users with a withheld day to judge the ranking by")
    return found


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
