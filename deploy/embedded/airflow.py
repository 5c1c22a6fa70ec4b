"""Airflow on one machine: its environment, its database, and one run of a DAG by ``airflow dags test``."""

import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from deploy.embedded.house import LOGS, ROOT, STATE, setting
from deploy.embedded.problems import TEMPORARY, Problem, job_code
from deploy.embedded.processes import started

HOME = STATE / "airflow"
AIRFLOW = (sys.executable, "-m", "airflow")

# The lines of `airflow dags test` we look at; what a job prints comes through the hook.
TASK_START = re.compile(r"\[DAG TEST\] starting task_id=(\S+)")
JOB_START = re.compile(r"Running command: \[.*\.\w+Hook\]")
JOB_END = re.compile(r"Command exited with return code (-?\d+) .*\.\w+Hook\]")
JOB_LINE = re.compile(r"^\S+ \[\w+ *\] (.*?) *\[\S+\.\w+Hook\]")


def environment(port: int | None = None) -> dict[str, str]:
    """Airflow's settings; absolute, since airflow.cfg remembers the folder it was first made in."""
    home = (ROOT / HOME).absolute()
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "deploy" / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        # One who kills a task or the scheduler waits a minute or two, and not ten, until it goes on.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "120",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "60",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",  # one machine, one person, 127.0.0.1 only
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor"),
    }
    settings |= database(home, setting("airflow", "database"))
    if port:
        settings |= {"AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}", "AIRFLOW__API__WORKERS": "1"}
    return settings


def database(home: Path, url: str) -> dict[str, str]:
    """Airflow's settings for its database: PostgreSQL at ``url``, by one driver for both ways it asks; else SQLite.

    In SQLite scheduler, API and tasks write at once, so whoever comes second waits a minute before it gives up.
    """
    if not url:
        return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=60"}
    place = url.replace("postgresql://", "postgresql+psycopg://", 1)
    return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": place, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": place}


def migrate(env: Mapping[str, str]) -> None:
    """Make or bring up to date Airflow's database, once for each version of Airflow and place. Takes 10 s.

    Raises:
        Problem: it could not be done, as where PostgreSQL is away.
    """
    place = env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    stamp, wanted = HOME / "migrated", f"{version('apache-airflow')} {hashlib.sha256(place.encode()).hexdigest()[:12]}"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    HOME.mkdir(parents=True, exist_ok=True)
    log = LOGS / "airflow-migrate.log"
    with open(log, "w") as handle, started([*AIRFLOW, "db", "migrate"], env, handle) as process:
        if process.wait() != 0:
            where = "airflow.database" if place.startswith("postgresql") else HOME
            raise Problem(f"Airflow's database could not be made in {where}: see {log}", TEMPORARY)
    stamp.write_text(wanted)


@dataclass
class TaskRun:
    """A task as its log shows it: when its command ran, what it printed, how it ended."""

    task: str
    began: float = 0.0
    seconds: float = 0.0
    lines: list[str] = field(default_factory=list)
    code: int | None = None


def test_dag(dag: str, when: str, params: Mapping, env: Mapping[str, str], finished: Callable[[TaskRun], None]) -> None:
    """Run a DAG for the last data interval that ends at or before ``when``; ``finished`` hears of each task.

    Raises:
        Problem: a task failed, with its own error line and its exit code; a temporary failure is not waited out.
    """
    log, argv = LOGS / f"{dag}.log", [*AIRFLOW, "dags", "test", dag, when, "--conf", json.dumps(params)]
    # Asked to end, it would wait for its task's next try.
    with open(log, "w") as handle, started(argv, env, subprocess.PIPE, grace_s=0.5) as process:
        for run in task_runs(tee(process.stdout, handle)):
            if run.code:
                raise Problem(f"{dag}.{run.task} failed: {error_line(run)} (log: {log})", job_code(run.code))
            finished(run)
        if process.wait() != 0:
            raise Problem(f"Airflow could not run {dag}: see {log}", 1)


def tee(stream: Iterable[bytes], handle) -> Iterable[str]:
    for raw in stream:
        line = raw.decode(errors="replace").rstrip("\n")
        handle.write(line + "\n")
        handle.flush()
        yield line


def task_runs(lines: Iterable[str]) -> Iterable[TaskRun]:
    """Each task's command as soon as it has ended."""
    run = None
    for line in lines:
        if found := TASK_START.search(line):
            run = TaskRun(found[1])
        elif run and JOB_START.search(line):
            run.began = time.monotonic()
        elif run and (found := JOB_END.search(line)):
            run.code, run.seconds = int(found[1]), time.monotonic() - run.began
            yield run
        elif run and (found := JOB_LINE.search(line)):
            run.lines.append(found[1])


def error_line(run: TaskRun) -> str:
    """What the command complained about, else the last it said."""
    complaints = [line for line in run.lines if line.startswith("nightshelf: ")]
    return (complaints or run.lines or [f"exit code {run.code}"])[-1].removeprefix("nightshelf: ")
