"""What a year of hourly batches costs whoever reads it, before and after ``nightshelf tidy``.

usage: python -m benchmarks.year [HOURS]     prints JSON; 8760 hours unless told, in a lake of their own under TMPDIR

Forty events an hour: what is measured is the files, not the events. Of three times the middle one counts.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa

from conf.settings import Settings, load_settings
from jobs.rim.lake import Lake, hour_key
from jobs.rim.lineage import Lineage, code_version
from jobs.rim.manifest import Batch, DataFile, iso
from jobs.tidy import tidy
from schemas.arrow import arrow_schema
from schemas.tables import SCHEMA_VERSION, TABLES

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
EVENTS, USERS, ITEMS = 40, 2_000, 500  # an hour; in all
WEIGHTS = [{"kind": "view", "value": None, "weight_micro": 1_000_000}]
TIMES = 3


def main(arguments: list[str]) -> int:
    hours = int(arguments[0]) if arguments else 8_760
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(lake={"uri": f"{folder}/lake", "min_free_mb": 0})
        fill(Lake.open(settings.lake), hours)
        before = measured(settings, hours)
        began, said = time.perf_counter(), []
        tidy(settings, datetime.now(UTC), False, said.append)
        took = time.perf_counter() - began
        tidy(settings, datetime.now(UTC) + timedelta(days=2), False, said.append)
        told = {"hours": hours, "before": before, "tidy_s": round(took, 2), "said": said}
        print(json.dumps(told | {"after": measured(settings, hours)}, indent=2))
    return 0


def fill(lake: Lake, hours: int) -> None:
    """A batch an hour; each day's first brings the catalogue anew, the first hours an item each."""
    rng = np.random.default_rng(0)
    for number in range(1, hours + 1):
        hour = BEGIN + timedelta(hours=number - 1)
        files = {"events": [write(lake, number, hour, rng)]}
        if number <= ITEMS:
            row = pa.table({"item_id": [f"i{number - 1}"], "item_idx": pa.array([number - 1], pa.int32())})
            files["item_dictionary"] = [lake.write(f"item_dictionary/b{number}.parquet", "item_dictionary", row)]
        if number % 24 == 1:
            files["items"] = [lake.write(f"items/b{number}.parquet", "items", catalogue(hour))]
        assert lake.commit_batch(batch(number, hour, files))


def write(lake: Lake, number: int, hour: datetime, rng: np.random.Generator) -> DataFile:
    times = sorted(hour + timedelta(seconds=int(s)) for s in rng.integers(0, 3_600, EVENTS))
    known = min(number, ITEMS)
    columns = {
        "event_id": [f"{number}-{k}" for k in range(EVENTS)],
        "event_time": times,
        "kind": ["view"] * EVENTS,
        "user_id": [f"{user:032x}" for user in rng.integers(0, USERS, EVENTS)],
        "key_version": [1] * EVENTS,
        "item_id": [f"i{item}" for item in rng.integers(0, known, EVENTS)],
        "source": ["year"] * EVENTS,
        "ingested_at": [hour] * EVENTS,
        "batch_id": [f"b{number}"] * EVENTS,
    }
    file = lake.write(f"events/dt={hour:%Y-%m-%d}/b{number}.parquet", "events", whole("events", columns))
    return DataFile(file.path, file.rows, file.bytes, file.crc32, {hour_key(hour): EVENTS})


def catalogue(hour: datetime) -> pa.Table:
    names = [f"i{item}" for item in range(ITEMS)]
    return whole("items", {"item_id": names, "valid_from": [hour] * ITEMS, "available": [True] * ITEMS})


def whole(table: str, columns: dict[str, list]) -> pa.Table:
    """A table of these columns; the others are null."""
    schema, n_rows = arrow_schema(TABLES[table]), len(next(iter(columns.values())))
    return pa.table([pa.array(columns.get(f.name, [None] * n_rows), f.type) for f in schema], schema)


def batch(number: int, hour: datetime, files: dict[str, list[DataFile]]) -> Batch:
    return Batch(
        number=number,
        batch_id=f"b{number}",
        source="year",
        created_at=iso(hour),
        first_hour=iso(hour),
        end_hour=iso(hour + timedelta(hours=1)),
        schema_version=SCHEMA_VERSION,
        code_version=code_version(),
        key_version=1,
        n_items=min(number, ITEMS),
        inputs=[],
        accounts={"read": EVENTS, "accepted": EVENTS, "weights": WEIGHTS},
        files=files,
    )


def measured(settings: Settings, hours: int) -> dict:
    """Seconds of what every job does first, of the events of 30 days, and of a night of interactions from scratch."""
    end = BEGIN + timedelta(hours=hours)

    def lineage() -> Lineage:
        return Lineage(Lake.open(settings.lake), settings, end)

    def month() -> int:
        columns = ["user_id", "item_id", "event_time"]
        return sum(part.num_rows for part in Lake.open(settings.lake).events(hours, end - timedelta(30), end, columns))

    found = {
        "files": sum(len(files) for _, _, files in os.walk(settings.lake.uri)),
        "snapshot_s": middle(lambda: Lake.open(settings.lake).snapshot()),
        "version_s": middle(lambda: lineage().version("interactions")),
        "dictionary_s": middle(lambda: Lake.open(settings.lake).dictionary(hours)),
        "month_s": middle(month),
        "month_rows": month(),
    }
    return found | {"interactions_s": interactions_s(settings, end)}


def middle(act: Callable[[], object]) -> float:
    """Seconds, the middle of some."""
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return round(median(taken), 3)


def interactions_s(settings: Settings, end: datetime) -> float:
    """Of the command as one types it; what it computed is removed again."""
    variables = {"NIGHTSHELF_LAKE__URI": settings.lake.uri, "NIGHTSHELF_LAKE__MIN_FREE_MB": "0"}
    argv = [sys.executable, "-m", "jobs.cli", "run", "interactions", "--as-of", iso(end)]
    began = time.perf_counter()
    subprocess.run(argv, check=True, env=os.environ | variables, stdout=subprocess.DEVNULL)
    taken = time.perf_counter() - began
    for table in ("manifests", "interactions"):
        shutil.rmtree(Path(settings.lake.uri, table))
    return round(taken, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
