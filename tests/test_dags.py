"""Policy of all DAGs, the commands their tasks run, and DAGs under ``airflow dags test`` and the real scheduler.

The command ``nightshelf`` is a stub here that notes its arguments: what is tested is the driving, not the jobs. Only
alerts are told by the real one, to a webhook that hears them. Airflow keeps its state in a real PostgreSQL; in
test_backfill it has SQLite.
"""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import NEED
from listeners import webhook
from postgres_server import executable, postgres
from sqlalchemy import create_engine, text

from deploy.embedded import airflow as embedded
from deploy.embedded import processes
from deploy.embedded.checks import free_port
from deploy.embedded.problems import Problem
from deploy.embedded.scheduler import components, wait_until_up
from jobs.rim.lineage import RAW, job

ROOT = Path(__file__).absolute().parents[1]

# Whose as_of is a day that ends in 3 is refused, in 4 has something away, in 5 a wrong setting.
STUB = """\
#!/bin/sh
[ "$1" = alert ] && exec "$REAL_NIGHTSHELF" "$@"
echo "$*" >> "$STUB_CALLS"
case "$*" in
    ingest*) echo '{"snapshot": 7, "end_hour": "1998-04-22T23:00:00+00:00"}' ;;
    covered*-?6T*) echo "nightshelf: 3 of 24 hours are not in the lake: 1998-05-05T04..06" >&2; exit 75 ;;
    covered*) echo 7 ;;
    gate*--as-of?????-??-?3T*) echo "nightshelf: slates: min_fill 0.1 seen 0.05" >&2; exit 3 ;;
    run*--as-of?????-??-?4T*) echo "nightshelf: Redis is away" >&2; exit 75 ;;
    run*--as-of?????-??-?5T*) echo "nightshelf: setting recipe.every_days = 0" >&2; exit 2 ;;
esac
"""


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A real PostgreSQL; nothing, which is SQLite, where there is none: that is told below."""
    with postgres() if executable("initdb") else contextlib.nullcontext("") as url:
        yield url


@pytest.fixture(scope="module")
def stubbed(tmp_path_factory, database):
    """A home of its own for Airflow, in a folder with a space, and the stub first on PATH."""
    home = tmp_path_factory.mktemp("air flow")
    stub = home / "bin" / "nightshelf"
    stub.parent.mkdir()
    stub.write_text(STUB)
    stub.chmod(0o755)
    env = {**os.environ, **embedded.environment()}
    env |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor"),
        "PATH": os.pathsep.join([str(stub.parent), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "STUB_CALLS": str(home / "calls"),
        "REAL_NIGHTSHELF": str(Path(sys.executable).parent / "nightshelf"),
        "TZ": "America/New_York",
    } | embedded.database(home, database)
    airflow(env, "db", "migrate")
    return Stubbed(home, env)


class Stubbed:
    def __init__(self, home: Path, env: dict[str, str]):
        self.home, self.env = home, env

    def calls(self) -> list[str]:
        """What the stub was called with since the last look."""
        path = Path(self.env["STUB_CALLS"])
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


def airflow(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess:
    done = subprocess.run([*embedded.AIRFLOW, *arguments], env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


LOOK = """
import json, re, sys
from unittest.mock import Mock
from datetime import UTC, datetime, timedelta
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag
folder, touched, watching = Path(sys.argv[1]), set(), False
def hook(event, args):
    if watching and event in ("open", "sqlite3.connect", "socket.connect", "socket.getaddrinfo", "subprocess.Popen"):
        touched.add(f"{event} {args[0]}")
sys.addaudithook(hook)
def parse(): return BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags")
parse()  # pays for all imports
watching = True
bag = parse()
watching = False
assert not bag.import_errors, bag.import_errors
def task(t): return dict(down=sorted(t.downstream_task_ids), owner=t.owner, retries=t.retries,
    timeout=t.execution_timeout.total_seconds(), backoff=t.retry_exponential_backoff,
    policy=type(t.retry_policy).__name__, command=getattr(t, "bash_command", ""),
    cwd=getattr(t, "cwd", None), append=getattr(t, "append_env", None),
    skips=list(getattr(t, "skip_on_exit_code", [])))
