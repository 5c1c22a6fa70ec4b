"""Second pass of an ingest: a day at a time, what is new to the lake is completed, sorted and written."""

import uuid
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.rim.lake import Lake
from jobs.rim.manifest import Batch, DataFile
from jobs.sources.accounts import Accounts
from jobs.sources.convert import UTC_US
from jobs.sources.gather import Gather
from jobs.sources.late import TOO_LATE
from jobs.sources.sessions import fill_sessions, sole_owners, stitch
from jobs.sources.spool import hour_of, hours_of
from schemas.tables import EVENTS

FILE_ROWS = 500_000  # about 30 MB of events
COMMITTED = ["event_id", "event_time", "user_id", "session_id", "source"]


@dataclass(frozen=True)
class Stamp:
    """What every row of a batch carries."""

    batch_id: str
    source: str
    key_version: int
    ingested_at: datetime


class Writer:
    """One attempt at a batch on top of the batches seen; another batch in between asks for another attempt."""

    def __init__(self, lake: Lake, gathered: Gather, stamp: Stamp, batches: list[Batch]):
        self.lake, self.gathered, self.stamp, self.batches = lake, gathered, stamp, batches
        self.attempt = uuid.uuid4().hex[:8]
        self.accounts: Accounts = deepcopy(gathered.accounts)
        self.files: dict[str, list[DataFile]] = {}
        self.days: list[pa.Table] = []
        self.item_ids: set[str] = set(gathered.items["item_id"].to_pylist())

    def write(self) -> None:
        """Write every table; ``files`` and ``accounts`` are complete after it."""
        by_day = files_by_day(self.lake.files("events", len(self.batches)))
        for day in self.gathered.spool.days:
            self.write_day(day, by_day.get(day.isoformat(), []))
        self.write_days()
        refused = pa.concat_tables([*self.gathered.refused, self.too_late(by_day)])
        self.put("quarantine", self.stamped(refused))
        for table in ("items", "users"):
            self.put(table, getattr(self.gathered, table))
        self.put("item_dictionary", self.new_items())
        self.accounts.check()

    def too_late(self, by_day: dict[str, list[DataFile]]) -> pa.Table:
        """Rows for the quarantine; those the lake has are repeats."""
        late = self.gathered.late
        rows = late.unknown(lambda day: self.committed(day, by_day.get(day.isoformat(), []))["event_id"])
        known = late.held.num_rows - rows.num_rows
        self.accounts.duplicate += known
        self.accounts.known += known
        self.accounts.quarantined.update({TOO_LATE: rows.num_rows} if rows.num_rows else {})
        return rows

    def write_day(self, day: date, files: list[DataFile]) -> None:
        """Events of one UTC day that the lake does not have yet."""
        events, committed = self.gathered.spool.read(day), self.committed(day, files)
        new = pc.invert(pc.is_in(events["event_id"], committed["event_id"].combine_chunks()))
        known = events.num_rows - pc.sum(new).as_py()
        self.accounts.duplicate += known
        self.accounts.known += known
        events = self.complete(events.filter(new), committed)
        if not events.num_rows:
            return
        self.count(events)
        self.days.append(events)
        if sum(day.num_rows for day in self.days) >= FILE_ROWS:
            self.write_days()

    def write_days(self) -> None:
        """One file of the days waiting; it lies under the first, and the manifest says which hours it holds.

        A file a day would be right for a day's events, but a history of years would be thousands of small files, and
        each costs a reader tens of milliseconds.
        """
        events, self.days = pa.concat_tables(self.days) if self.days else pa.table({}), []
        for start in range(0, events.num_rows, self.gathered.chunk_rows):
            part = events.slice(start, self.gathered.chunk_rows)
            hours = hours_of(part["event_time"])
            self.put("events", part, f"events/dt={min(hours)[:10]}", hours)

    def committed(self, day: date, files: list[DataFile]) -> pa.Table:
        """What the lake has of the day, of all sources."""
        rows = nullable(self.lake.read("events", files, COMMITTED))
        low = pa.scalar(datetime(day.year, day.month, day.day, tzinfo=UTC), UTC_US)
        high = pa.scalar(low.as_py() + timedelta(days=1), UTC_US)
        return rows.filter(pc.and_(pc.greater_equal(rows["event_time"], low), pc.less(rows["event_time"], high)))

    def complete(self, events: pa.Table, committed: pa.Table) -> pa.Table:
        """Log-ins stitched, visits filled in, stamps on, sorted."""
        own = committed.filter(pc.equal(committed["source"], self.stamp.source))
        known = own.filter(pc.and_(pc.is_valid(own["session_id"]), pc.is_valid(own["user_id"])))
        pairs = pa.concat_tables([self.gathered.pairs, known.select(["session_id", "user_id"])])
        anonymous = events["user_id"].null_count
        if anonymous:
            theirs = events.filter(pc.is_null(events["user_id"]))["session_id"].combine_chunks()
            events = stitch(events, sole_owners(pairs.filter(pc.is_in(pairs["session_id"], theirs))))
        self.accounts.stitched += anonymous - events["user_id"].null_count
        events = self.stamped(fill_sessions(events, known, self.gathered.secret))
        key = pc.if_else(pc.is_valid(events["user_id"]), pa.scalar(self.stamp.key_version, pa.int8()), None)
        events = events.append_column("key_version", key)
        return events.select(EVENTS.names).sort_by([("event_time", "ascending"), ("event_id", "ascending")])

    def stamped(self, rows: pa.Table) -> pa.Table:
        stamps = {
            "source": pa.scalar(self.stamp.source),
            "ingested_at": pa.scalar(self.stamp.ingested_at, UTC_US),
            "batch_id": pa.scalar(self.stamp.batch_id),
        }
        for name, value in stamps.items():
            rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
        return rows

    def count(self, events: pa.Table) -> None:
        self.accounts.accepted += events.num_rows
        self.accounts.anonymous += events["user_id"].null_count
        for entry in pc.value_counts(events["kind"]).to_pylist():
            self.accounts.by_kind[entry["values"]] += entry["counts"]
        self.item_ids.update(pc.unique(events["item_id"]).drop_null().to_pylist())
        covered = [(batch.first_hour, batch.end_hour) for batch in self.batches]
        for hour, rows in hours_of(events["event_time"]).items():
            if any(low[:13] <= hour < high[:13] for low, high in covered):
                self.accounts.late += rows
                self.accounts.reopened[hour[:10]] += rows

    def new_items(self) -> pa.Table:
        """Dictionary rows of items it lacks; indexes go on where the newest batch stopped."""
        known = set(self.lake.dictionary(len(self.batches))["item_id"].to_pylist())
        new = sorted(self.item_ids - known)
        self.n_items = len(known) + len(new)
        index = np.arange(len(known), self.n_items, dtype=np.int32)
        return pa.table({"item_id": pa.array(new, pa.string()), "item_idx": index})

    def put(self, table: str, rows: pa.Table, folder: str = "", hours: dict[str, int] | None = None) -> None:
        """Write a file that exists once the batch names it."""
        if not rows.num_rows:
            return
        files = self.files.setdefault(table, [])
        key = f"{folder or table}/{self.stamp.batch_id}-{self.attempt}-{len(files):04d}.parquet"
        file = self.lake.write(key, table, rows)
        files.append(DataFile(file.path, file.rows, file.bytes, file.crc32, hours or {}))


def nullable(rows: pa.Table) -> pa.Table:
    """The same rows in a schema that joins with rows on their way."""
    return rows.cast(pa.schema([field.with_nullable(True) for field in rows.schema]))


def files_by_day(files: Iterable[DataFile]) -> dict[str, list[DataFile]]:
    """Committed event files by the UTC days they hold."""
    days: dict[str, list[DataFile]] = {}
    for file in files:
        for day in {hour[:10] for hour in file.hours}:
            days.setdefault(day, []).append(file)
    return days


def hour_range(files: Iterable[DataFile]) -> tuple[datetime, datetime] | None:
    """The first hour with rows and the end of the last; None without rows."""
    hours = [hour for file in files for hour in file.hours]
    return (hour_of(min(hours)), hour_of(max(hours)) + timedelta(hours=1)) if hours else None
