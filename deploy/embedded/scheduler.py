"""``make airflow``: scheduler, DAG processor and UI, until Ctrl-C.

The DAGs start paused, as Airflow has it: whoever wants the clock to drive them unpauses them. There is no triggerer,
since no task defers.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from deploy.embedded import airflow, checks, house, java, redis
from deploy.embedded.http import is_up
from deploy.embedded.problems import TEMPORARY, Problem, guarded
from deploy.embedded.processes import started

PORT = "8331"
START_S = 180.0


def main() -> int:
    house.enter()
    port = checks.check_port("127.0.0.1", os.environ.get("PORT") or PORT)
    checks.check_disk()
    with house.lock("make airflow", shared=True):
        env = environment(port)
        checks.check_settings(env)
        house.make_secret()
        airflow.migrate(env)
        with redis.kept(env) as ensure:
            keep_running(env, port, ensure)
    return 0


def environment(port: int) -> dict[str, str]:
    """As a run has it; on the lake of the last run, if there was one."""
    place = house.last_release() if house.RELEASE.exists() else {"lake": str(house.STATE), "namespace": "ns"}
    lake = Path(place["lake"])
    (lake / "landing").mkdir(parents=True, exist_ok=True)
    env = house.environment(lake, place["namespace"]) | airflow.environment(port)
    return env | {"JAVA_HOME": java.find_java_home()}


def components(port: int) -> dict[str, list[str]]:
    """In the order to start them: the others need the API server."""
    return {
        "api-server": ["api-server", "--host", "127.0.0.1", "--port", str(port)],
        "scheduler": ["scheduler", "--skip-serve-logs"],
        "dag-processor": ["dag-processor"],
    }


def keep_running(env: dict[str, str], port: int, ensure: Callable[[], None]) -> None:
    """Until a signal, or until a component ends by itself.

    Raises:
        Problem: one did, or the UI did not come up.
    """
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        running = {}
        for name, arguments in components(port).items():
            log = stack.enter_context(open(log_of(name), "w"))
            running[name] = stack.enter_context(started([*airflow.AIRFLOW, *arguments], env, log))
            wait_until_up(running, url)  # tasks report to the API server: without it their first try fails
        print(f"Airflow at {url} until Ctrl-C; all DAGs start paused.", flush=True)
        print(f"Logs: {house.LOGS}/airflow-*.log and {airflow.HOME}/logs", flush=True)
        while True:
            fail_if_ended(running)
            ensure()
            time.sleep(0.5)


def wait_until_up(running: dict[str, subprocess.Popen], url: str) -> None:
    deadline = time.monotonic() + START_S
    while not is_up(f"{url}/api/v2/version"):
        fail_if_ended(running)
        if time.monotonic() > deadline:
            raise Problem(f"Airflow's UI did not come up at {url}: see {log_of('api-server')}", TEMPORARY)
        time.sleep(0.5)


def fail_if_ended(running: dict[str, subprocess.Popen]) -> None:
    for name, process in running.items():
        if process.poll() is not None:
            raise Problem(
                f"Airflow's {name} ended by itself (exit code {process.returncode}): see {log_of(name)}", TEMPORARY
            )


def log_of(component: str) -> Path:
    return house.LOGS / f"airflow-{component}.log"


if __name__ == "__main__":
    sys.exit(guarded(main))
