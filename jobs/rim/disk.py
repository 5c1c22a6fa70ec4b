"""Is there room for what a step will shuffle and write? Asked before it fills the disk that others live on, too."""

import shutil
from datetime import datetime
from pathlib import Path

from jobs.rim.errors import TemporaryError
from jobs.rim.lineage import LIVE_RECIPE, RAW, Job, Lineage

SHUFFLED = 3  # bytes on Spark's disk for each byte of Parquet read: rows are spelled out, and stages lie side by side


def check_disk(of: Job, lineage: Lineage, start: datetime, spark_folder: Path) -> None:
    """Raise TemporaryError where the lake's disk has no room for as much as is read, or Spark's for a shuffle of it."""
    expected = input_bytes(of, lineage, start)
    lineage.lake.store.make_room(expected)
    if of.engine == "spark":
        folder = next(path for path in (spark_folder.absolute(), *spark_folder.absolute().parents) if path.is_dir())
        free = shutil.disk_usage(folder).free
        shuffled = SHUFFLED * expected
        if free < shuffled:
            told = f"{folder} has {free >> 20} MiB free; {of.name} may shuffle {shuffled >> 20} MiB"
            raise TemporaryError(f"{told}: free some space")


def input_bytes(of: Job, lineage: Lineage, start: datetime) -> int:
    """Of the files of events from ``start`` on and of computed tables that the step reads."""
    files = [
        file
        for table in of.inputs
        if table not in RAW and table != LIVE_RECIPE
        for file in lineage.resolve(table).files[table]
    ]
    if "events" in of.inputs:
        files += lineage.lake.event_files(lineage.snapshot, start, lineage.moment(of))
    return sum(file.bytes for file in files)
