"""Calls the DAGs' callbacks in a process of its own, with contexts as Airflow's DAG processor makes them.

Prints a JSON list: for each case of standard input what ``nightshelf`` was called with, or null.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1] / "dags"))
import nightshelf_alerts

RUN = "scheduled__2026-01-31T00:00:00+00:00"
START, END = datetime(2026, 1, 30, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)


class Task(SimpleNamespace):
    """A task as which the run can be asked; it answers out of the case."""

    def get_task_states(self, dag_id, run_ids):
        return {run_ids[0]: self.case["states"]}

    def xcom_pull(self, task_ids, key):
        return self.case["xcoms"].get(f"{task_ids}.{key}")

    def get_previous_dagrun(self):
        return SimpleNamespace(state=self.case["before"]) if self.case["before"] else None


def context(case: dict) -> dict:
    dag = SimpleNamespace(
        dag_id="nightly", topological_sort=lambda: [Task(task_id=t) for t in ("fit", "gate", "report")]
    )
    found = {"dag": dag, "run_id": RUN, "reason": "task_failure"}
    if "states" in case:
        found |= {"ti": Task(task_id="gate", case=case), "data_interval_start": START, "data_interval_end": END}
    return found


def called(case: dict) -> list[str] | None:
    calls = []
    nightshelf_alerts.call = lambda *arguments: calls.append(arguments)
    getattr(nightshelf_alerts, case["callback"])(context(case))
    return list(calls[0]) if calls else None


if __name__ == "__main__":
    print("RESULT", json.dumps([called(case) for case in json.load(sys.stdin)]))
