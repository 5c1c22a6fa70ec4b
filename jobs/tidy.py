"""Keep the lake small and quick to read. Safe beside running jobs, at any time, and as often as you like.

Removes what nothing names: files of attempts that were killed or lost a race. They are recognised by their age,
lake.garbage_hours, so that a job that is still writing loses nothing. What was dropped is told, a line for each kind.
"""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from conf.settings import Settings
from jobs.rim.garbage import find_garbage, remove
from jobs.rim.lake import Lake


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")


def main(args: argparse.Namespace, settings: Settings) -> int:
    tidy(settings, datetime.now(UTC), args.dry_run, print)
    return 0


def tidy(settings: Settings, now: datetime, dry_run: bool, say: Callable[[str], None]) -> None:
    """All steps; each finds the lake as the one before left it, and one that is killed is done by the next run."""
    grace = timedelta(hours=settings.lake.garbage_hours)
    say(f"garbage: {collect(Lake.open(settings.lake), now - grace, dry_run)}")


def collect(lake: Lake, before: datetime, dry_run: bool) -> str:
    """Remove what nothing names, and parts of uploads nobody completes."""
    garbage = find_garbage(lake, before)
    told = f"{len(garbage):,} files, {garbage.bytes:,} bytes"
    if dry_run:
        return f"{told} would be removed"
    remove(lake, garbage, before)
    uploads = lake.store.abort_uploads("", before=before)
    return f"{told} removed" + (f"; {uploads:,} uploads dropped" if uploads else "")
