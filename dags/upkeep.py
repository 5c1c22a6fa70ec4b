"""### The upkeep: what is live stays alive, what nobody needs goes

Once a day, at an hour when neither of the other DAGs is busy; it computes nothing and publishes nothing.

- **`keep`** renews the keys in Redis of all that is live, pinned or kept, and unlinks the rest. It fails, and says
  which, when something live lacks keys or is about to expire: then publish again.
- **`tidy`** merges the lake's small files and removes what no manifest names. Beside running jobs it is safe.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable
from nightshelf_alerts import tell
from nightshelf_tasks import DEFAULT_ARGS, nightshelf

with DAG(
    "upkeep",
    schedule=CronDataIntervalTimetable("30 12 * * *", timezone="UTC"),
    start_date=datetime(1997, 9, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=6),
    on_failure_callback=tell,
    default_args={**DEFAULT_ARGS, "execution_timeout": timedelta(hours=2), "max_retry_delay": timedelta(minutes=30)},
    tags=["nightshelf"],
    doc_md=__doc__,
):
    nightshelf("keep", "keep")
    nightshelf("tidy", "tidy")
