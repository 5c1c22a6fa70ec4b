"""Read events into the lake: one job, one commit, every row accounted for.

``--path`` ingests a whole history; ``--interval START END`` what has newly landed for an hour, and what streams hold
behind the last batch, but for events of more than ingest.late_hours before END, or, after hours that nobody ingested,
before these: such are counted, kept in quarantine, and taken by ``--path`` alone. Repeats of an event are looked
for among all rows of the batch and among committed events of the same UTC days. Equal inputs again do nothing.
"""

import argparse
import tempfile
from collections.abc import Iterator
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
from jobs.sources.description import Description
from jobs.sources.gather import Gather
from jobs.sources.landing import Found, find_files, not_yet_ingested, read_files
from jobs.sources.late import earliest_taken
from jobs.sources.load import load_description
from jobs.sources.streams import Streams
from jobs.sources.write import Stamp, Writer, hour_range
from schemas.tables import SCHEMA_VERSION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--path", help="folder with the source's files, or one file of events (default: ingest.landing)"
    )
    parser.add_argument("--source", help="name of a shipped source or path of a .toml (default: ingest.source)")
    parser.add_argument(
        "--interval", nargs=2, type=moment, metavar=("START", "END"), help="hours to cover, rows or none"
    )
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="go on although a stream deleted messages before they were read",
    )


def main(args: argparse.Namespace, settings: Settings) -> int:
    if args.path is None and args.interval is None:
        raise UsageError("give --path FOLDER for a whole history, or --interval START END for what has landed")
    source = load_description(args.source or settings.ingest.source)
    for batch, done_before in ingest(source, args.path, args.interval, settings, args.accept_loss):
        report(batch, done_before, told_before(batch, Lake.open(settings.lake).batches(batch.number - 1)))
    return 0


def ingest(
    source: Description, path: str | None, interval: Interval | None, settings: Settings, accept_loss: bool = False
) -> Iterator[tuple[Batch, bool]]:
    """Commit what is new, of streams ``ingest.max_messages`` a batch; each batch, and whether it was there before."""
    if interval:
        check_interval(interval)
    found = find_files(source, path or settings.ingest.landing, settings, hourly=interval is not None)
    with Streams(source, settings, accept_loss, hourly=interval is not None) as streams:
        more = True
        while more:
            step = Step(source, settings, path, interval, found, streams)
            if (done := step.run()) is not None:
                yield done
                if more := step.ahead.more:
                    most = settings.ingest.max_messages
                    print(f"more waits than ingest.max_messages = {most:,}: another batch follows")


class Step:
    """One batch on top of what the lake holds now."""

    def __init__(
        self,
        source: Description,
        settings: Settings,
        path: str | None,
        interval: Interval | None,
        found: list[Found],
        streams: Streams,
    ):
        self.source, self.settings, self.path, self.interval = source, settings, path, interval
        self.lake = Lake.open(settings.lake)
        self.batches = self.lake.batches()
        self.found = not_yet_ingested(found, self.batches, source) if interval else found
        self.ahead = streams.ahead(self.batches)

    def run(self) -> tuple[Batch, bool] | None:
        """The batch, and whether it was there before; None when another ingest took the same messages meanwhile."""
        if covering := self.covering(streamed=bool(self.ahead.parts)):
            return covering, True
        if not self.ahead.parts and (same := self.committed(self.batches, self.batch_id([]))):
            return same, True
        now = datetime.now(UTC)
        secret, rows = self.settings.identity.secret_bytes(), self.settings.ingest.chunk_rows
        with tempfile.TemporaryDirectory(prefix="nightshelf-ingest-") as folder:
            late_hours = self.settings.ingest.late_hours
            earliest = earliest_taken(self.batches, self.source.name, self.interval, late_hours)
            gathered = Gather(self.source, secret, now, rows, Path(folder), earliest)
            streamed = self.ahead.read(gathered)
            if covering := self.covering(streamed=self.ahead.news):
                return covering, True
            inputs = read_files(gathered, self.found) + streamed
            gathered.finish()
            refuse_nothing_usable(gathered, self.path, self.interval)
            return self.commit(gathered, inputs, self.batch_id(streamed))

    def covering(self, streamed: bool) -> Batch | None:
        """The batch that has the hours already, when neither files nor messages are new."""
        nothing = self.interval and not self.found and not streamed
        return covered_by(self.batches, self.interval) if nothing else None

    def batch_id(self, streamed: list[dict]) -> str:
        """12 hex digits of all that decides what a batch holds."""
        hours = [iso(moment) for moment in self.interval] if self.interval else None
        hashes = sorted([one.hash for one in self.found] + [entry["hash"] for entry in streamed])
        more = ["more follows"] if self.ahead.more else []
        return content_hash([self.source.content_hash, self.settings.identity.key_version, hashes, hours, *more])[:12]

    def committed(self, batches: list[Batch], batch_id: str) -> Batch | None:
        return next((batch for batch in batches if batch.batch_id == batch_id), None)

    def commit(self, gathered: Gather, inputs: list[dict], batch_id: str) -> tuple[Batch, bool] | None:
        """Write and commit; when another batch came first, once more on top of it, unless it took our messages."""
        stamp = Stamp(batch_id, self.source.name, self.settings.identity.key_version, gathered.ingested_at)
        while True:
            batches = self.lake.batches()
            if same := self.committed(batches, batch_id):
                return same, True
            if not self.ahead.follows(batches):
                return None
            writer = Writer(self.lake, gathered, stamp, batches)
            writer.write()
            batch = batch_of(writer, inputs, self.interval, self.ahead.more)
            if self.lake.commit_batch(batch):
                return batch, False


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


def batch_of(writer: Writer, inputs: list[dict], interval: Interval | None, more: bool) -> Batch:
    first, end = (interval[0], interval[0]) if more else hours_covered(writer, interval)
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
