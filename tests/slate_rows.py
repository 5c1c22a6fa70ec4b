"""Slates made up for tests, by hand or at random, in a lake's own files."""

import random
from collections.abc import Iterable

import pyarrow as pa

from conf.settings import load_settings
from jobs.rim.lake import Lake
from jobs.rim.packing import SLATE_COLUMNS, Entries
from jobs.rim.slate_files import SlateFiles
from schemas.arrow import arrow_schema
from schemas.keys import Keys
from schemas.tables import SOURCES, TABLES
from schemas.user_codec import pack_user


def slate_row(seed: int, n_items: int = 20, n_catalogue: int = 70_000) -> dict:
    chooser = random.Random(seed)
    reasons = [chooser.randrange(n_catalogue) for _ in range(5)]
    return {
        "user_id": f"{chooser.getrandbits(128):032x}",
        "items": [chooser.randrange(n_catalogue) for _ in range(n_items)],
        "scores": [1 / (place + 1) for place in range(n_items)],
        "sources": chooser.choices(SOURCES, k=n_items),
        "because_of": [chooser.choice([-1, *reasons]) for _ in range(n_items)],
        "propensities": [1.0] * n_items,
        "seen": [chooser.randrange(n_catalogue) for _ in range(chooser.randrange(30))],
    }


def slates(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, arrow_schema(TABLES["slates"])).combine_chunks()


def slate_files(folder, rows: list[dict], n_files: int = 3) -> SlateFiles:
    """The rows in files of a lake in that folder."""
    lake = Lake.open(load_settings(lake={"uri": str(folder), "min_free_mb": 0}).lake)
    parts = [rows[number::n_files] for number in range(n_files)]
    files = [lake.write(f"slates/{k}.parquet", "slates", slates(part)) for k, part in enumerate(parts)]
    return SlateFiles(lake, files)


def slate_entries(batches: Iterable[pa.RecordBatch], keys: Keys, tag: str) -> Entries:
    """One key a user, row by row: what ``jobs.rim.parcels.UserRows`` must give."""
    for batch in batches:
        columns = [batch.column(name).to_pylist() for name in SLATE_COLUMNS]
        for user_id, *lists in zip(*columns, strict=True):
            yield keys.slate(user_id, tag), pack_user(*lists)
