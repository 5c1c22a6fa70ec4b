"""Airflow's cluster policy of a soak, in the config folder of its home: the DAGs as they are, but with as many tries as
there may be kills, without the pauses between tries that failures of a real night call for, and with an end, lest the
scheduler adds today's hour to the backfilled ones.
"""

import os
from datetime import datetime, timedelta


def dag_policy(dag) -> None:
    """Called by Airflow for every DAG that is read from a file."""
    dag.end_date = datetime.fromisoformat(os.environ["SOAK_END"])


def task_policy(task) -> None:
    """Called by Airflow for every task of it."""
    task.retries = 50
    task.retry_delay = timedelta(seconds=1)
    task.retry_exponential_backoff = 0.0
    task.max_retry_delay = None
