"""Compares two lakes row by row: what is committed, not which files hold it."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from jobs.rim.lake import Lake, as_of_of
from jobs.rim.lineage import MAKERS
from jobs.rim.manifest import Manifest, decode

RAW = ("events", "quarantine", "items", "users", "item_dictionary")
# A batch is named after all that went into it and says when: a retry may bring in one batch what two would have.
VOLATILE = {"events": ("ingested_at", "batch_id"), "quarantine": ("ingested_at", "batch_id")}


MARK = "partition"


@dataclass(frozen=True)
class Compared:
    """One table: its partitions (a raw one: 0) and rows in the undisturbed lake, and what only one of the lakes has."""

    table: str
    partitions: int
    rows: int
    missing: int
    surplus: int

    @property
    def equal(self) -> bool:
        return not self.missing and not self.surplus


def compare(soaked: Lake, calm: Lake) -> list[Compared]:
    """Every table of the lakes."""
    found = [compared(table, raw_rows(soaked, table), raw_rows(calm, table)) for table in RAW]
    for job in dict.fromkeys(MAKERS.values()):
        runs = newest(soaked, job), newest(calm, job)
        for table in (table for table, maker in MAKERS.items() if maker == job):
            found.append(compared(table, made_rows(soaked, runs[0], table), made_rows(calm, runs[1], table)))
    return found


def compared(table: str, soaked: Counter, calm: Counter) -> Compared:
    marks = {mark for mark in calm if mark[1] == MARK}
    rows = calm.total() - len(marks)
    return Compared(table, len(marks), rows, (calm - soaked).total(), (soaked - calm).total())


def raw_rows(lake: Lake, table: str) -> Counter:
    files = [file for batch in lake.batches() for file in batch.files.get(table, ())]
    return counted("", lake.read(table, files).drop_columns(list(VOLATILE.get(table, ()))))


def newest(lake: Lake, job: str) -> dict[datetime, Manifest]:
    """By ``as_of`` the run that was committed last."""
    found: dict[datetime, Manifest] = {}
    for key in lake.store.walk(f"manifests/{job}"):
        run = decode(Manifest, lake.store.get(key))
        if (before := found.get(as_of_of(key))) is None or before.created_at <= run.created_at:
            found[as_of_of(key)] = run
    return found


def made_rows(lake: Lake, runs: dict[datetime, Manifest], table: str) -> Counter:
    rows = Counter({(str(as_of), MARK): 1 for as_of in runs})  # one without rows is one, too
    for as_of, run in runs.items():
        rows += counted(str(as_of), lake.read(table, run.files[table]))
    return rows


def counted(partition: str, rows: pa.Table) -> Counter:
    """Rows as text, for lists and NaN too, each as often as it is there."""
    return Counter((partition, repr(row)) for row in rows.to_pylist())
