"""### The night: yesterday's events become slates

For one UTC day: pins the newest batch of the lake, computes interactions and co-occurrence, learns how to rank once a
week (`recipe`), judges that on the days before (`evaluate`), fits every source, ranks everybody's candidates and makes
slates as of the end of the day, lets the gate judge all of it and publishes `for_you`, `similar` and `bought_together`.

- **Nothing moves without the gate.** If `gate` fails, the live release stays; its log names the expectation that
  failed. It is not retried: look at the data, then clear `gate`.
- **Any task may be cleared.** Steps already committed for the same inputs are skipped, so a second run changes nothing.
- **Backfills** work for any day since 1997-09-01; an older day never replaces a newer release.
"""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG, CronDataIntervalTimetable
from nightshelf_alerts import tell
from nightshelf_links import ReportedOperator, ReportOperator
from nightshelf_tasks import DEFAULT_ARGS, nightshelf

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
    "gate": {"operator": ReportedOperator, "retries": 0},
    "report": {"operator": ReportOperator, "trigger_rule": "all_done"},  # a refused night is the one to read about
}

with DAG(
    "nightly",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(1997, 9, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=tell,
    default_args={**DEFAULT_ARGS, "execution_timeout": timedelta(hours=3), "max_retry_delay": timedelta(minutes=30)},
    tags=["nightshelf", "batch"],
    doc_md=__doc__,
):
    # The day's last hour is ingested by an hourly run that starts at the same moment as this one.
    last_hour = TimeDeltaSensor(task_id="last_hour", delta=timedelta(minutes=20), mode="reschedule")
    tasks = {"snapshot": nightshelf("snapshot", "snapshot")}
    last_hour >> tasks["snapshot"]
    for task, command, after in TASKS:
        tasks[task] = nightshelf(task, f"{command} {RUN}", **OPTIONS.get(task, {}))
        [tasks[name] for name in after] >> tasks[task]
