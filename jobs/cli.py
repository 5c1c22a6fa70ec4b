"""The command ``nightshelf``. Imports lazily: a subcommand pays only for what it uses.

Exit codes: 0 done, 2 usage or configuration, 3 the data gate refused (do not retry), 4 what is live is too old, 75
temporary (retry), 130 Ctrl-C, 141 the reader of the output went away, 143 asked to end.
"""

import argparse
import importlib
import os
import sys

from conf.settings import SettingsError, load_settings
from jobs.rim import lifetime
from jobs.rim.errors import (
    EXIT_REFUSED,
    EXIT_TEMPORARY,
    EXIT_UNREAD,
    EXIT_USAGE,
    GateRefused,
    TemporaryError,
    UsageError,
    describe,
)

COMMANDS = {  # name -> (module, what it does)
    "generate": ("jobs.generate", "make a shop's traffic to try things on"),
    "check-source": ("jobs.check_source", "say what an ingest of your events would do"),
    "ingest": ("jobs.ingest", "read events into the lake as one batch"),
    "exclude": ("jobs.exclude", "take bad hours out of what is computed from now on, or let them in again"),
    "tidy": ("jobs.tidy", "merge small files, drop nights nobody needs, remove what nothing names"),
    "people": ("jobs.people", "list a few recently active users of a source"),
    "snapshot": ("jobs.snapshot", "print the number of the newest batch, for a run to pin"),
    "covered": ("jobs.covered", "print that number if every hour of an interval is in the lake"),
    "run": ("jobs.run", "run computing steps, such as interactions cooccurrence cold recipe fit candidates slates"),
    "gate": ("jobs.gate", "judge computed tables before they leave the lake"),
    "publish": ("jobs.publish", "load generations into Redis, verify, switch the release"),
    "generations": ("jobs.generations", "list what is live, kept and pinned, and what the lake can load again"),
    "rollback": ("jobs.rollback", "make the generation before the live one live again, in one write"),
    "pin": ("jobs.pin", "make a generation stay, live or kept, until unpin"),
    "unpin": ("jobs.pin", "end a pin: the next publish goes live again"),
    "keep": ("jobs.keep", "renew what is live or kept in Redis, unlink the rest, tell what is wrong"),
    "availability": ("jobs.availability", "take items out of all answers, or back, within seconds"),
    "promotions": ("jobs.promotions", "pin items to places of answers, for a while"),
    "report": ("jobs.report", "write one page about a run: quality, churn, what changed for whom, the gate"),
    "freshness": ("jobs.freshness", "say whether what is live is as fresh as it should be, and tell people once"),
    "alert": ("jobs.alert", "tell people that a run failed; Airflow calls it"),
    "backtest": ("jobs.backtest", "compare our lists with single methods on events held back, or write the lists"),
    "explain": ("jobs.explain", "ask the running API about a person and tell the path in words"),
}


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser; only the module of ``command`` is imported."""
    parser = argparse.ArgumentParser(
        prog="nightshelf", description="Recommendations computed by night.", epilog=__doc__.split("\n\n")[1]
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary)
        if name == command:
            importlib.import_module(module).add_arguments(sub)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; expected failures become one line on stderr and their exit code."""
    argv = sys.argv[1:] if argv is None else argv
    command = next((word for word in argv if not word.startswith("-")), None)
    try:
        args = build_parser(command).parse_args(argv)
        settings = load_settings()
        if settings.resources.end_with_parent:
            lifetime.end_with_parent()
        code = importlib.import_module(COMMANDS[args.command][0]).main(args, settings)
        sys.stdout.flush()  # else a reader gone too early is noticed where nothing can be done about it
        return code
    except (UsageError, SettingsError) as error:
        return complain(error, EXIT_USAGE)
    except GateRefused as error:
        return complain(error, EXIT_REFUSED)
    except TemporaryError as error:
        return complain(error, EXIT_TEMPORARY)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and unread():
            return EXIT_UNREAD
        return complain(describe(error), EXIT_TEMPORARY)
    except KeyboardInterrupt:
        return 130


def unread() -> bool:
    """Whether nobody reads standard output any more; if so, the rest of it goes nowhere, quietly."""
    gone = lifetime.unread()
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), lifetime.STDOUT)
    return gone


def complain(error: Exception | str, code: int) -> int:
    print(f"nightshelf: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
