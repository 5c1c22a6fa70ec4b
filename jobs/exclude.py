"""Take bad hours out of everything computed from now on, or let them back in. Nothing is deleted.

Appends to the batches one that says which hours (of which source) nobody sees: readers of older snapshots still do, and
an ingest still knows the rows. Nights whose events it touches have other versions; rebuild them by a backfill of
`nightly` from the first day that is excluded on. `--undo` gives the first rows back, which are in the lake still.
"""

import argparse
from datetime import UTC, date, datetime, timedelta

from conf.settings import Settings
from jobs.rim.arguments import moment
from jobs.rim.coverage import check_interval
from jobs.rim.errors import UsageError
from jobs.rim.lake import Lake
from jobs.rim.lineage import code_version, content_hash
from jobs.rim.manifest import Batch, Exclusion, iso
from jobs.rim.sight import hidden_hours, in_force
from schemas.tables import SCHEMA_VERSION

NO_HOUR = "1970-01-01T00:00:00Z"  # the batch covers none


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--day", type=a_day, metavar="YYYY-MM-DD", help="a whole UTC day")
    what.add_argument("--interval", nargs=2, type=moment, metavar=("START", "END"), help="whole UTC hours")
    what.add_argument("--list", action="store_true", help="print what is excluded now")
    parser.add_argument("--source", help="events of this source only (default: of all)")
    parser.add_argument("--reason", help="why, for whoever asks later; wanted unless --undo")
    parser.add_argument("--undo", action="store_true", help="let these hours in again, as they were excluded")


def a_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2026-01-05") from None


def main(args: argparse.Namespace, settings: Settings) -> int:
    lake = Lake.open(settings.lake)
    if args.list:
        print(listed(in_force(lake.batches())))
        return 0
    exclude(lake, wanted(args), settings, print)
    return 0


def wanted(args: argparse.Namespace) -> Exclusion:
    """What the arguments ask for.

    Raises:
        UsageError: no whole hours, or no reason.
    """
    if args.day:
        start = datetime(args.day.year, args.day.month, args.day.day, tzinfo=UTC)
        end = start + timedelta(days=1)
    else:
        start, end = args.interval
    check_interval((start, end))
    if not args.undo and not (args.reason or "").strip():
        raise UsageError("say why by --reason TEXT: somebody will ask")
    return Exclusion(iso(start), iso(end), args.source, args.reason or "", args.undo)


def exclude(lake: Lake, order: Exclusion, settings: Settings, say=print) -> None:
    """Append the order; nothing where it holds already.

    Raises:
        UsageError: there is no batch yet, or nothing of the kind was ever excluded.
    """
    while True:
        batches = lake.batches()
        if not batches:
            raise UsageError("the lake is empty: there is nothing to exclude")
        given = [batch for batch in batches if batch.exclusion and batch.exclusion.same_rows(order)]
        if order.undo and not given:
            raise UsageError(f"{described(order)} were never excluded; excluded are: {listed(in_force(batches))}")
        if given and given[-1].exclusion.undo == order.undo:
            return say(f"nothing to do: batch {given[-1].number} says so already")
        number = len(batches) + 1
        if lake.commit_batch(batch_of(number, order, batches[-1], settings)):
            return report(number, order, batches, say)


def batch_of(number: int, order: Exclusion, last: Batch, settings: Settings) -> Batch:
    """A batch without rows or hours: it moves the lake's clock, and says from when on the order holds."""
    return Batch(
        number=number,
        batch_id=content_hash([number, order.first_hour, order.end_hour, order.source, order.undo])[:12],
        source="",
        created_at=iso(datetime.now(UTC)),
        first_hour=NO_HOUR,
        end_hour=NO_HOUR,
        schema_version=SCHEMA_VERSION,
        code_version=code_version(),
        key_version=settings.identity.key_version,
        n_items=last.n_items,
        inputs=[],
        accounts={},
        files={},
        exclusion=order,
    )


def report(number: int, order: Exclusion, batches: list[Batch], say) -> None:
    """What changes, and the days to rebuild."""
    touched = [(batch, hour) for batch in batches for hour in hidden_hours(batch, [order])]
    n_events = sum(batch.hours()[hour] for batch, hour in touched)
    verb = "seen again" if order.undo else "excluded"
    say(f"batch {number}: {described(order)} are {verb} from snapshot {number} on: {n_events:,} events")
    if touched:
        say(f"nights to rebuild: those whose day is {order.first_hour[:10]} or later; docs/late.md says how")


def described(order: Exclusion) -> str:
    return f"the hours from {order.first_hour} to {order.end_hour} of {order.source or 'all sources'}"


def listed(exclusions: tuple[Exclusion, ...]) -> str:
    lines = [f"{one.first_hour} {one.end_hour} {one.source or 'all sources'}: {one.reason}" for one in exclusions]
    return "\n".join(lines) or "nothing"
