"""The same input on a lake of its own with nothing killed: no Airflow, one process, one session of Spark.

python -m benchmarks.soak.undisturbed      (in the environment of that lake; ``make soak`` starts it)
"""

import os
import sys
from datetime import datetime

from benchmarks.soak.ground import DAY, HOUR, Ground
from conf.settings import load_settings
from deploy.embedded.problems import Problem
from jobs import cli
from jobs.rim.lake import Lake
from jobs.rim.lineage import MAKERS, Lineage, job
from jobs.rim.runner import run_step
from jobs.rim.spark_session import spark_session

HOURLY = ("trending",)
NIGHTLY = tuple(name for name in dict.fromkeys(MAKERS.values()) if name not in HOURLY)
GATES = {HOURLY: ("trending",), NIGHTLY: ("item_neighbors", "content_neighbors", "slates")}


def main() -> int:
    """Every hour, then every night, each with its gate: a later one looks at what earlier ones passed."""
    ground, settings = Ground.of_environment(), load_settings()
    lake = Lake.open(settings.lake)
    command("ingest", "--path", str(ground.history), "--source", "nightshelf")
    with spark_session(settings, "undisturbed", quick=True) as spark:

        def run(steps: tuple[str, ...], as_of: datetime) -> None:
            lineage = Lineage(lake, settings, as_of)
            for name in steps:
                print(run_step(job(name), lineage, lambda: spark), flush=True)
            command("gate", "--tables", *GATES[steps], "--as-of", as_of.isoformat())

        for hour in ground.intervals:
            land(ground, hour, settings.ingest.landing)
            command("ingest", "--interval", hour.isoformat(), (hour + HOUR).isoformat())
            run(HOURLY, hour + HOUR)
        for night in ground.nights:
            run(NIGHTLY, night)
    print(f"{len(ground.intervals)} hours and {len(ground.nights)} nights, {DAY.days} day each", flush=True)
    return 0


def land(ground: Ground, hour: datetime, landing: str) -> None:
    """As the soak's own ``nightshelf`` does."""
    for file in sorted((ground.deliveries / f"{hour:%Y-%m-%dT%H}").glob("*")):
        os.link(file, os.path.join(landing, file.name))


def command(*words: str) -> None:
    """A command in this process.

    Raises:
        Problem: it failed; it has said why.
    """
    if code := cli.main(list(words)):
        raise Problem(f"undisturbed: nightshelf {' '.join(words)}: exit code {code}", code)


if __name__ == "__main__":
    sys.exit(main())
