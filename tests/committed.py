"""Tables committed as their jobs would, so that there is something to judge."""

from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
from lake_fixtures import rows

from conf.settings import Settings
from jobs.rim.lake import Lake
from jobs.rim.lineage import MAKERS, Lineage, job
from jobs.rim.manifest import DataFile, Manifest, iso
from schemas.tables import SCHEMA_VERSION


def commit(lineage: Lineage, table: str, content: pa.Table, checked: bool = True) -> str:
    """Commit a table as its job would; unchecked, as a broken writer might. Gives the file's key."""
    version = lineage.version(MAKERS[table])
    key = f"{lineage.lake.attempt_key(table, lineage.as_of, version)}/part-00000.parquet"
    if checked:
        files = [lineage.lake.write(key, table, content)] if content.num_rows else []
    else:
        lineage.lake.store.prepare(key)
        pq.write_table(content, lineage.lake.store.path(key))
        files = [DataFile(key, content.num_rows, 1, 0)]
    commit_files(lineage, MAKERS[table], {table: files})
    return key


def commit_all(lineage: Lineage, tables: dict[str, pa.Table]) -> None:
    """Commit all tables of one job."""
    name = MAKERS[next(iter(tables))]
    files = {}
    for table, content in tables.items():
        key = lineage.lake.attempt_key(table, lineage.as_of, lineage.version(name))
        files[table] = [lineage.lake.write(f"{key}/part-00000.parquet", table, content)]
    commit_files(lineage, name, files)


def commit_files(lineage: Lineage, name: str, files: dict[str, list[DataFile]]) -> None:
    """The job's other tables are empty."""
    record = Manifest(
        job=name,
        as_of=iso(lineage.moment(job(name))),
        version=lineage.version(name),
        created_at=iso(lineage.as_of),
        schema_version=SCHEMA_VERSION,
        code_version="tests",
        settings_hash="tests",
        snapshot=lineage.snapshot,
        inputs=lineage.inputs(job(name)),
        files={table: [] for table in job(name).outputs} | files,
        measured={},
    )
    assert lineage.lake.commit(record)


def unprobed(lake: Lake, settings: Settings, as_of: datetime, interactions: pa.Table) -> Lineage:
    """A night with these interactions in which nobody was probed; nothing to judge yet."""
    found = Lineage(lake, settings, as_of)
    commit(found, "interactions", interactions)
    commit(found, "probes", rows("probes"))
    return found
