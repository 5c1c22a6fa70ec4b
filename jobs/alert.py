"""Tell people that a run failed for good. Airflow calls it; `nightshelf alert --test` tries what the settings say.

What is told is one line of what happened, where and when, the failed command's own last line, and links. Exit code 75
when somebody could not be told; whoever fails anyway need not look at it.
"""

import argparse
import socket

from conf.settings import Settings
from jobs.rim.alerting import Alert, deliver
from jobs.rim.arguments import moment
from jobs.rim.errors import EXIT_TEMPORARY, UsageError
from jobs.rim.manifest import iso

MEANING = {2: "usage or configuration", 3: "the gate refused", 4: "a release is too old", 75: "temporary"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dag", help="the DAG that failed")
    what.add_argument("--test", action="store_true", help="tell everybody that this is a test")
    parser.add_argument("--run", help="its run's id")
    parser.add_argument("--reason", help="why Airflow calls it failed")
    parser.add_argument("--interval", nargs=2, type=moment, metavar=("START", "END"), help="the data it is about")
    parser.add_argument("--task", help="the first task that failed")
    parser.add_argument("--exit-code", type=int, help="that of its command; absent where it was killed")
    parser.add_argument("--line", help="the last line its command printed")
    parser.add_argument("--also", nargs="+", default=[], metavar="TASK", help="tasks that failed besides")
    parser.add_argument("--url", help="the run in Airflow")
    parser.add_argument("--report", help="the page about it")


def main(args: argparse.Namespace, settings: Settings) -> int:
    alert = Alert(f"nightshelf: a test from {socket.gethostname()}", {"event": "test"}) if args.test else failed(args)
    if args.test and not (settings.alerts.webhook_url.get_secret_value() or settings.alerts.email_to):
        raise UsageError("nobody to tell: set alerts.webhook_url or alerts.email_to")
    return 0 if all(deliver(alert, settings.alerts, print)) else EXIT_TEMPORARY


def failed(args: argparse.Namespace) -> Alert:
    """What the arguments say, for people and for programs."""
    start, end = map(iso, args.interval) if args.interval else (None, None)
    about = {
        "event": "run_failed",
        "dag": args.dag,
        "run_id": args.run,
        "reason": args.reason,
        "data_interval_start": start,
        "data_interval_end": end,
        "task": args.task,
        "exit_code": args.exit_code,
        "line": args.line,
        "also_failed": args.also,
        "run_url": args.url,
        "report_url": args.report,
    }
    return Alert("\n".join(lines(args, start, end)), about)


def lines(args: argparse.Namespace, start: str | None, end: str | None) -> list[str]:
    """The summary, the command's own words, and where to look."""
    code = args.exit_code
    how = f" (exit code {code}{f': {MEANING[code]}' if code in MEANING else ''})" if code is not None else ""
    where = f" at {args.task}{how}" if args.task else f": {args.reason}" if args.reason else ""
    of = f" for {start} to {end}" if start else ""
    more = {"also failed": ", ".join(args.also), "run": args.url, "report": args.report}
    told = [f"nightshelf: {args.dag} failed{where}{of}"]
    return [*told, *([args.line] if args.line else []), *(f"{name}: {text}" for name, text in more.items() if text)]
