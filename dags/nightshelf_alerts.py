"""Who hears of a run that failed for good: the callback that calls ``nightshelf alert``.

Airflow runs it in its DAG processor once all tasks of the run have ended, and stops what takes longer than its
``dag_file_processor_timeout`` (50 s). So that process needs the command and its settings, as the tasks do.
"""

import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from airflow.sdk import Context
from airflow.sdk.configuration import conf
from nightshelf_links import report_path
from nightshelf_operator import FAILURE

PROJECT = Path(__file__).parents[1]  # the settings' relative paths start here
TIMEOUT_S = 40
TOLD_ITSELF = 4  # `nightshelf freshness` found a release too old, and told it once


def tell(context: Context) -> None:
    """Tell of a failed run; not being able to is a line in the log, and no second failure."""
    call("alert", "--dag", context["dag"].dag_id, "--run", context["run_id"], *details(context))


def tell_once(context: Context) -> None:
    """As ``tell``, for a DAG that looks at one thing again and again: not where the run before had failed, too."""
    ti = context.get("ti")
    before = ti and ti.get_previous_dagrun()
    if (
        not (before and before.state == "failed")
        and failure(context, ti and ti.task_id).get("exit_code") != TOLD_ITSELF
    ):
        tell(context)


def call(*arguments: str) -> None:
    try:
        done = subprocess.run(
            ["nightshelf", *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        print(done.stdout + done.stderr)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"nightshelf alert could not run: {type(error).__name__}")


def details(context: Context) -> list[str]:
    """What is known beside the run's name: after a time-out of the whole run, for example, no task is."""
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    found = {
        "--reason": context.get("reason"),
        "--url": f"{base}/dags/{context['dag'].dag_id}/runs/{quote(context['run_id'])}" if base else None,
    }
    interval, also = [], []
    if start := context.get("data_interval_start"):
        interval = ["--interval", start.isoformat(), context["data_interval_end"].isoformat()]
    if failed := failed_tasks(context):
        how = failure(context, failed[0])
        found |= {"--task": failed[0], "--exit-code": how.get("exit_code"), "--line": how.get("line")}
        also = ["--also", *failed[1:]] if failed[1:] else []
    if base and (path := report_path(pulled(context, "report", "return_value"))):
        found["--report"] = base + path
    return [f"{name}={value}" for name, value in found.items() if value not in (None, "")] + interval + also


def failed_tasks(context: Context) -> list[str]:
    """Tasks of the run that failed themselves, causes before consequences."""
    ti, dag = context.get("ti"), context["dag"]
    if ti is None:
        return []
    states = {ti.task_id: "failed"}
    with suppress(Exception):  # the one Airflow names is better than none
        states = ti.get_task_states(dag_id=dag.dag_id, run_ids=[context["run_id"]])[context["run_id"]]
    return [task.task_id for task in dag.topological_sort() if states.get(task.task_id) == "failed"]


def failure(context: Context, task_id: str | None) -> dict:
    """How its command ended: ``exit_code`` and ``line``; nothing where it was killed or did not start."""
    return pulled(context, task_id, FAILURE) or {} if task_id else {}


def pulled(context: Context, task_id: str, key: str):
    """An XCom of the run; None where there is none, or no task to ask as."""
    with suppress(Exception):
        return context["ti"].xcom_pull(task_ids=task_id, key=key)
    return None
