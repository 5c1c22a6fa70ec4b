"""One night on a lake, with the commands the DAG ``nightly`` runs, one after another, each in a process of its own."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime

from benchmarks.meter import Meter
from deploy.embedded.command import nightshelf
from deploy.embedded.report import SPARK_START

TASKS = (  # as in dags/nightly.py, weekly or not
    ("prepare", "run interactions cooccurrence cold", False),
    ("recipe", "run recipe", True),
    ("evaluate", "run evaluate", True),
    ("fit", "run fit", False),
    ("rank", "run candidates slates", False),
    ("gate", "gate --tables item_neighbors content_neighbors slates", False),
    ("publish", "publish --surfaces for_you similar bought_together", False),
    ("report", "report", False),
)
WEEKLY = frozenset(task for task, _, weekly in TASKS if weekly)
BEFORE_ALS = "prepare"
STEP = re.compile(r"^(\w+): (.*) in ([\d.]+) s, version ")


@dataclass
class Task:
    """What a task cost; of the steps in it the seconds they say they worked, and the rows they wrote.

    What is left of ``seconds`` went into starting Python and, where ``spark_start_s`` is above 0, Spark.
    """

    task: str
    seconds: float
    cpu_s: float | None
    peak_bytes: int | None
    spark_start_s: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)


def night(as_of: datetime, snapshot: int, env: Mapping[str, str], told: Callable[[Task], None]) -> None:
    """Every task; ``told`` is told of each when it ended.

    Raises:
        Problem: one failed; those before it were told.
    """
    run = ["--as-of", as_of.isoformat(), "--snapshot", str(snapshot)]
    for name, command, _ in TASKS:
        with Meter() as cost:
            lines = nightshelf([*command.split(), *run], env)
        told(read(name, cost, lines))


def read(name: str, cost, lines: list[str]) -> Task:
    """What a task's output says, beside what it cost."""
    task = Task(name, **{key: rounded(value) for key, value in asdict(cost).items()})
    for line in lines:
        if found := SPARK_START.match(line):
            task.spark_start_s += float(found[1])
        elif found := STEP.match(line):
            task.steps[found[1]], task.rows[found[1]] = float(found[3]), found[2]
    return task


def rounded(value: float | None) -> float | None:
    return round(value, 2) if isinstance(value, float) else value


def settings_of(env: Mapping[str, str]) -> dict[str, str]:
    """The settings given to the jobs beside the defaults, but for places and secrets."""
    places = ("LAKE__URI", "REDIS__", "IDENTITY__", "INGEST__LANDING", "SERVING__")
    given = {name.removeprefix("NIGHTSHELF_"): value for name, value in env.items() if name.startswith("NIGHTSHELF_")}
    return {name: value for name, value in sorted(given.items()) if not name.startswith(places)}
