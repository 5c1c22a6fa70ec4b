"""Read events into the lake: one job, one commit, every row accounted for.

``--path`` ingests a whole history; ``--interval START END`` what has newly landed for an hour, but for events of more
than ingest.late_hours before END: these are counted, kept in quarantine, and taken by ``--path`` alone. Repeats of an
event are looked for among all rows of the batch and among committed events of the same UTC days. Equal inputs again do
nothing.
"""

import argparse
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from conf.settings import Settings
from jobs.rim.arguments import moment
from jobs.rim.coverage import Interval, check_interval, covered_by
from jobs.rim.errors import UsageError
from jobs.rim.lake import Lake, floor_hour
from jobs.rim.lineage import code_version, content_hash
from jobs.rim.manifest import Batch, iso
from jobs.sources.accounts import table
from jobs.sources.description import Description, Events, Items, Users
from jobs.sources.files import Input, choose, list_folder, require
from jobs.sources.gather import Gather
from jobs.sources.load import load_description
from jobs.sources.write import Stamp, Writer, hour_range
from schemas.tables import SCHEMA_VERSION

Layout = Events | Items | Users


@dataclass(frozen=True)
class Found:
    """A file to read: how, and the hash of its bytes."""

    file: Input
    layout: Layout
    hash: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--path", help="folder with the source's files, or one file of events (default: ingest.landing)"
    )
    parser.add_argument("--source", help="name of a shipped source or path of a .toml (default: ingest.source)")
    parser.add_argument(
        "--interval", nargs=2, type=moment, metavar=("START", "END"), help="hours to cover, rows or none"
    )


def main(args: argparse.Namespace, settings: Settings) -> int:
    if args.path is None and args.interval is None:
        raise UsageError("give --path FOLDER for a whole history, or --interval START END for what has landed")
    source = load_description(args.source or settings.ingest.source)
    batch, done_before = ingest(source, args.path, args.interval, settings)
    report(batch, done_before, told_before(batch, Lake.open(settings.lake).batches(batch.number - 1)))
    return 0


def ingest(source: Description, path: str | None, interval: Interval | None, settings: Settings) -> tuple[Batch, bool]:
    """Commit a batch of what is new; the batch, and whether it was there before."""
    if interval:
        check_interval(interval)
    lake, secret = Lake.open(settings.lake), settings.identity.secret_bytes()
    batches = lake.batches()
    found = find_files(source, path or settings.ingest.landing, interval, settings)
    if interval:
        found = not_yet_ingested(found, batches, source)
        if not found and (covering := covered_by(batches, interval)):
            return covering, True
    batch_id = identify(source, settings, found, interval)
    for batch in batches:
        if batch.batch_id == batch_id:
            return batch, True
    stamp = Stamp(batch_id, source.name, settings.identity.key_version, datetime.now(UTC))
    with tempfile.TemporaryDirectory(prefix="nightshelf-ingest-") as folder:
        earliest = interval[1] - timedelta(hours=settings.ingest.late_hours) if interval else None
        gathered = Gather(source, secret, stamp.ingested_at, settings.ingest.chunk_rows, Path(folder), earliest)
        inputs = read_all(gathered, found)
        refuse_nothing_usable(gathered, path, interval)
        return commit(lake, gathered, stamp, inputs, interval)


def find_files(source: Description, path: str, interval: Interval | None, settings: Settings) -> list[Found]:
    """The source's files in a folder; the hourly form may find none."""
    files = list_folder(path, settings.lake, missing_ok=interval is not None)
    layouts: list[tuple[str, Layout]] = [("events", spec) for spec in source.events]
    layouts += [(name, layout) for name in ("items", "users") if (layout := getattr(source, name))]
    if len(files) == 1 and not Path(path).is_dir() and not any(choose(files, layout) for _, layout in layouts):
        return [Found(files[0], source.events[0], files[0].content_hash())]
    alone = interval is not None or not Path(path).is_dir()
    found = []
    for name, layout in layouts:
        chosen = choose(files, layout)
        if not alone:
            require(chosen, files, layout, name, path)
        found += [Found(file, layout, file.content_hash()) for file in chosen]
    return found


def not_yet_ingested(found: list[Found], batches: list[Batch], source: Description) -> list[Found]:
    known = {entry["hash"] for batch in batches if batch.source == source.name for entry in batch.inputs}
    return [one for one in found if one.hash not in known]


