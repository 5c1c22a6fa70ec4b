"""### The watch: is what is live fresh enough?

Every quarter of an hour asks Redis how old each live list is, and tells people once when one is too old, and once when
all is well again. It fails while something is too old; the other DAGs need not run for that.

- **Nobody watches the watch**: where Airflow itself may be down, let another clock call `nightshelf freshness` too.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable
from nightshelf_alerts import tell_once
from nightshelf_tasks import DEFAULT_ARGS, nightshelf

with DAG(
    "watch",
    schedule=CronDataIntervalTimetable("*/15 * * * *", timezone="UTC"),
    start_date=datetime(1997, 9, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=15),
    on_failure_callback=tell_once,
    default_args={**DEFAULT_ARGS, "retries": 0, "execution_timeout": timedelta(minutes=5)},
    tags=["nightshelf", "watch"],
    doc_md=__doc__,
):
    nightshelf("freshness", "freshness --tell")
