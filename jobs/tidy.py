"""Keep the lake small and quick to read. Safe beside running jobs, at any time, and as often as you like.

Merges small files: of events of days that are over, later of months; of the catalogue; and all batches' manifests into
one. No row changes, nor any version. Drops nights that were computed more than lake.keep_days ago and that no release
is made of, but for the first of each month. Removes what nothing names: of attempts that were killed, and of the two
steps before, once it is lake.garbage_hours old, so that a job that reads or writes it loses nothing.
"""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from conf.settings import Settings
from jobs.rim.garbage import find_garbage, remove
from jobs.rim.lake import Lake
from jobs.rim.merging import merge, plan
from jobs.rim.retention import find_expired, retire

BEHIND = 100  # batches since the last checkpoint that are worth the next, though there is nothing to merge


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")


def main(args: argparse.Namespace, settings: Settings) -> int:
    tidy(settings, datetime.now(UTC), args.dry_run, print)
    return 0


def tidy(settings: Settings, now: datetime, dry_run: bool, say: Callable[[str], None]) -> None:
    """All steps; each finds the lake as the one before left it, and one that is killed is done by the next run."""
    grace = timedelta(hours=settings.lake.garbage_hours)
    say(f"merging: {compact_files(Lake.open(settings.lake), now, dry_run)}")
    say(f"old nights: {drop(Lake.open(settings.lake), now, settings.lake.keep_days, dry_run)}")
    say(f"garbage: {collect(Lake.open(settings.lake), now - grace, dry_run)}")


def compact_files(lake: Lake, now: datetime, dry_run: bool) -> str:
    """Merge small files, and make a checkpoint."""
    snapshot = len(lake.batches())
    groups = plan(lake, snapshot, now)
    made = lake.log.checkpoint
    behind = snapshot - (made.snapshot if made else 0)
    if not groups and behind < BEHIND:
        return "nothing to merge"
    files = [one.file for of in groups.values() for group in of for one in group]
    told = f"{len(files):,} files, {sum(file.bytes for file in files):,} bytes"
    to = f"into {sum(map(len, groups.values())):,}; {snapshot:,} batches in one object"
    if dry_run:
        return f"{told} would be merged {to}"
    return f"{told} merged {to}" if merge(lake, groups, snapshot, now) else "another tidy was quicker: nothing merged"


def drop(lake: Lake, now: datetime, keep_days: int, dry_run: bool) -> str:
    """Take the manifests of runs that nobody needs away; their files are garbage after it."""
    expired = find_expired(lake, now, keep_days)
    files = [file for run in expired.runs for files in run.files.values() for file in files]
    n_bytes = sum(file.bytes for file in files)
    told = f"{len(expired.runs):,} runs, {n_bytes:,} bytes, of {len(expired.generations):,} generations"
    if dry_run:
        return f"{told} would be dropped"
    retire(lake, expired)
    return f"{told} dropped"


def collect(lake: Lake, before: datetime, dry_run: bool) -> str:
    """Remove what nothing names, and parts of uploads nobody completes."""
    garbage = find_garbage(lake, before)
    told = f"{len(garbage):,} files, {garbage.bytes:,} bytes"
    if dry_run:
        return f"{told} would be removed"
    remove(lake, garbage, before)
    uploads = lake.store.abort_uploads("", before=before)
    return f"{told} removed" + (f"; {uploads:,} uploads dropped" if uploads else "")