def dag(d): return dict(tags=sorted(d.tags), doc=d.doc_md, catchup=d.catchup, runs=d.max_active_runs,
    start=d.start_date.isoformat(), table=type(d.timetable).__name__, timeout=d.dagrun_timeout.total_seconds(),
    cron=d.timetable.expression, tasks={t.task_id: task(t) for t in d.tasks})
def patience(hours, command):
    waits = type(bag.dags["nightly"].get_task("snapshot"))(task_id="waits", bash_command=command, env={})
    try:
        said = waits.poke({"data_interval_end": datetime.now(UTC) - timedelta(hours=hours), "ti": Mock()})
        return said.xcom_value if said else "not yet"
    except Exception as error:
        return "failed: " + re.search(r"exit code (-?\\d+)", str(error))[1]
cases = [(11, "echo; echo 7"), (11, "exit 75"), (13, "exit 75"), (13, "echo 8"), (11, "exit 2"), (11, "kill -9 $$")]
print("RESULT", json.dumps(dict(dags={n: dag(d) for n, d in bag.dags.items()}, touched=sorted(touched),
    seconds={stat.file: stat.duration.total_seconds() for stat in bag.dagbag_stats},
    patience=[patience(*case) for case in cases])))
"""


@pytest.fixture(scope="module")
def found(stubbed) -> dict:
    """What the policies look at, read in a process of its own: Airflow's import would change this one."""
    command = [sys.executable, "-c", LOOK, str(ROOT / "dags")]
    done = subprocess.run(command, env=stubbed.env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))[7:])


@pytest.fixture(scope="module")
def dags(found) -> dict:
    """By DAG id."""
    return found["dags"]


def test_dag_files_are_parsed_at_once_and_touch_nothing_but_themselves(found):
    assert len(found["seconds"]) >= 4
    assert all(seconds < 0.5 for seconds in found["seconds"].values()), found["seconds"]
    assert found["touched"]
    assert [event for event in found["touched"] if not event.startswith(f"open {ROOT / 'dags'}/")] == []


def test_a_night_waits_half_a_day_for_its_hours_and_for_nothing_else(found):
    """Eleven or thirteen hours after its end: pinned, not yet, too late, pinned all the same, wrong, killed."""
    assert found["patience"] == ["7", "not yet", "failed: 75", "8", "failed: 2", "failed: -9"]


CRON = {"nightly": "0 0 * * *", "hourly": "0 * * * *", "upkeep": "30 12 * * *", "watch": "*/15 * * * *"}


def test_every_dag_is_described_dated_and_calm(dags):
    assert dags.keys() == CRON.keys()
    for name, dag in dags.items():
        assert dag["doc"].startswith("### "), name
        assert "nightshelf" in dag["tags"], name
        assert (dag["catchup"], dag["runs"]) == (False, 1), name
        assert dag["start"] == "1997-09-01T00:00:00+00:00", name
        assert dag["table"] == "CronDataIntervalTimetable", name
        assert 0 < dag["timeout"] <= 24 * 3600, name
        assert dag["cron"] == CRON[name]


def test_every_task_is_owned_bounded_and_retried_with_growing_pauses(dags):
    for dag in dags.values():
        for name, task in dag["tasks"].items():
            assert task["owner"] == "nightshelf", name
            assert 0 < task["timeout"] <= 3 * 3600, name
            assert task["retries"] == (0 if name == "freshness" else 3), name
            assert (task["backoff"], task["policy"]) == (2.0, "FinalExitCodes"), name


def test_every_job_runs_in_the_project_folder_and_no_exit_code_is_a_skip(dags):
    jobs = [task for dag in dags.values() for task in dag["tasks"].values() if task["command"]]
    assert len(jobs) == 16
    for task in jobs:
        assert (task["cwd"], task["append"], task["skips"]) == (str(ROOT), True, [])


