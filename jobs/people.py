"""Who was active lately? Prints raw ids of a source's users, for trying the API: the lake keeps pseudonyms only."""

import argparse
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from conf.settings import Settings
from jobs.rim.errors import UsageError
from jobs.sources.columns import require_columns
from jobs.sources.description import Description
from jobs.sources.files import choose, list_folder
from jobs.sources.load import load_description
from jobs.sources.mapping import map_events
from jobs.sources.readers import read_chunks

USUAL_EVENTS = (5, 1_000)  # fewer say little, more are hardly a person's


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--path", help="folder with the source's files (default: ingest.landing)")
    parser.add_argument("--source", help="name of a shipped source or path of a .toml (default: ingest.source)")
    parser.add_argument("-n", type=int, default=5, help="how many people (default: 5)")


def main(args: argparse.Namespace, settings: Settings) -> int:
    if args.n < 1:
        raise UsageError(f"-n {args.n}: give 1 or more")
    source = load_description(args.source or settings.ingest.source)
    for user_id in recent_users(activity(source, args.path or settings.ingest.landing, settings), args.n):
        print(user_id)
    return 0


def activity(source: Description, path: str, settings: Settings) -> pa.Table:
    """user_id (raw), n_events and last_time of every known user with a sound event on an item."""
    files, parts = list_folder(path, settings.lake), []
    for spec in source.events:
        for file in choose(files, spec) or (files if len(files) == 1 else []):
            for chunk in read_chunks(file, spec, spec.used, settings.ingest.chunk_rows):
                require_columns(chunk, spec.used, spec)
                parts.append(active_users(map_events(chunk, spec, source, datetime.now(UTC))))
    if not parts:
        raise UsageError(f"{path}: no events file; wanted {' or '.join(source.events[0].files)}")
    totals = pa.concat_tables(parts).group_by("user_id").aggregate([("n_events", "sum"), ("last_time", "max")])
    return totals.rename_columns(["user_id", "n_events", "last_time"])


def active_users(events: pa.Table) -> pa.Table:
    sound = pc.and_(
        pc.is_null(events["reason"]), pc.and_(pc.is_valid(events["user_id"]), pc.is_valid(events["item_id"]))
    )
    users = events.filter(sound).group_by("user_id").aggregate([("event_time", "count"), ("event_time", "max")])
    return users.rename_columns(["user_id", "n_events", "last_time"])


def recent_users(totals: pa.Table, n: int) -> list[str]:
    """The n latest, those with a usual number of events first; ties by id."""
    low, high = USUAL_EVENTS
    usual = pc.and_(pc.greater_equal(totals["n_events"], low), pc.less_equal(totals["n_events"], high))
    ranked = totals.append_column("usual", usual.cast(pa.int8())).sort_by(
        [("usual", "descending"), ("last_time", "descending"), ("user_id", "ascending")]
    )
    return ranked["user_id"][:n].to_pylist()
