"""Puts days of the generated shop into the lake of the settings as one batch, in bounded memory.

usage: python -m benchmarks.shop.stock EVENTS DAYS FIRST LAST     (days FIRST to LAST - 1 of a shop of EVENTS in DAYS)

To make and ingest 100 million JSON lines would measure just that. Here the files of a batch are written as ingest
would write them: rows by time, files of its size, the same columns filled, the manifest the lake's own.
"""

import json
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from benchmarks.shop.people import users
from benchmarks.shop.traffic import EVENTS_A_USER, FIRST_DAY, Shop, day_of
from conf.settings import load_settings
from jobs.rim.lake import Lake, hour_key
from jobs.rim.lineage import code_version
from jobs.rim.manifest import Batch, DataFile, iso
from jobs.sources.accounts import Accounts
from jobs.sources.load import load_description
from jobs.sources.write import FILE_ROWS
from schemas.tables import SCHEMA_VERSION

SOURCE = "nightshelf"
WRITERS = 2
HOUR_US = 3_600_000_000


def main(arguments: list[str]) -> int:
    """Prints the batch's snapshot, rows and bytes as JSON."""
    n_events, n_days, first, last = map(int, arguments)
    lake = Lake.open(load_settings().lake)
    batch = stock(lake, Shop(n_events, n_days), first, last)
    written = [file for files in batch.files.values() for file in files]
    told = {"snapshot": batch.number, "events": batch.accounts["accepted"], "bytes": sum(f.bytes for f in written)}
    print(json.dumps(told | {"users": n_events // EVENTS_A_USER, "items": batch.n_items}))
    return 0


def stock(lake: Lake, shop: Shop, first: int, last: int) -> Batch:
    """Write and commit the days from ``first`` to before ``last``; the first batch brings the catalogue along."""
    number = lake.snapshot() + 1
    stamp = {"source": SOURCE, "batch_id": f"shop{number:06d}", "ingested_at": datetime.now(UTC)}
    files = {"events": write_days(lake, shop, first, last, stamp)}
    if number == 1:
        files |= {table: [lake.write(f"{table}/shop.parquet", table, rows)] for table, rows in beside(shop).items()}
    batch = manifest(number, stamp, shop, first, last, files)
    if not lake.commit_batch(batch):
        raise RuntimeError(f"batch {number} was committed by somebody else")
    return batch


def beside(shop: Shop) -> dict[str, pa.Table]:
    """The tables about users and items."""
    index = pa.array(np.arange(shop.n_items, dtype=np.int32))
    dictionary = pa.table({"item_id": shop.items["item_id"], "item_idx": index})
    return {"items": shop.items, "users": users(shop.user_ids), "item_dictionary": dictionary}


def write_days(lake: Lake, shop: Shop, first: int, last: int, stamp: dict) -> list[DataFile]:
    """Files of ``FILE_ROWS`` to twice as many rows; smaller days wait for the next one."""
    files, waiting = [], []
    doing: deque[Future] = deque()
    with ThreadPoolExecutor(WRITERS) as pool:
        for day in range(first, last):
            waiting.append(day_of(shop, day))
            n = sum(rows.num_rows for rows in waiting)
            if n < FILE_ROWS and day + 1 < last:
                continue
            rows, waiting = pa.concat_tables(waiting), []
            for start in range(0, n, 2 * FILE_ROWS):
                part = rows.slice(start, 2 * FILE_ROWS)
                doing.append(pool.submit(write, lake, part, stamp, f"{day:05d}-{start // FILE_ROWS:04d}"))
            while len(doing) > WRITERS:
                files.append(doing.popleft().result())
        return files + [one.result() for one in doing]


def write(lake: Lake, rows: pa.Table, stamp: dict, name: str) -> DataFile:
    """One file, which lies under its first day."""
    for column, value in stamp.items():
        place = rows.schema.get_field_index(column)
        rows = rows.set_column(place, column, pa.repeat(pa.scalar(value), rows.num_rows))
    hours = hours_of(rows["event_time"])
    file = lake.write(f"events/dt={min(hours)[:10]}/{stamp['batch_id']}-{name}.parquet", "events", rows)
    return DataFile(file.path, file.rows, file.bytes, file.crc32, hours)


def hours_of(times: pa.ChunkedArray) -> dict[str, int]:
    """Rows of each UTC hour."""
    hours, n = np.unique(times.cast(pa.int64()).to_numpy() // HOUR_US, return_counts=True)
    began = (datetime.fromtimestamp(hour * 3600, UTC) for hour in hours.tolist())
    return dict(zip(map(hour_key, began), n.tolist(), strict=True))


def manifest(number: int, stamp: dict, shop: Shop, first: int, last: int, files: dict) -> Batch:
    n = sum(file.rows for file in files["events"])
    weights = load_description(SOURCE).event_weights()
    return Batch(
        number=number,
        batch_id=stamp["batch_id"],
        source=SOURCE,
        created_at=iso(stamp["ingested_at"]),
        first_hour=iso(FIRST_DAY + timedelta(days=first)),
        end_hour=iso(FIRST_DAY + timedelta(days=last)),
        schema_version=SCHEMA_VERSION,
        code_version=code_version(),
        key_version=1,
        n_items=shop.n_items,
        inputs=[],
        accounts=Accounts(read=n, accepted=n).as_json() | {"weights": weights},
        files=files,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
