"""One page a person can read about a run: how good, how different, what changed for whom, what the gate said.

It is kept in the lake under a name made from its own bytes, so that a report written before the gate ran, or before an
evaluation came, is never taken for one written after. Nothing it needs is computed: what is not there yet is said so.
"""

import argparse
import re
import sys
from pathlib import Path

from conf.settings import Settings
from jobs.rim.arguments import moment
from jobs.rim.errors import UsageError
from jobs.rim.lake import Lake
from jobs.rim.lineage import MAKERS, Lineage, content_hash
from jobs.rim.manifest import compact, iso

NAME = re.compile(r"as_of=\d{8}T\d{6}Z/v=[0-9a-f]{16}\.html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--as-of", type=moment, help="moment the run pretends it is: end of its interval")
    what.add_argument("--print", metavar="NAME", dest="name", help="a report made earlier: print it (as_of=…/v=….html)")
    parser.add_argument("--snapshot", type=int, help="read batches 1 to N of the lake (default: all there are now)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page there, too")


def main(args: argparse.Namespace, settings: Settings) -> int:
    """Write a report, its place being the last line printed; or print one."""
    lake = Lake.open(settings.lake)
    if args.name:
        sys.stdout.buffer.write(stored(lake, args.name))
        return 0
    lineage = Lineage(lake, settings, args.as_of, args.snapshot)
    if not any(lineage.find(table) for table in MAKERS):
        raise UsageError(
            f"no step was run as of {iso(args.as_of)}, snapshot {lineage.snapshot}, in {settings.lake.uri}"
        )
    page = written(lineage)
    key = f"reports/as_of={compact(args.as_of)}/v={content_hash(page.decode())}.html"
    lake.store.put_if_absent(key, page)
    if args.out:
        args.out.write_bytes(page)
    print(f"report: {len(page):,} bytes")
    print(f"{settings.lake.uri.rstrip('/')}/{key}")
    return 0


def written(lineage: Lineage) -> bytes:
    """The page of a run."""
    from jobs.reporting.content import read_content  # plots are slow to import: printing a page does without
    from jobs.reporting.page import render

    return render(read_content(lineage)).encode()


def stored(lake: Lake, name: str) -> bytes:
    """The page of a name.

    Raises:
        UsageError: there is none.
    """
    page = lake.store.get(f"reports/{name}") if NAME.fullmatch(name) else None
    if page is None:
        raise UsageError(f"no report {name!r}: names are as_of=20260131T000000Z/v=0123456789abcdef.html")
    return page
