"""What a soak runs on and kills: Airflow's three services and a Redis, started again as a service manager does."""

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from deploy.embedded import airflow, redis
from deploy.embedded.http import is_up
from deploy.embedded.problems import TEMPORARY, Problem
from deploy.embedded.processes import family, started, still_running
from deploy.embedded.scheduler import components

START_S = 400.0
GRACE_S = 1.0  # nothing of what they know is wanted afterwards
LEFT_S = 2.0  # for what a killed scheduler had started to go on without it, before the service is ended as a whole
HURRIED = {  # what a dead task, worker or scheduler costs in Airflow is a wait, by default of five minutes
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "4",
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "4",
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
}
POLICY = Path(__file__).with_name("airflow_local_settings.py")
SEVERAL = """\
import json, sys
from airflow.cli.cli_parser import get_parser
parser = get_parser()
for words in json.loads(sys.argv[1]):
    arguments = parser.parse_args(words)
    arguments.func(arguments)
"""


def airflow_environment(folder: Path, port: int) -> dict[str, str]:
    """Airflow's settings, in a home of its own, with short waits."""
    home = folder / "airflow"
    places = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=60",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor"),
    }
    return airflow.environment(port) | places | {f"AIRFLOW__{name}": value for name, value in HURRIED.items()}


class Stage:
    """The services of one soak; used as a context."""

    def __init__(self, folder: Path, env: Mapping[str, str], port: int):
        self.folder, self.env, self.url = folder, dict(env), f"http://127.0.0.1:{port}"
        self.argv = {name: [*airflow.AIRFLOW, *words] for name, words in components(port).items()}
        save = ("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--loglevel", "warning")
        self.argv["redis"] = [redis.find_server(), "--port", "0", "--unixsocket", "redis.sock", *save]
        self.stack, self.running = contextlib.ExitStack(), {}
        self.left: list[tuple[float, set[int]]] = []  # of killed schedulers: when to end what it started, and what
        self.ended_by_themselves: list[str] = []

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def prepare(self, *commands: list[str]) -> None:
        """Airflow's database with the policy of a soak, then commands of Airflow, in one process: its import is 5 s.

        Raises:
            Problem: one failed.
        """
        config = self.folder / "airflow" / "config"
        config.mkdir(parents=True)
        shutil.copy(POLICY, config)
        argv = [sys.executable, "-c", SEVERAL, json.dumps([["db", "migrate"], ["dags", "reserialize"], *commands])]
        with open(self.log("airflow-prepare"), "w") as log, started(argv, self.env, log) as process:
            if process.wait() != 0:
                raise Problem(f"Airflow could not be prepared: see {self.log('airflow-prepare')}", TEMPORARY)

    def start(self) -> None:
        """All services; the others need the API server."""
        self.launch("redis")
        for name in components(0):
            self.launch(name)
            self.wait_until_up()

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + START_S
        while not is_up(f"{self.url}/api/v2/version"):
            if time.monotonic() > deadline or self.running["api-server"].poll() is not None:
                raise Problem(f"Airflow's API did not come up: see {self.log('api-server')}", TEMPORARY)
            time.sleep(0.5)

    def launch(self, name: str) -> None:
        cwd = self.folder if name == "redis" else None
        with open(self.log(name), "a") as log:
            service = started(self.argv[name], self.env, log, cwd=cwd, grace_s=GRACE_S)
            self.running[name] = self.stack.enter_context(service)

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def kill(self, name: str) -> None:
        """SIGKILL a service: Redis comes back, empty, at once, the scheduler when what it had started was ended.

        A scheduler that has not come back yet is left alone.
        """
        if name == "scheduler" and self.left:
            return
        process = self.running[name]
        below = family(process.pid) - {process.pid}
        process.kill()
        process.wait()
        if name == "scheduler":
            self.left.append((time.monotonic() + LEFT_S, below))
        else:
            self.launch(name)

    def pids(self) -> set[int]:
        """Of the services and all below them."""
        return set().union(*(family(process.pid) for process in self.running.values()))

    def tend(self) -> None:
        """To be called now and then: starts what has to be started."""
        for moment, below in list(self.left):
            if time.monotonic() >= moment:
                end_all(below)
                self.left.remove((moment, below))
                self.launch("scheduler")
        for name, process in self.running.items():
            if process.poll() is not None and not (name == "scheduler" and self.left):
                self.ended_by_themselves.append(name)
                self.launch(name)


def end_all(pids: set[int]) -> None:
    """SIGKILL these and all below them, as the end of a service's control group does."""
    while alive := still_running(set().union(*(family(pid) for pid in pids), pids)):
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
