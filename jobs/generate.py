"""Make up the traffic of a shop: events, items and users at any size, the same for the same seed.

Writes events, items and users into a folder as JSON lines or Parquet, hidden/ (what people truly like, for tests of
the models only) and generated.json (what was put in, so that it can be looked for afterwards).
"""

import argparse
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson

from jobs.generator import catalogue as catalogues
from jobs.generator import hidden, people, profiles, writers
from jobs.generator.encode import Encoder
from jobs.generator.plan import FORMATS, Plan, checked
from jobs.generator.traffic import Traffic
from jobs.generator.trouble import BREAKAGES
from jobs.rim.errors import UsageError
from schemas.tables import KINDS


def generate(plan: Plan) -> dict:
    """Write one generated set into ``plan.out`` and give its summary.

    Memory stays bounded whatever the number of events. UsageError when a value is out of range or the folder holds
    anything but an earlier generated set; on any error the folder is as it was.
    """
    plan = checked(plan)
    with writers.replacing(plan.out) as folder:
        catalogue = catalogues.build(plan)
        persons = people.build(plan, catalogue)
        traffic = Traffic(plan, catalogue, persons)
        _write_events(folder, plan.format, traffic, Encoder(plan, catalogue, persons))
        _write_profiles(folder, plan, catalogue, persons)
        _write_hidden(folder / "hidden", plan, catalogue, persons)
        summary = summarise(plan, traffic)
        (folder / writers.SUMMARY).write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
    return summary


def _write_events(folder: Path, form: str, traffic: Traffic, encoder: Encoder) -> None:
    if form == "parquet":
        writers.write_parquet_files(folder, "events", (encoder.table(rows) for rows in traffic))
    else:
        writers.write_lines(folder / "events.jsonl", (encoder.lines(rows) for rows in traffic))


def _write_profiles(folder: Path, plan: Plan, catalogue, persons) -> None:
    for name, table in (("items", profiles.items(plan, catalogue)), ("users", profiles.users(persons))):
        if plan.format == "parquet":
            writers.write_parquet(folder / f"{name}.parquet", [table])
        else:
            writers.write_rows(folder / f"{name}.jsonl", profiles.printable(table))


def _write_hidden(folder: Path, plan: Plan, catalogue, persons) -> None:
    folder.mkdir()
    writers.write_parquet(folder / "tastes.parquet", hidden.tastes(plan, catalogue, persons))
    for name, table in hidden.vectors(plan, catalogue, persons).items():
        writers.write_parquet(folder / f"{name}.parquet", [table])


def summarise(plan: Plan, traffic: Traffic) -> dict:
    """Everything that was put in, as counted while it was written."""
    tally, catalogue, persons = traffic.tally, traffic.catalogue, traffic.people
    item = traffic.viral.item
    return {
        "events": tally.events,
        "users": plan.users,
        "items": plan.items,
        "new_users": int((persons.joined >= plan.start_ms).sum()),
        "new_items": int((catalogue.created >= plan.start_ms).sum()),
        "out_of_stock_items": int(np.sum(~catalogue.on_sale(plan.end_ms - 1))),
        "start": _iso(plan.start_ms),
        "end": _iso(plan.end_ms),
        "first_event": _iso(tally.first_ms),
        "last_event": _iso(tally.last_ms),
        "kinds": dict(zip(KINDS, tally.by_kind.tolist(), strict=True)),
        "visits": tally.sessions,
        "anonymous_sessions": tally.anonymous_sessions,
        "sessions_logged_in_on_the_way": tally.logged_in_on_the_way,
        "late": tally.late,
        "duplicates": tally.duplicates,
        "broken": dict(zip(BREAKAGES, tally.broken.tolist(), strict=True)),
        "bot": {"user_id": persons.ids[persons.bot].decode(), "events": tally.bot_events},
        "viral": {
            "item_id": catalogue.ids[item].decode(),
            "title": catalogue.titles[item],
            "from": _iso(traffic.viral.start_ms),
            "until": _iso(traffic.viral.end_ms),
        },
        "seed": plan.seed,
        "format": plan.format,
    }


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    plan = Plan(Path())
    parser.add_argument("--out", type=Path, required=True, help="folder to write to: new, empty or an earlier set")
    parser.add_argument(
        "--events", type=int, default=plan.events, help="rows of events, broken and doubled ones included (%(default)s)"
    )
    parser.add_argument("--users", type=int, help="people (one for every 50 events, at most a million)")
    parser.add_argument("--items", type=int, help="items (2.7 times the root of events: 600 for 50000)")
    parser.add_argument("--days", type=int, default=plan.days, help="length of the range (%(default)s)")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--start", help=f"first day, UTC ({plan.start})")
    when.add_argument("--end", help="the day after the last, instead of --start")
    parser.add_argument("--seed", type=int, default=plan.seed, help="same seed, same bytes (%(default)s)")
    parser.add_argument("--format", default=plan.format, help=f"{' or '.join(FORMATS)} (%(default)s)")


def plan_of(args: argparse.Namespace) -> Plan:
    """The plan that the arguments describe; UsageError when a date cannot be read."""
    names = ("out", "events", "users", "items", "days", "seed", "format")
    plan = Plan(**{name: getattr(args, name) for name in names})
    start = _day("--start", args.start) if args.start else plan.start
    if args.end:
        start = _days_before(_day("--end", args.end), plan.days)
    return Plan(**{**vars(plan), "start": start})


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} is {text!r}; give a day such as 2026-01-01") from None


def _days_before(end: date, days: int) -> date:
    try:
        return end - timedelta(days=days)
    except OverflowError:
        message = f"--end is {end} and --days is {days}, which begins before the calendar; give an end from 1970-01-31"
        raise UsageError(message) from None


def main(args: argparse.Namespace, _settings: object = None) -> int:
    """Generate and print the summary as JSON; no setting plays a part. Exit code 0."""
    summary = generate(plan_of(args))
    print(orjson.dumps({"out": str(args.out), **summary}, option=orjson.OPT_INDENT_2).decode())
    return 0
