"""Airflow's cluster policy of a soak, in the config folder of its home: the DAGs as they are, but with as many tries as
there may be kills, and without the pauses between tries that failures of a real night call for.
"""

from datetime import timedelta


def task_policy(task) -> None:
    """Called by Airflow for every task when a DAG file is read."""
    task.retries = 50
    task.retry_delay = timedelta(seconds=1)
    task.retry_exponential_backoff = 0.0
    task.max_retry_delay = None
