"""### The hour: new events in, trending out

For one UTC hour: ingests what has landed for it (nothing landed: an empty batch), computes what is trending as of the
end of the hour for everybody and for each segment, lets the gate judge it and publishes `trending`.

- **Late events** re-open their hour; a file ingested twice changes nothing. Any task may be cleared.
- If `gate` refuses, the live lists stay; its log names the expectation that failed. It is not retried.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable
from nightshelf_alerts import tell
from nightshelf_tasks import DEFAULT_ARGS, nightshelf

HOUR = "--interval {{ data_interval_start.isoformat() }} {{ data_interval_end.isoformat() }}"
RUN = (
    "--as-of {{ data_interval_end.isoformat() }} "
    "--snapshot {{ macros.json.loads(ti.xcom_pull(task_ids='ingest')).snapshot }}"
)

TASKS = (  # task, what `nightshelf` does in it, the tasks whose tables it reads
    ("ingest", f"ingest {HOUR}", []),
    ("trending", f"run trending {RUN}", ["ingest"]),
    ("gate", f"gate --tables trending {RUN}", ["trending"]),
    ("publish", f"publish --surfaces trending {RUN}", ["gate"]),
)

with DAG(
    "hourly",
    schedule=CronDataIntervalTimetable("0 * * * *", timezone="UTC"),
    start_date=datetime(1997, 9, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=3),  # a stuck hour must not keep the next ones waiting for long
    on_failure_callback=tell,
    default_args={**DEFAULT_ARGS, "execution_timeout": timedelta(minutes=30), "max_retry_delay": timedelta(minutes=10)},
    tags=["nightshelf", "stream"],
    doc_md=__doc__,
):
    tasks = {}
    for task, command, after in TASKS:
        tasks[task] = nightshelf(task, command)
        [tasks[name] for name in after] >> tasks[task]
