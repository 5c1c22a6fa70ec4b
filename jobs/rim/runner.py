"""Runs steps: resolve inputs by manifest, transform, write to a fresh attempt, commit. Skips what is committed."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from conf.settings import Settings
from jobs.kernels.threads import use_threads
from jobs.rim import spark_session
from jobs.rim.base import find_base, settled
from jobs.rim.disk import check_disk
from jobs.rim.heartbeat import heartbeat
from jobs.rim.lake import Lake
from jobs.rim.lineage import LIVE_RECIPE, MAKERS, RAW, Job, Lineage, code_version, job, settings_hash
from jobs.rim.manifest import Batch, DataFile, Manifest, iso
from jobs.rim.means import Means
from jobs.rim.memory import MemoryWatch, kernel_bytes, threads_here, watched
from jobs.rim.side_by_side import in_turn
from jobs.rim.stored_rows import StoredRows
from jobs.rim.told import describe_rows, describe_run, describe_warnings, rows_in
from schemas.tables import SCHEMA_VERSION, TABLES

WRITE_THREADS = 2  # for a table that comes in parts
LONGEST_UPLOAD = timedelta(days=1)  # of one file; whoever began an earlier one is not there any more
EVENT_COLUMNS = (  # what a local job gets of events unless it names others
    *("user_id", "item_id", "event_time", "kind", "value", "source"),
    *("price", "country", "device", "query"),
)


def run_steps(
    names: list[str], as_of: datetime, snapshot: int | None, settings: Settings, say: Callable = print
) -> None:
    """Run steps in order, starting Spark once and only if a step needs it."""
    lake = Lake.open(settings.lake)
    lineage = Lineage(lake, settings, as_of, snapshot)
    for name in names:
        lineage.version(name)  # reads the rules where a step uses them: wrong ones are told before any step has run
    require_inputs(names, lineage)
    lake.store.abort_uploads("", before=datetime.now(UTC) - LONGEST_UPLOAD)
    use_threads(threads_here(settings.spark))
    quick = n_events(lineage.batches) < settings.spark.quick_below_events
    with watched(settings.resources) as watch, ExitStack() as stack:
        spark = SparkOnDemand(stack, settings, " ".join(names), quick)
        for name in names:
            say(run_step(job(name), lineage, spark, watch))


class SparkOnDemand:
    """Called, gives the one session of a command, and starts it the first time."""

    def __init__(self, stack: ExitStack, settings: Settings, name: str, quick: bool):
        self.started = False
        self._open = lambda: stack.enter_context(spark_session.spark_session(settings, name, quick))

    def __call__(self):
        if not self.started:
            self.session, self.started = self._open(), True
        return self.session


def require_inputs(names: list[str], lineage: Lineage) -> None:
    """Raise TemporaryError, before anything is started, for an input no step of this run and no earlier run made."""
    made: set[str] = set()
    for of in map(job, names):
        for table in () if lineage.committed(of.name) else of.inputs:
            if table not in (*RAW, LIVE_RECIPE) and MAKERS[table] not in made:
                lineage.resolve(table)
        made.add(of.name)


def n_events(batches: list[Batch]) -> int:
    return sum(file.rows for batch in batches for file in batch.files.get("events", ()))


def run_step(of: Job, lineage: Lineage, spark: Callable, watch: MemoryWatch | None = None) -> str:
    """Run one step unless its version is committed; returns one line that says what happened."""
    version = lineage.version(of.name)
    done = lineage.committed(of.name)
    if done is not None:
        return f"{of.name}: already committed as {version} ({describe_rows(done)}){describe_warnings(done)}"
    first = settled(of, lineage) if of.base else None
    with heartbeat(of.name):
        if first is not None and first.committed(of.name) is None:
            compute(of, first, spark, watch)
        manifest = compute(of, lineage, spark, watch)
    return f"{of.name}: {describe_run(manifest)}"


def compute(of: Job, lineage: Lineage, spark: Callable, watch: MemoryWatch | None) -> Manifest:
    """Read, transform, write, commit."""
    session = spark() if of.engine == "spark" else None
    started = time.monotonic()
    if watch:
        watch.reset()
    as_of, version = lineage.moment(of), lineage.version(of.name)
    inputs = read_inputs(of, lineage, session)
    if of.engine == "either":
        inputs["means"] = means(of, lineage, inputs, spark)
    results = of.transform(inputs, as_of, lineage.settings)
    files = {table: write_output(table, results[table], lineage.lake, as_of, version) for table in of.outputs}
    measured = {"seconds": round(time.monotonic() - started, 3), "rows_in": rows_in(of, lineage, inputs)}
    measured |= results.get("measured", {})
    measured |= inputs["base"].measured(lineage) if of.base else {}
    if watch:
        watch.sample()
        measured["peak_memory_mb"] = watch.peak_bytes >> 20
    manifest = build_manifest(of, lineage, version, files, measured)
    lineage.lake.commit(manifest)
    return manifest


def means(of: Job, lineage: Lineage, inputs: Mapping, spark: Callable) -> Means:
    wanted, started = lineage.settings.resources, getattr(spark, "started", True)
    rooms = kernel_bytes(wanted, beside_spark=started), kernel_bytes(wanted, beside_spark=True)
    start = inputs["base"].start if of.base else lineage.window_start(of)
    return Means(*rooms, lambda table: read_spark(table, of, lineage, start, spark()))


def read_inputs(of: Job, lineage: Lineage, session) -> Mapping:
    """Each declared input: a Spark DataFrame, or Arrow for local jobs and ``arrow_inputs``; rules where declared."""
    local = of.arrow_inputs if of.engine == "spark" else of.inputs
    base = find_base(of, lineage) if of.base else None
    start = base.start if base else lineage.window_start(of)
    check_disk(of, lineage, start, spark_session.FOLDER)

    def read(table: str):
        return (
            read_arrow(table, of, lineage, start) if table in local else read_spark(table, of, lineage, start, session)
        )

    tables = {table: read(table) for table in of.inputs}
    if base and base.run:
        base = replace(base, rows=StoredRows(lineage.lake, of.base, base.run.files[of.base]))
    return tables | ({"rules": lineage.rules} if of.rules else {}) | ({"base": base} if base else {})


def read_arrow(table: str, of: Job, lineage: Lineage, start: datetime):
    lake = lineage.lake
    if table in ("items", "users"):
        return lake.current(table, lineage.catalogue_snapshot(of), lineage.moment(of))
    if table == "item_dictionary":
        return lake.dictionary(lineage.snapshot)
    if table == "event_weights":
        return event_weights(lineage.batches)
    if table == "events":
        return lake.events(lineage.snapshot, start, lineage.moment(of), list(of.columns.get(table, EVENT_COLUMNS)))
    if table == LIVE_RECIPE:
        live = lineage.live_recipe(of)
        return lake.read("recipe", live.files["recipe"] if live else [])
    columns = of.columns.get(table)
    if of.engine == "either" and columns:
        return StoredRows(lake, table, lineage.resolve(table).files[table])
    return lineage.read(table, list(columns), texts_of(table, columns)) if columns else lineage.read(table)


def texts_of(table: str, columns: tuple[str, ...]) -> list[str]:
    return [column.name for column in TABLES[table].columns if column.name in columns and column.type == "string"]


def event_weights(batches: list[Batch]):
    """What an event says of a user's interest, by source; a source's newest batch decides."""
    import pyarrow as pa

    from schemas.arrow import arrow_schema

    newest = {batch.source: batch.accounts.get("weights", []) for batch in batches if not batch.exclusion}
    rows = [{"source": source} | weight for source, weights in newest.items() for weight in weights]
    return pa.Table.from_pylist(rows, arrow_schema(TABLES["event_weights"]))


def read_spark(table: str, of: Job, lineage: Lineage, start: datetime, session):
    """Spark reads the files the manifests name; events are cut to those from ``start`` to ``as_of``."""
    from pyspark.sql import functions as F

    from schemas.spark import spark_schema

    if table == "events":
        files = lineage.lake.event_files(lineage.snapshot, start, lineage.moment(of))
        inside = (F.col("event_time") >= start) & (F.col("event_time") < lineage.moment(of))
        seen = lineage.lake.sight(lineage.snapshot).condition()
        return StoredRows(lineage.lake, table, files).frame(session).where(inside & seen)
    if table not in RAW:
        return StoredRows(lineage.lake, table, lineage.resolve(table).files[table]).frame(session)
    rows, schema = read_arrow(table, of, lineage, start), spark_schema(TABLES[table])
    return session.createDataFrame(rows, schema) if rows.num_rows else session.createDataFrame([], schema)


def write_output(table: str, rows, lake: Lake, as_of: datetime, version: str) -> list[DataFile]:
    """Write to an attempt's own folder; nothing sees it before the manifest names it."""
    key = lake.attempt_key(table, as_of, version)
    lake.store.make_room()
    if isinstance(rows, list | Iterator):
        parts = ((f"{key}/part-{k:05d}.parquet", table, part) for k, part in enumerate(rows) if part.num_rows)
        return list(in_turn(lambda part: lake.write(*part), parts, WRITE_THREADS))
    if hasattr(rows, "sparkSession"):
        from schemas.spark import spark_schema

        columns = [rows[field.name].cast(field.dataType).alias(field.name) for field in spark_schema(TABLES[table])]
        try:
            rows.select(columns).write.parquet(lake.store.uri(key))
        finally:
            lake.store.abort_uploads(key)  # those of tasks that were killed
        return lake.describe_attempt(key, table)
    return [lake.write(f"{key}/part-00000.parquet", table, rows)] if rows.num_rows else []


def build_manifest(of: Job, lineage: Lineage, version: str, files: dict, measured: dict) -> Manifest:
    return Manifest(
        job=of.name,
        as_of=iso(lineage.moment(of)),
        version=version,
        created_at=iso(datetime.now(UTC)),
        schema_version=SCHEMA_VERSION,
        code_version=code_version(),
        settings_hash=settings_hash(lineage.settings, of.settings),
        snapshot=lineage.snapshot,
        inputs=lineage.inputs(of),
        files=files,
        measured=measured,
    )
