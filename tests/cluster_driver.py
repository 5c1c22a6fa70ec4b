"""A driver on a cluster, as `nightshelf run` is one: the same steps in two lakes, an executor killed during the second.

Run by tests/test_cluster.py in a folder where the project cannot be imported by workers; settings from the environment.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from spark_cluster import executors_of, wait_until

from conf.settings import load_settings
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage, job
from jobs.rim.runner import run_step
from jobs.rim.spark_session import spark_session

KILLED = "candidates"  # the step an executor dies in: its tasks run Python, on what Spark SQL shuffled


def night(lake_uri: str, as_of: datetime, steps: list[str], session, before: dict[str, Callable]) -> None:
    """Run steps in a lake; ``before`` says what to do before some of them."""
    settings = load_settings(lake={"uri": lake_uri})
    lineage = Lineage(Lake.open(settings.lake), settings, as_of)
    for name in steps:
        before.get(name, lambda: None)()
        print(run_step(job(name), lineage, lambda: session), flush=True)


def kill_half_way(session) -> int:
    """Kill one executor while tasks work on what an earlier stage of theirs left with the executors; its id."""
    tracker = session.sparkContext.statusTracker()
    seen: set[int] = set()

    def half_way() -> bool:
        active = set(tracker.getActiveStageIds())
        seen.update(active)
        at_work = [info for info in map(tracker.getStageInfo, active) if info and info.numActiveTasks]
        return bool(at_work and seen - active)

    wait_until(half_way)
    victim = executors_of(session.sparkContext.applicationId)[0]
    os.kill(victim, signal.SIGKILL)
    return victim


def code_of_a_task(session) -> str:
    """Where a task finds the project."""
    return session.sparkContext.parallelize([0], 1).map(lambda _: __import__("jobs").__file__).first()


def main() -> None:
    whole, wounded, as_of, *steps = sys.argv[1:]
    as_of = datetime.fromisoformat(as_of)
    with spark_session(load_settings(), "cluster test", quick=True) as session, ThreadPoolExecutor(1) as killer:
        account = {"code": code_of_a_task(session)}
        night(whole, as_of, steps, session, {})
        application, kills = session.sparkContext.applicationId, []
        account["before"] = executors_of(application)
        night(wounded, as_of, steps, session, {KILLED: lambda: kills.append(killer.submit(kill_half_way, session))})
        account["killed"] = kills[0].result()
        wait_until(lambda: len(executors_of(application)) == len(account["before"]))
        print(json.dumps(account | {"after": executors_of(application)}), flush=True)


if __name__ == "__main__":
    main()
