"""``make run``: the main job from raw events to slates over HTTP, through Airflow, on this machine.

DATA and SOURCE come from the environment, as make hands its variables on; without them a shop's month is generated.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from deploy.embedded import airflow, checks, house, java, people, redis
from deploy.embedded.command import nightshelf, some_people
from deploy.embedded.problems import REFUSED, Problem, guarded
from deploy.embedded.report import Report
from deploy.embedded.serving import serving

GENERATED = house.STATE / "generated"
EVENTS, DAYS, SEED = 50_000, 30, 1
N_PEOPLE = 5
PARAMS = {"nightly": {"every_hour": False}}  # a history may begin and end in the middle of a day


@dataclass(frozen=True)
class Input:
    """What is ingested, and where its lake is: one place for each source, so that their times never mix."""

    path: str
    source: str
    lake: Path
    namespace: str

    @classmethod
    def of(cls, data: str, source: str) -> "Input":
        if not data:
            return cls(str(GENERATED), "nightshelf", house.STATE, "ns")
        name = re.sub(r"[^a-z0-9_-]+", "-", Path(source).stem.lower())[:16]
        if source not in checks.shipped_sources():  # two files of one name are two sources
            name += f"-{hashlib.sha256(str(Path(source).absolute()).encode()).hexdigest()[:6]}"
        return cls(data, source, house.STATE / "sources" / name, f"ns-{name}")


def main() -> int:
    house.enter()
    data, source = os.environ.get("DATA", ""), os.environ.get("SOURCE", "")
    checks.check_data(data, source)
    wanted_port = os.environ.get("PORT", "")
    port = checks.check_port("127.0.0.1", wanted_port) if wanted_port else checks.free_port()
    with house.lock("make run"):
        run(Input.of(data, source), port)
    return 0


def run(given: Input, port: int) -> None:
    """Every step in order; Redis lives from before the first to after the last."""
    report = Report()
    env = house.environment(given.lake, given.namespace) | airflow.environment()
    env |= {
        "JAVA_HOME": java.find_java_home(),
        "NIGHTSHELF_SERVING__PORT": str(port),
        "NIGHTSHELF_SERVING__HOST": "127.0.0.1",
    }
    checks.check_settings(env)
    if given.path != str(GENERATED):
        nightshelf(["check-source", given.source], env)
    checks.check_disk()
    house.make_secret()
    (given.lake / "landing").mkdir(parents=True, exist_ok=True)
    with redis.running(env):
        with report.step("airflow database"):
            airflow.migrate(env)
        hour = load(given, env, report)
        run_dag("hourly", hour, env, report)
        end = end_of_day(hour)
        page = night(end, env, report)
        house.remember_release(lake=str(given.lake), namespace=given.namespace, path=given.path, source=given.source)
        show(given, env, port, report)
    print("\n".join([f"\nWhere the time went:\n{report.table()}\n", page, *what_next(given, end)]))


def what_next(given: Input, end: datetime) -> list[str]:
    """Lines on how to go on; by default the command `nightshelf` looks at the lake of the generated shop."""
    lake = f"NIGHTSHELF_LAKE__URI={given.lake / 'lake'}"
    own = [f"Commands on this data: {lake} nightshelf report --as-of {end.isoformat()}"]
    return [*(own if given.lake != house.STATE else []), "`make serve` reopens this release in the browser."]


def load(given: Input, env: Mapping[str, str], report: Report) -> datetime:
    """Generate unless it is there, ingest as one batch; gives the end of the last hour that has events."""
    if given.path == str(GENERATED) and not (GENERATED / "generated.json").exists():  # written last: the set is whole
        size = ["--events", str(EVENTS), "--days", str(DAYS), "--seed", str(SEED)]
        with report.step("generate", f"{EVENTS:,} events, {DAYS} days, seed {SEED}"):
            nightshelf(["generate", "--out", str(GENERATED), *size], env)
    with report.step("ingest", f"{given.path} as {given.source}") as lines:
        lines += nightshelf(["ingest", "--path", given.path, "--source", given.source], env)
    for line in lines[:-1]:
        print(f"    {line}")
    return datetime.fromisoformat(json.loads(lines[-1])["end_hour"])


def end_of_day(moment: datetime) -> datetime:
    """The first midnight at or after ``moment``."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if midnight == moment else midnight + timedelta(days=1)


def run_dag(dag: str, end: datetime, env: Mapping[str, str], report: Report, said: dict | None = None) -> None:
    """Under ``airflow dags test`` the logical date is the end of the data interval; ``said`` takes tasks' lines."""

    def finished(task: airflow.TaskRun) -> None:
        report.add(f"{dag}.{task.task}", task.seconds, task.lines)
        if said is not None:
            said[task.task] = task.lines

    with report.whole(f"{dag}: Airflow around its tasks"):
        airflow.test_dag(dag, end.isoformat(), PARAMS.get(dag, {}), env, finished)


def night(end: datetime, env: Mapping[str, str], report: Report) -> str:
    """The nightly DAG; gives the line about its page.

    Raises:
        Problem: a task failed; if the gate refused, it says where the page about that is.
    """
    said: dict[str, list[str]] = {}
    try:
        run_dag("nightly", end, env, report, said)
    except Problem as problem:
        if problem.code != REFUSED:
            raise
        raise Problem(f"{problem}; {why(end, said['snapshot'][-1], env, report)}", REFUSED) from None
    n_warnings = sum(line.count("; warning: ") for line in said["gate"])
    judged = "passed" if not n_warnings else f"passed, with {n_warnings} warning{'s' * (n_warnings > 1)}"
    return f"The night's report: {said['report'][-1]} (gate: {judged})"


def why(end: datetime, snapshot: str, env: Mapping[str, str], report: Report) -> str:
    """Writes the page about a refused night: the DAG ended before it came to that."""
    try:
        with report.step("report"):
            page = nightshelf(["report", "--as-of", end.isoformat(), "--snapshot", snapshot], env)[-1]
    except Problem as problem:
        return f"and no page says more: {problem}"
    return f"why: {page}"


def show(given: Input, env: Mapping[str, str], port: int, report: Report) -> None:
    """Serve, fetch a few people's slates, print them; where nobody has an id, what is the same for everybody."""
    with report.step("people"):
        ids = some_people(given.path, given.source, N_PEOPLE, env)
    with ExitStack() as stack:
        with report.step("serving"):
            url = stack.enter_context(serving(env, port))
        with report.step("slates over HTTP"):
            slates = [people.slate(url, person) for person in ids] or people.public_lists(url)
    print("\n" + "\n\n".join(slates))


if __name__ == "__main__":
    sys.exit(guarded(main))
