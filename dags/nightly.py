"""### The night: yesterday's events become slates

For one UTC day: waits until each of its hours is in the lake and pins the newest batch (`snapshot`), computes
interactions and co-occurrence, learns how to rank once a week (`recipe`), judges that on the days before (`evaluate`),
fits every source, ranks everybody's candidates and makes slates as of the end of the day, lets the gate judge all of it
and publishes `for_you`, `similar` and `bought_together`.

- **If `snapshot` waits** its log names the missing hours: clear those runs of `hourly`. It gives up twelve hours after
  the day; of an older day it fails within minutes. To do without these hours, switch `every_hour` off.
- **Nothing moves without the gate.** If `gate` refuses, the live release stays; its log names the expectation that
  failed. It is not retried: look at the data, then clear `gate`.
- **Any task may be cleared.** Steps already committed for the same inputs are skipped, so a second run changes nothing.
- **Backfills** work for any day since 1997-09-01, in any order; an older day never replaces a newer release.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable, Param
from nightshelf_alerts import tell
from nightshelf_links import ReportedOperator, ReportOperator
from nightshelf_tasks import DEFAULT_ARGS, nightshelf
from nightshelf_waits import HoursSensor

DAY = "--interval {{ data_interval_start.isoformat() }} {{ data_interval_end.isoformat() }}"
ANYWAY = "{{ '' if params.every_hour else '--anyway' }}"
RUN = "--as-of {{ data_interval_end.isoformat() }} --snapshot {{ ti.xcom_pull(task_ids='snapshot') }}"

TASKS = (  # task, what `nightshelf` does in it, the tasks whose tables it reads
    ("prepare", "run interactions cooccurrence cold", ["snapshot"]),
    ("recipe", "run recipe", ["snapshot"]),
    ("evaluate", "run evaluate", ["recipe"]),
    ("fit", "run fit", ["recipe"]),
    ("rank", "run candidates slates", ["prepare", "recipe", "fit"]),
    ("gate", "gate --tables item_neighbors content_neighbors slates", ["prepare", "rank", "evaluate"]),
    ("publish", "publish --surfaces for_you similar bought_together", ["gate"]),
    ("report", "report", ["gate"]),
)
OPTIONS = {
    "snapshot": {"operator": HoursSensor, "execution_timeout": timedelta(minutes=10)},  # of one look
    "gate": {"operator": ReportedOperator},
    "report": {"operator": ReportOperator, "trigger_rule": "all_done"},  # a refused night is the one to read about
}

with DAG(
    "nightly",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(1997, 9, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # of scheduled runs; a backfill has a number of its own
    dagrun_timeout=timedelta(hours=24),
    on_failure_callback=tell,
    params={"every_hour": Param(True, type="boolean", description="Wait until every hour of the day is in the lake.")},
    default_args={**DEFAULT_ARGS, "execution_timeout": timedelta(hours=3), "max_retry_delay": timedelta(minutes=30)},
    tags=["nightshelf", "batch"],
    doc_md=__doc__,
):
    tasks = {"snapshot": nightshelf("snapshot", f"covered {DAY} {ANYWAY}", **OPTIONS["snapshot"])}
    for task, command, after in TASKS:
        tasks[task] = nightshelf(task, f"{command} {RUN}", **OPTIONS.get(task, {}))
        [tasks[name] for name in after] >> tasks[task]