def identify(source: Description, settings: Settings, found: list[Found], interval: Interval | None) -> str:
    """12 hex digits of all that decides what a batch holds."""
    hours = [iso(moment) for moment in interval] if interval else None
    key_version = settings.identity.key_version
    return content_hash([source.content_hash, key_version, sorted(one.hash for one in found), hours])[:12]


def read_all(gathered: Gather, found: list[Found]) -> list[dict]:
    """Read every file; what the manifest says of each."""
    inputs = []
    for one in found:
        read = gathered.read_events if isinstance(one.layout, Events) else gathered.read_catalogue
        rows = read(one.file, one.layout)
        entry = {"name": one.file.name, "bytes": one.file.bytes, "hash": one.hash, "rows": rows}
        inputs.append(entry | {"description": gathered.source.content_hash})
    gathered.finish()
    return inputs


def refuse_nothing_usable(gathered: Gather, path: str | None, interval: Interval | None) -> None:
    """A history without one usable row means a wrong description: commit nothing."""
    if gathered.first is not None or interval:
        return
    counts = gathered.accounts.quarantined
    if not counts:
        raise UsageError(f"{path}: the files hold no events")
    reason, n = counts.most_common(1)[0]
    raise UsageError(
        f"{path}: none of {gathered.accounts.read:,} rows can be used, {n:,} for {reason}: nothing was ingested; "
        f"`nightshelf check-source` shows what the description of {gathered.source.name} makes of them"
    )


def commit(
    lake: Lake, gathered: Gather, stamp: Stamp, inputs: list[dict], interval: Interval | None
) -> tuple[Batch, bool]:
    """Write and commit; when another batch came first, once more on top of it."""
    while True:
        batches = lake.batches()
        for batch in batches:
            if batch.batch_id == stamp.batch_id:
                return batch, True
        writer = Writer(lake, gathered, stamp, batches)
        writer.write()
        batch = batch_of(writer, inputs, interval)
        if lake.commit_batch(batch):
            return batch, False


def batch_of(writer: Writer, inputs: list[dict], interval: Interval | None) -> Batch:
    first, end = hours_covered(writer, interval)
    stamp = writer.stamp
    return Batch(
        number=len(writer.batches) + 1,
        batch_id=stamp.batch_id,
        source=stamp.source,
        created_at=iso(stamp.ingested_at),
        first_hour=iso(first),
        end_hour=iso(end),
        schema_version=SCHEMA_VERSION,
        code_version=code_version(),
        key_version=stamp.key_version,
        n_items=writer.n_items,
        inputs=inputs,
        accounts=writer.accounts.as_json() | {"weights": writer.gathered.source.event_weights()},
        files=writer.files,
    )


def hours_covered(writer: Writer, interval: Interval | None) -> Interval:
    """The interval, whatever came late or early for other hours; of a history all hours from the first accepted event
    to the last (of sound rows when none was new).
    """
    if interval:
        return interval
    gathered = writer.gathered
    read = floor_hour(gathered.first), floor_hour(gathered.last) + timedelta(hours=1)
    return hour_range(writer.files.get("events", ())) or read


def told_before(batch: Batch, earlier: list[Batch]) -> str:
    """A warning when rows stayed as another description had them: a file of the batch came in before; else empty."""
    known, first = batch.accounts.get("known", 0), {}
    for other in (other for other in earlier if other.source == batch.source):
        for entry in other.inputs:
            first.setdefault(entry["hash"], (other.number, entry.get("description")))
    for entry in batch.inputs if known else ():
        number, description = first.get(entry["hash"], (0, None))
        if description not in (None, entry.get("description")):
            return (
                f"warning: {known:,} rows were known already: {entry['name']} came in before under another description "
                f"(batch {number}), and rows already in the lake stay as they were, with their kinds and values; to "
                "read them anew, start a fresh lake: `make clean`, or another lake.uri"
            )
    return ""


def report(batch: Batch, done_before: bool, warning: str) -> None:
    """Accounts and a warning for people, then one line of JSON for programs."""
    if done_before:
        print(f"already ingested as batch {batch.number}")
    print(table(batch.accounts))
    if warning:
        print(warning)
    hours = batch.hours()
    last = {"snapshot": batch.number, "batch_id": batch.batch_id, "first_hour": batch.first_hour}
    print(orjson.dumps(last | {"end_hour": batch.end_hour, "n_hours_with_rows": len(hours)}).decode())
