"""What Airflow says of the runs of a soak, by its API."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime

from deploy.embedded.http import DIRECT

DONE = ("success", "failed")
PAGE = 100
TRIES, PAUSE_S = 20, 1.0  # a busy SQLite answers with an error now and then


@dataclass(frozen=True)
class Run:
    """One run of a DAG in a backfill; ``place`` counts them by their interval, from 0."""

    dag: str
    run: str
    place: int
    state: str


class Runs:
    """Asks and tells the API server at ``url``, where everybody is an administrator."""

    def __init__(self, url: str):
        self.url = f"{url}/api/v2"

    def of(self, dag: str) -> list[Run]:
        """All runs by backfill, in the order of their intervals."""
        found: list[dict] = []
        while page := self.ask(f"/dags/{dag}/dagRuns?run_type=backfill&limit={PAGE}&offset={len(found)}")["dag_runs"]:
            found += page
        found.sort(key=lambda run: datetime.fromisoformat(run["logical_date"]))
        return [Run(dag, run["dag_run_id"], place, run["state"]) for place, run in enumerate(found)]

    def tasks(self, dag: str) -> list[str]:
        """Those that start a command."""
        tasks = self.ask(f"/dags/{dag}/tasks")["tasks"]
        return [task["task_id"] for task in tasks if task["class_ref"]["class_name"] != "TimeDeltaSensor"]

    def states(self, run: Run) -> dict[str, tuple[str, int]]:
        """Each task's state and the number of its last try."""
        rows = self.ask(f"/dags/{run.dag}/dagRuns/{run.run}/taskInstances?limit={PAGE}")["task_instances"]
        return {row["task_id"]: (row["state"], row["try_number"]) for row in rows}

    def unpause(self, dag: str) -> None:
        self.ask(f"/dags/{dag}?update_mask=is_paused", "PATCH", {"is_paused": False})

    def clear(self, run: Run, task: str) -> None:
        """Make one task run once more, and nothing after it."""
        what = {"dag_run_id": run.run, "task_ids": [task], "dry_run": False, "only_failed": False}
        self.ask(f"/dags/{run.dag}/clearTaskInstances", "POST", what)

    def ask(self, path: str, method: str = "GET", body: dict | None = None) -> dict:
        """One request, tried again while the server cannot.

        Raises:
            OSError: no try got through.
        """
        data = json.dumps(body).encode() if body else None
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        request = urllib.request.Request(self.url + path.replace("+", "%2B"), data, headers, method=method)
        for left in reversed(range(TRIES)):
            try:
                with DIRECT.open(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code < 500 or not left:
                    raise OSError(f"{method} {path}: {error} {error.read()[:500]!r}") from None
            except OSError:
                if not left:
                    raise
            time.sleep(PAUSE_S)
        raise AssertionError("unreachable")