def test_no_task_looks_at_the_clock_or_at_ds(dags):
    commands = [task["command"] for dag in dags.values() for task in dag["tasks"].values()]
    assert not [c for c in commands if re.search(r"\bds\b|ds_nodash|logical_date|\bnow\b|today|macros\.datetime", c)]


def words_of(command: str) -> list[str]:
    return shlex.split(re.sub(r"\{\{.*?\}\}", "X", command))[1:]


def argument(words: list[str], option: str) -> set[str]:
    """The values of an option that is followed by ``--as-of``."""
    return set(words[words.index(option) + 1 : words.index("--as-of")])


def steps_of(command: str) -> list[str]:
    words = words_of(command)
    return words[1 : words.index("--as-of")] if words[0] == "run" else []


def made(command: str) -> set[str]:
    """Tables a task's command leaves, as the jobs declare them."""
    if words_of(command)[0] in ("ingest", "gate"):
        return set(RAW) if words_of(command)[0] == "ingest" else {"verdict"}
    return {table for step in steps_of(command) for table in job(step).outputs}


def read(command: str) -> set[str]:
    """Tables a task's command takes from before it."""
    words = words_of(command)
    if words[0] == "gate":  # slates are judged with what the recipe is worth; all else they rest on is before them
        tables = argument(words, "--tables")
        return tables | {"metrics"} if "slates" in tables else tables
    if words[0] in ("publish", "report"):
        return {"verdict"}
    return {table for step in steps_of(command) for table in job(step).inputs} - made(command)


@pytest.mark.parametrize("dag_id", ["nightly", "hourly"])
def test_edges_equal_table_lineage(dags, dag_id):
    tasks = {name: task for name, task in dags[dag_id]["tasks"].items() if task["command"]}
    makers = {table: name for name, task in tasks.items() for table in made(task["command"])}
    wanted = {(makers[t], name) for name, task in tasks.items() for t in read(task["command"]) if t in makers}
    if "snapshot" in tasks:  # it pins what comes from outside, so it precedes whoever reads nothing else
        wanted |= {("snapshot", name) for name in tasks.keys() - {"snapshot"} - {below for _, below in wanted}}
    edges = {(name, below) for name, task in tasks.items() for below in task["down"]}
    assert edges == wanted


def test_at_most_three_spark_starts_a_night(dags):
    """Where all that can be done without Spark is done by it."""
    commands = [task["command"] for task in dags["nightly"]["tasks"].values() if " run " in task["command"]]
    starts = [c for c in commands if any(job(step).engine != "local" for step in steps_of(c))]
    assert 1 <= len(starts) <= 3


@pytest.mark.slow
def test_a_failed_task_is_told_at_once_in_its_own_words_and_with_its_own_code(stubbed):
    """Under ``airflow dags test``, as `make run` has it: a temporary failure is not waited out."""
    finished = []
    stubbed.calls()
    with pytest.raises(Problem, match=r"nightly\.(prepare|recipe) failed: Redis is away") as problem:
        embedded.test_dag("nightly", "1998-06-14T00:00:00+00:00", {"every_hour": False}, stubbed.env, finished.append)
    assert problem.value.code == 75
    assert {run.task for run in finished} == {"snapshot"}
    calls = stubbed.calls()
    assert calls[0] == "covered --interval 1998-06-13T00:00:00+00:00 1998-06-14T00:00:00+00:00 --anyway"
    assert len(calls) == len(set(calls))  # nothing was tried twice


BACKFILLS = (("nightly", "1998-05-01", "1998-05-05"), ("hourly", "1998-05-01", "1998-05-01"))
LONG_AGO = "1997-09-01T00:00:00+00:00"
TO_COME = ("2098-05-05T00:00:00+00:00", "2098-05-06T00:00:00+00:00")


@pytest.fixture(scope="module")
def hook():
    with webhook() as server:
        yield server


