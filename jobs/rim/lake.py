"""The lake: Parquet files that exist once a manifest names them, and manifests that are created once or not at all.

Raw tables (events, quarantine, items, users, item_dictionary) grow by numbered batches under ``batches/``: the number
is the lake's clock, and a *snapshot* N means batches 1..N. Computed tables live at ``table/as_of=…/v=…``; the version
is a hash of everything that went in, so an equal run finds its own result and a changed one writes beside it.
"""

import uuid
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conf.settings import Lake as LakeSettings
from jobs.rim.batch_log import BatchLog, Stored
from jobs.rim.event_parts import EventParts
from jobs.rim.manifest import Batch, DataFile, Manifest, compact, decode, encode
from jobs.rim.nulls import refuse_nulls
from jobs.rim.sight import Sight, View, in_force, view
from jobs.rim.store import open_store
from schemas.arrow import arrow_schema, in_schema
from schemas.tables import TABLES

ROW_GROUP_ROWS = 128_000


class Lake:
    """Reads and commits. Every method that writes leaves only files no manifest names if it dies half-way."""

    def __init__(self, store):
        self.store, self.log = store, BatchLog(store)

    @classmethod
    def open(cls, settings: LakeSettings) -> "Lake":
        return cls(open_store(settings))

    # raw tables: numbered batches

    def batches(self, snapshot: int | None = None) -> list[Batch]:
        """Batches 1..snapshot in order (all when None), as they were committed.

        Raises:
            UsageError: the snapshot is below 0 or newer than the lake.
        """
        return self.log.batches(snapshot)

    def view(self, snapshot: int) -> View:
        """The batches with the hours a reader at the snapshot sees."""
        return view(self.log.batches(snapshot))

    def sight(self, snapshot: int) -> Sight:
        """Which rows of ``event_files`` a reader at the snapshot sees."""
        return Sight(in_force(self.log.batches(snapshot)), self.log.unseen(snapshot))

    def snapshot(self) -> int:
        """Number of the newest batch; 0 for an empty lake."""
        return self.log.newest()

    def commit_batch(self, batch: Batch) -> bool:
        """Append the batch; False when another writer took its number first: look again and retry.

        Raises:
            ValueError: the batch before it is not there.
        """
        return self.log.commit(batch)

    # computed tables: one manifest per job, as_of and version

    def manifest(self, job: str, as_of: datetime, version: str) -> Manifest | None:
        """The committed run, or None."""
        data = self.store.get(manifest_key(job, as_of, version))
        return None if data is None else decode(Manifest, data)

    def commit(self, manifest: Manifest) -> bool:
        """Make the run's files visible; False when an equal run was committed first (its files are as good)."""
        as_of = datetime.fromisoformat(manifest.as_of)
        return self.store.put_if_absent(manifest_key(manifest.job, as_of, manifest.version), encode(manifest))

    def newest_runs(self, job: str, before: datetime, n: int, at: bool = False) -> list[Manifest]:
        """The runs of a job for the last ``n`` moments before one (or ``at`` it), oldest first.

        Of several runs for one moment the one committed last counts.
        """
        by_moment: dict[datetime, list[str]] = {}
        for key in self.store.walk(f"manifests/{job}"):
            moment = as_of_of(key)
            if moment < before or (at and moment == before):
                by_moment.setdefault(moment, []).append(key)
        last = [by_moment[moment] for moment in sorted(by_moment)[-n:]]
        runs = [[decode(Manifest, self.store.get(key)) for key in keys] for keys in last]
        return [max(equals, key=lambda run: (run.created_at, run.version)) for equals in runs]

    def runs_before(self, job: str, before: datetime) -> list[tuple[datetime, str]]:
        """``as_of`` and version of every run of a job for an earlier moment, the newest moment first."""
        runs = [(as_of_of(key), version_of(key)) for key in self.store.walk(f"manifests/{job}")]
        return sorted((run for run in runs if run[0] < before), reverse=True)

    # files

    def attempt_key(self, table: str, as_of: datetime, version: str) -> str:
        """A fresh folder for one attempt at writing a computed table."""
        return f"{table}/as_of={compact(as_of)}/v={version}/{uuid.uuid4().hex[:12]}"

    def write(self, key: str, table: str, rows: pa.Table) -> DataFile:
        """Write one Parquet file at ``key`` with the table's own schema; checks nullability.

        Raises:
            ValueError: a column that may not be null has nulls.
        """
        schema = arrow_schema(TABLES[table])
        rows = rows.select(schema.names).cast(schema)
        self.store.make_room()
        self.store.prepare(key)
        with self.store.fs.open_output_stream(self.store.path(key)) as sink:
            pq.write_table(rows, sink, compression="zstd", row_group_size=ROW_GROUP_ROWS)
        return self.describe(key, table)

    def describe(self, key: str, table: str) -> DataFile:
        """Read back a file just written: its rows, bytes, checksum; refuses nulls where the schema has none."""
        with self.store.fs.open_input_file(self.store.path(key)) as source:
            data = source.read()
        refuse_nulls(data, table, key)
        return DataFile(key, pq.read_metadata(pa.BufferReader(data)).num_rows, len(data), zlib.crc32(data))

    def describe_attempt(self, key: str, table: str) -> list[DataFile]:
        """The non-empty Parquet files one attempt wrote below ``key``."""
        keys = [path for path in self.store.list(key) if path.endswith(".parquet")]
        return [file for file in (self.describe(path, table) for path in keys) if file.rows]

    def read(
        self,
        table: str,
        files: list[DataFile],
        columns: list[str] | None = None,
        dictionaries: list[str] | None = None,
    ) -> pa.Table:
        """All rows of some files, in file order; an empty table when there are none.

        Texts of ``dictionaries`` stay as the files have them: each told once, and for each row which.
        """
        whole = arrow_schema(TABLES[table])
        fields = [whole.field(name) for name in columns or whole.names]
        coded = dictionaries or ()
        schema = pa.schema([f.with_type(pa.dictionary(pa.int32(), f.type)) if f.name in coded else f for f in fields])
        options = {"filesystem": self.store.fs, "columns": columns, "read_dictionary": dictionaries}
        parts = [pq.read_table(self.store.path(file.path), **options) for file in files]
        return pa.concat_tables([in_schema(part, schema) for part in parts]) if parts else schema.empty_table()

    def events(self, snapshot: int, start: datetime, end: datetime, columns: list[str]) -> EventParts:
        """Some columns of the events of [start, end) that a reader at the snapshot sees."""
        files = self.event_files(snapshot, start, end)
        return EventParts(self.store, files, start, end, tuple(columns), self.sight(snapshot))

    def iter_batches(self, files: list[DataFile], columns: list[str], rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Record batches of some files, in bounded memory."""
        for file in files:
            with self.store.fs.open_input_file(self.store.path(file.path)) as source:
                yield from pq.ParquetFile(source).iter_batches(batch_size=rows, columns=columns)

    def uris(self, files: list[DataFile]) -> list[str]:
        """Where Spark finds the files."""
        return [self.store.uri(file.path) for file in files]

    # raw tables as a reader at a snapshot sees them

    def event_files(self, snapshot: int, start: datetime, end: datetime) -> list[DataFile]:
        """Files that hold events of [start, end), from batches 1..snapshot; ``sight`` tells which rows are seen."""
        low, high = hour_key(start), hour_key(end)
        return [
            file
            for file in self.files("events", snapshot)
            if any(low <= hour < high or (hour == high and end != floor_hour(end)) for hour in file.hours)
        ]

    def files(self, table: str, snapshot: int) -> list[DataFile]:
        """All files of a raw table with rows of batches 1..snapshot, those merged in the place of what they replace."""
        return [stored.file for stored in self.log.stored(table, snapshot)]

    def dictionary(self, snapshot: int) -> pa.Table:
        """item_id and item_idx of all items known at the snapshot, by index."""
        rows = self.read("item_dictionary", self.files("item_dictionary", snapshot)).sort_by("item_idx")
        n_items = self.batches(snapshot)[-1].n_items if snapshot else 0
        return rows.filter(pc.less(rows["item_idx"], n_items))

    def current(self, table: str, snapshot: int, as_of: datetime) -> pa.Table:
        """Items or users as known at ``as_of``: the newest valid_from not after it; of equals, the later batch's."""
        parts = [self.numbered(table, stored, snapshot) for stored in self.log.stored(table, snapshot)]
        schema = arrow_schema(TABLES[table])
        if not parts:
            return schema.empty_table()
        rows = pa.concat_tables(parts)
        rows = rows.filter(pc.less_equal(rows["valid_from"], pa.scalar(as_of, schema.field("valid_from").type)))
        key = TABLES[table].key[0]
        rows = rows.sort_by([(key, "ascending"), ("valid_from", "ascending"), ("_number", "ascending")])
        ids = rows[key].combine_chunks()
        if len(ids) == 0:
            return schema.empty_table()
        last = pa.concat_arrays([pc.not_equal(ids[:-1], ids[1:]), pa.array([True])])
        return rows.filter(last).select(schema.names)

    def numbered(self, table: str, stored: Stored, snapshot: int) -> pa.Table:
        """The rows of a file that came in with batches 1..snapshot, each with its batch's number."""
        told = [(number, rows) for number, rows in stored.runs if number <= snapshot]
        numbers = np.repeat(np.array([number for number, _ in told], np.int64), [rows for _, rows in told])
        return self.read(table, [stored.file]).slice(0, len(numbers)).append_column("_number", pa.array(numbers))


def manifest_key(job: str, as_of: datetime, version: str) -> str:
    return f"manifests/{job}/as_of={compact(as_of)}/v={version}.json"


def as_of_of(key: str) -> datetime:
    """The ``as_of`` in the key of a manifest or of a computed table."""
    compacted = key.split("as_of=")[1].partition("/")[0]
    return datetime.strptime(compacted, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def version_of(key: str) -> str:
    """The version in the key of a manifest."""
    return key.rpartition("v=")[2].removesuffix(".json")


def hour_key(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H")


def floor_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
