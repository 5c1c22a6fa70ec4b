"""Everything the page says of one run, read from the lake; what is not there yet is None or empty."""

from dataclasses import dataclass

from jobs.reporting.account import Account, account
from jobs.reporting.evaluations import Evaluation
from jobs.reporting.examples import Example, examples
from jobs.reporting.history import gate_said
from jobs.reporting.nights import Night, Slates, describe, read_slates
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage
from jobs.rim.manifest import Manifest, iso

N_NIGHTS = 14
N_EVALUATIONS = 26


@dataclass(frozen=True)
class Content:
    """``nights`` and ``evaluations`` oldest first, this run's the last; ``unreadable``: why there are no slates."""

    as_of: str
    snapshot: int
    account: Account
    evaluations: list[Evaluation]
    nights: list[Night]
    before: str | None
    examples: list[Example]
    unreadable: str | None


def read_content(lineage: Lineage) -> Content:
    lake, run = lineage.lake, lineage.find("slates")
    earlier = lake.newest_runs("slates", lineage.as_of, N_NIGHTS - 1)
    nights, problem = read_nights(lineage, [*earlier, *([run] if run else [])])
    passed = {night.as_of for night in nights if night.gate == "passed"}
    before = next((past for past in reversed(earlier) if past.as_of in passed), None)
    shown = examples(lineage, run, before) if run and problem is None else []
    return Content(
        as_of=iso(lineage.as_of),
        snapshot=lineage.snapshot,
        account=account(lineage),
        evaluations=read_evaluations(lineage),
        nights=nights,
        before=before.as_of if before else None,
        examples=shown,
        unreadable="they have not been computed" if run is None else problem,
    )


def read_nights(lineage: Lineage, runs: list[Manifest]) -> tuple[list[Night], str | None]:
    """A row for each night that can be read, and what is wrong with the last one, if something is.

    Churn is told against the night before that could be read, whatever the gate said of it.
    """
    found: list[Night] = []
    before: Slates | None = None
    problem = None
    for run in runs:
        try:
            slates = read_slates(lineage.lake, run)
            found.append(night(lineage, run, slates, before))
        except (FileNotFoundError, ValueError) as error:
            problem = str(error)
        else:
            before, problem = slates, None
    return found, problem


def night(lineage: Lineage, run: Manifest, slates: Slates, before: Slates | None) -> Night:
    n_items = lineage.batches[min(run.snapshot, lineage.snapshot) - 1].n_items
    return describe(lineage.lake, run, gate_said(lineage.lake, "slates", run), slates, before, n_items)


def read_evaluations(lineage: Lineage) -> list[Evaluation]:
    """The newest evaluations as of this run's moment or before."""
    lake: Lake = lineage.lake
    runs = lake.newest_runs("evaluate", lineage.as_of, N_EVALUATIONS, at=True)
    tables = [Evaluation(run.as_of, lake.read("metrics", run.files["metrics"]).to_pylist()) for run in runs]
    return [table for table in tables if table.rows]