@pytest.fixture(scope="module")
def scheduler(stubbed, hook):
    """The real scheduler, DAG processor and API server, with backfills to do.

    The backfills are asked for before anything else writes: SQLite refuses at once, whatever its time-out, a
    transaction that began by reading and was overtaken before its first write.
    """
    port = free_port()
    env = stubbed.env | embedded.environment(port) | {k: v for k, v in stubbed.env.items() if k.startswith("AIRFLOW__")}
    env |= {"AIRFLOW_HOME": str(stubbed.home), "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5"}
    env |= {"NIGHTSHELF_ALERTS__WEBHOOK_URL": f"http://127.0.0.1:{hook.server_address[1]}/"}
    airflow(env, "dags", "reserialize")
    airflow(env, "dags", "unpause", "-y", ".*ly", "--treat-dag-id-as-regex")
    for dag_id, first, last in BACKFILLS:  # one run for each interval that begins from first to last
        days = ("--from-date", first, "--to-date", last)
        airflow(env, "backfill", "create", "--dag-id", dag_id, *days, "--max-active-runs", "5")
    stubbed.calls()
    with contextlib.ExitStack() as stack:
        for name, arguments in components(port).items():
            log = stack.enter_context(open(stubbed.home / f"{name}.log", "w"))
            process = stack.enter_context(processes.started([*embedded.AIRFLOW, *arguments], env, log))
            wait_until_up({name: process}, f"http://127.0.0.1:{port}")
        watched = Scheduler(stubbed, f"http://127.0.0.1:{port}")
        stack.callback(watched.engine.dispose)
        yield watched


class Scheduler:
    """Asks Airflow's own database what became of runs: one query where its command line takes seconds."""

    def __init__(self, stubbed: Stubbed, url: str):
        self.stubbed, self.url = stubbed, url
        self.engine = create_engine(stubbed.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])

    def query(self, sql: str) -> list[tuple]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def end_runs(self, dag_id: str) -> None:
        """Of a backfill, too: they count against max_active_runs."""
        with self.engine.begin() as connection:
            unfinished = f"dag_id = '{dag_id}' and state in ('running', 'queued')"
            connection.execute(text(f"update dag_run set state = 'failed' where {unfinished}"))

    def trigger(self, dag_id: str, start: str, end: str) -> None:
        """A run for an interval, as from the UI's form; its other times are past, or the scheduler would wait."""

        def ask(path: str, body: dict | None = None, **headers) -> dict:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"} | headers)
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)

        token = ask("/auth/token")["access_token"]
        when = dict.fromkeys(("logical_date", "run_after"), LONG_AGO)
        run = when | {"data_interval_start": start, "data_interval_end": end, "dag_run_id": f"manual__{end}"}
        ask(f"/api/v2/dags/{dag_id}/dagRuns", run, Authorization=f"Bearer {token}")

    def wait(self, sql: str, wanted, limit_s: float = 240.0) -> list[tuple]:
        """The first answer that ``wanted`` likes."""
        deadline = time.monotonic() + limit_s
        while not wanted(rows := self.query(sql)):
            assert time.monotonic() < deadline, (
                f"{sql}: {rows}\n{(self.stubbed.home / 'scheduler.log').read_text()[-2000:]}"
            )
            time.sleep(0.5)
        return rows

    def tasks(self, dag_id: str, end: str, until: tuple[str, str]) -> dict[str, tuple[str, int]]:
        """Each task of a run → (state, tries), as soon as one task of it is in a state. A run is named by its end."""
        rows = self.wait(
            "select task_id, t.state, try_number from task_instance t join dag_run r using (dag_id, run_id) "
            f"where dag_id = '{dag_id}' and run_id like '%__{end}:00:00+00:00'",
            lambda rows: until in {row[:2] for row in rows},
        )
        return {task: (state, tries) for task, state, tries in rows}


@pytest.mark.slow
@pytest.mark.skipif(
    not executable("initdb"), reason=NEED.format(what="PostgreSQL", command="apt-get install postgresql")
)
def test_airflow_keeps_all_of_it_in_postgresql(scheduler):
    assert scheduler.engine.dialect.name == "postgresql"
    assert scheduler.query("select count(*) from dag_run")[0][0] >= 7  # and what is due today
    assert not (scheduler.stubbed.home / "airflow.db").exists()


