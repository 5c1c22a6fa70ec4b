"""``make bench``: seconds of each stage of the night on generated events, start-up apart from work.

Runs the stages one by one with the commands the DAGs use, in a lake of its own. Prints a table and writes
``.nightshelf/bench/nightly.json``. EVENTS in the environment sets the size.
"""

import json
import os
import platform
import shutil
import sys
from datetime import datetime

from deploy.embedded import checks, house, java, redis
from deploy.embedded.command import nightshelf
from deploy.embedded.problems import Problem, guarded
from deploy.embedded.report import Report
from deploy.embedded.run import end_of_day

FOLDER = house.STATE / "bench"
DAYS, SEED = 30, 1
STAGES = (
    ("interactions", "cooccurrence", "cold"),
    ("recipe",),
    ("evaluate",),
    ("fit",),
    ("candidates", "slates"),
)


def main() -> int:
    house.enter()
    events = n_events()
    checks.check_disk()
    with house.lock("make bench"):
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        house.make_secret()
        env = house.environment(FOLDER, "ns-bench") | {"JAVA_HOME": java.find_java_home()}
        with redis.running(env):
            report = measure(events, env)
    print(f"\n{report.table()}")
    write_json(report, events)
    return 0


def n_events() -> int:
    events = os.environ.get("EVENTS") or "50000"
    if not events.isdecimal() or int(events) < 1000:
        raise Problem(f"EVENTS = {events!r}: allowed are whole numbers from 1000")
    return int(events)


def measure(events: int, env: dict[str, str]) -> Report:
    """Every stage once, from nothing to published."""
    report, data = Report(), str(FOLDER / "generated")

    def stage(name: str, *arguments: str) -> list[str]:
        with report.step(name) as lines:
            lines += nightshelf(list(arguments), env)
        return lines

    stage("generate", "generate", "--out", data, "--events", str(events), "--days", str(DAYS), "--seed", str(SEED))
    batch = json.loads(stage("ingest", "ingest", "--path", data, "--source", "nightshelf")[-1])
    run = ("--as-of", end_of_day(datetime.fromisoformat(batch["end_hour"])).isoformat())
    run += ("--snapshot", str(batch["snapshot"]))
    for steps in STAGES:
        stage(" ".join(steps), "run", *steps, *run)
    stage("gate", "gate", "--tables", "item_neighbors", "content_neighbors", "slates", *run)
    stage("publish", "publish", "--surfaces", "for_you", "similar", "bought_together", *run)
    return report


def write_json(report: Report, events: int) -> None:
    machine = {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    target = FOLDER / "nightly.json"
    target.write_text(json.dumps({"events": events, "machine": machine, "stages": report.as_dicts()}, indent=2) + "\n")
    print(f"written to {target}")


if __name__ == "__main__":
    sys.exit(guarded(main))
