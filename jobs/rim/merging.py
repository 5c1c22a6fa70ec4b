"""Small files of raw tables into large ones: the same rows, every one with its id and batch, for any snapshot.

Events go by UTC day once it is over, and by month once that is; each part is sorted by time. What is written is found
by the next checkpoint alone, so that a merge that is killed leaves garbage, and a reader never sees a row twice.
"""

import uuid
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.rim.checkpoint import Checkpoint, Stored
from jobs.rim.lake import Lake, hour_key
from jobs.rim.manifest import DataFile, iso
from schemas.arrow import arrow_schema, in_schema
from schemas.tables import TABLES

FULL_ROWS = 1_000_000  # of a merged file, about 60 MB of events: as many are held in memory while they are sorted
SMALL_ROWS = FULL_ROWS // 2  # a larger file is left as it is
FEWEST = 8  # small files of the catalogue that are worth writing it anew; of events two are
BY_BATCH = ("items", "users", "item_dictionary")
ORDER = [("event_time", "ascending"), ("event_id", "ascending")]


def plan(lake: Lake, snapshot: int, now: datetime) -> dict[str, list[list[Stored]]]:
    """By table the groups of files to merge, each into one."""
    groups = {"events": list(event_groups(lake.log.stored("events", snapshot), now))}
    for table in BY_BATCH:
        small = [one for one in lake.log.stored(table, snapshot) if one.file.rows < SMALL_ROWS]
        groups[table] = list(filled(small)) if len(small) >= FEWEST else []
    return {table: of for table, of in groups.items() if of}


def event_groups(stored: Iterable[Stored], now: datetime) -> Iterator[list[Stored]]:
    """Small files of one closed day or month, from the first hour on."""
    small = [one for one in stored if one.file.rows < SMALL_ROWS and one.file.hours]
    closed = [(period, one) for one in small if (period := closed_period(max(one.file.hours), now))]
    closed.sort(key=lambda pair: (pair[0], min(pair[1].file.hours), pair[1].file.path))
    for _, pairs in groupby(closed, key=lambda pair: pair[0]):
        yield from filled([one for _, one in pairs])


def closed_period(hour: str, now: datetime) -> str:
    """The month of an hour, or its day, if it is over for a day; else empty."""
    limit = hour_key(now - timedelta(days=1))
    return next((hour[:length] for length in (7, 10) if hour[:length] < limit[:length]), "")


def filled(files: list[Stored]) -> Iterator[list[Stored]]:
    """Cut where the next would make more than a full file; one alone needs no merging."""
    group: list[Stored] = []
    for one in files:
        if sum(other.file.rows for other in group) + one.file.rows > FULL_ROWS:
            yield from [group] if len(group) > 1 else []
            group = []
        group.append(one)
    yield from [group] if len(group) > 1 else []


def merge(lake: Lake, groups: dict[str, list[list[Stored]]], snapshot: int, now: datetime) -> bool:
    """Write the merged files and the checkpoint that names them; False when another was made meanwhile."""
    before = lake.log.checkpoint
    stem = f"merged-{uuid.uuid4().hex[:12]}"
    fresh: dict[str, list[Stored]] = {}
    for number, (table, group) in enumerate((table, group) for table, of in groups.items() for group in of):
        fresh.setdefault(table, []).append(merged(lake, table, group, f"{stem}-{number:04d}"))
    replaced = {one.file.path: iso(now) for of in groups.values() for group in of for one in group}
    return following(before, lake, snapshot, fresh, replaced, now).commit(lake.store)


def following(
    before: Checkpoint | None,
    lake: Lake,
    snapshot: int,
    fresh: dict[str, list[Stored]],
    replaced: dict[str, str],
    now: datetime,
) -> Checkpoint:
    """The checkpoint after one (None: the first)."""
    tables = {*(before.merged if before else ()), *fresh}
    older = before.merged if before else {}
    kept = {
        table: [*(one for one in older.get(table, ()) if one.file.path not in replaced), *fresh.get(table, ())]
        for table in sorted(tables)
    }
    gone = (before.replaced if before else {}) | replaced
    return Checkpoint(before.number + 1 if before else 1, iso(now), lake.batches(snapshot), kept, gone)


def merged(lake: Lake, table: str, group: list[Stored], name: str) -> Stored:
    """One file of the group's rows.

    Raises:
        ValueError: one of the group is not as its manifest says.
    """
    if table == "events":
        rows = pa.concat_tables([read_checked(lake, one.file, table) for one in group]).sort_by(ORDER)
        hours = summed(one.file.hours for one in group)
        file = lake.write(f"events/dt={min(hours)[:10]}/{name}.parquet", table, rows)
        return Stored(replace(file, hours=hours), [])
    pieces = sorted((piece for one in group for piece in runs_of(lake, one, table)), key=lambda piece: piece[0])
    rows = pa.concat_tables([rows for _, rows in pieces])
    return Stored(lake.write(f"{table}/{name}.parquet", table, rows), [(number, of.num_rows) for number, of in pieces])


def runs_of(lake: Lake, stored: Stored, table: str) -> Iterator[tuple[int, pa.Table]]:
    """A file's rows, batch by batch."""
    rows, start = read_checked(lake, stored.file, table), 0
    for number, n_rows in stored.runs:
        yield number, rows.slice(start, n_rows)
        start += n_rows


def read_checked(lake: Lake, file: DataFile, table: str) -> pa.Table:
    """All rows of a file in the table's schema of now, if it is as it was written: what is read here goes later."""
    with lake.store.fs.open_input_file(lake.store.path(file.path)) as source:
        data = source.read()
    if zlib.crc32(data) != file.crc32:
        raise ValueError(f"{file.path} is damaged: its CRC-32 is not the manifest's; nothing was merged")
    return in_schema(pq.read_table(pa.BufferReader(data)), arrow_schema(TABLES[table]))


def summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Rows by hour of several files."""
    total: dict[str, int] = {}
    for hour, rows in (pair for one in counts for pair in one.items()):
        total[hour] = total.get(hour, 0) + rows
    return dict(sorted(total.items()))