@pytest.mark.slow
def test_each_task_gets_its_interval_and_the_pinned_snapshot(scheduler):
    scheduler.tasks("nightly", "1998-05-02T00", until=("publish", "success"))
    well = scheduler.tasks("nightly", "1998-05-02T00", until=("report", "success"))  # side by side with publish
    assert set(well.values()) == {("success", 1)}
    hour = scheduler.tasks("hourly", "1998-05-01T01", until=("publish", "success"))
    assert set(hour.values()) == {("success", 1)}
    calls = scheduler.stubbed.calls()
    run = "--as-of 1998-05-01T01:00:00+00:00 --snapshot 7"
    assert [call for call in calls if "1998-05-01T01" in call] == [
        "ingest --interval 1998-05-01T00:00:00+00:00 1998-05-01T01:00:00+00:00",
        f"run trending {run}",
        f"gate --tables trending {run}",
        f"publish --surfaces trending {run}",
    ]
    run = "--as-of 1998-05-02T00:00:00+00:00 --snapshot 7"
    assert "covered --interval 1998-05-01T00:00:00+00:00 1998-05-02T00:00:00+00:00" in calls
    night = [call.removesuffix(run).strip() for call in calls if call.endswith(run)]
    # what none of the others reads may come in any order: the edges are tested above
    before, gate, after = night[:5], night[5], night[6:]
    assert sorted(before) == [
        "run candidates slates", "run evaluate", "run fit", "run interactions cooccurrence cold", "run recipe"
    ]  # fmt: skip
    assert gate == "gate --tables item_neighbors content_neighbors slates"
    assert sorted(after) == ["publish --surfaces for_you similar bought_together", "report"]


@pytest.mark.slow
def test_the_real_scheduler_fails_at_once_what_no_retry_would_mend(scheduler):
    """Days side by side: the gate refuses, something is away, a setting is wrong."""
    refused = scheduler.tasks("nightly", "1998-05-03T00", until=("publish", "upstream_failed"))
    assert (refused["rank"], refused["gate"]) == (("success", 1), ("failed", 1))
    away = scheduler.tasks("nightly", "1998-05-04T00", until=("prepare", "up_for_retry"))
    assert away["rank"][0] is None
    wrong = scheduler.tasks("nightly", "1998-05-05T00", until=("publish", "upstream_failed"))
    assert wrong["prepare"] == ("failed", 1)


@pytest.mark.slow
def test_of_a_day_long_over_missing_hours_are_told_and_tried_again(scheduler):
    long_over = scheduler.tasks("nightly", "1998-05-06T00", until=("snapshot", "up_for_retry"))
    assert long_over["prepare"][0] is None
    logs = scheduler.stubbed.home.glob("logs/dag_id=nightly/*98-05-06*/task_id=snapshot/*")
    said = [path.read_text() for path in logs]
    assert said
    assert all("3 of 24 hours are not in the lake: 1998-05-05T04..06" in log for log in said)


@pytest.mark.slow
def test_the_real_dag_processor_tells_of_a_night_that_failed_for_good(scheduler, hook):
    deadline = time.monotonic() + 90
    while not (told := [body for _, _, body in hook.heard if body["task"] == "gate"]):
        assert time.monotonic() < deadline, hook.heard
        time.sleep(0.5)
    assert len(told) == 1
    assert (told[0]["dag"], told[0]["exit_code"], told[0]["reason"]) == ("nightly", 3, "task_failure")
    assert told[0]["line"] == "nightshelf: slates: min_fill 0.1 seen 0.05"
    assert told[0]["data_interval_end"] == "1998-05-03T00:00:00Z"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/dags/nightly/runs/backfill__1998-05-0[23]T\S+", told[0]["run_url"])


@pytest.mark.slow
def test_a_night_waits_for_the_hours_of_a_day_to_come(scheduler):
    """The last: it ends what the backfill has left to do."""
    scheduler.end_runs("nightly")
    scheduler.trigger("nightly", *TO_COME)
    waiting = scheduler.tasks("nightly", "2098-05-06T00", until=("snapshot", "up_for_reschedule"))
    assert waiting["prepare"][0] is None
