"""Take items out of all answers, or bring them back, within seconds: what the running API follows beside the release.

It holds across publishes and rollbacks until it is forgotten. A line of --file is a word and an item id, ``out sku-1``,
``in sku-2`` or ``forget sku-3``, as --list prints them: its output, kept, sets everything again.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import redis

from conf.settings import Settings
from jobs.rim.errors import UsageError
from jobs.rim.outside import current, indices, live_catalogue, replace
from jobs.rim.redis_client import connect, redis_trouble
from schemas.availability import (
    UNCORRECTED,
    Availability,
    changed,
    items_of,
    pack_availability,
    unpack_availability,
)
from schemas.catalogue import Catalogue
from schemas.keys import Keys

WORDS = ("out", "in", "forget")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", nargs="+", default=[], metavar="ITEM_ID", help="out of all answers")
    parser.add_argument("--in", nargs="+", default=[], metavar="ITEM_ID", help="back, whatever the catalogue says")
    parser.add_argument("--forget", nargs="+", default=[], metavar="ITEM_ID", help="as the catalogue says, again")
    parser.add_argument("--file", type=Path, help="lines such as `out ITEM_ID`; - reads standard input")
    parser.add_argument("--skip-unknown", action="store_true", help="overlook ids the live catalogue does not know")
    parser.add_argument("--list", action="store_true", help="print all corrections as such lines")


def main(args: argparse.Namespace, settings: Settings) -> int:
    keys, wanted = Keys(settings.redis.namespace), wanted_changes(args)
    if not args.list and not any(wanted.values()):
        raise UsageError("nothing to do: give --out, --in, --forget, --file or --list")
    with redis_trouble(settings.redis.url):
        client = connect(settings)
        catalogue = live_catalogue(client, keys)
        if any(wanted.values()):
            print(told(set_availability(client, keys, catalogue, wanted, args.skip_unknown)), file=sys.stderr)
        if args.list:
            raw = client.get(keys.availability)
            print_lines(current(keys.availability, raw, unpack_availability) if raw else UNCORRECTED, catalogue)
    return 0


def wanted_changes(args: argparse.Namespace) -> dict[str, list[str]]:
    """Item ids by word, those of the file behind the others."""
    wanted = {word: list(getattr(args, word)) for word in WORDS}
    for word, item_id in lines_of(args.file) if args.file else ():
        wanted[word].append(item_id)
    return wanted


def lines_of(path: Path) -> Iterable[tuple[str, str]]:
    """Raise UsageError for a file that cannot be read or a line that is none of ours."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise UsageError(f"--file {path}: {error.strerror}") from None
    for number, line in enumerate(text.split("\n"), 1):
        word, _, item_id = line.rstrip("\r").partition(" ")
        if word in WORDS and item_id:
            yield word, item_id
        elif line.strip():
            raise UsageError(f"--file {path}, line {number}: {line[:80]!r}; allowed: out, in or forget, and an item id")


def set_availability(
    client: redis.Redis, keys: Keys, catalogue: Catalogue, wanted: dict[str, list[str]], skip_unknown: bool = False
) -> Availability:
    """Change the corrections in one step; returns what holds afterwards. An item under two words is out.

    Raises:
        UsageError: the live catalogue does not know an item.
        TemporaryError: what stands there cannot be read, or changes too often.
    """
    found = {word: indices(catalogue, wanted.get(word, ()), skip_unknown) for word in WORDS}

    def change(before: Availability) -> Availability:
        return changed(before, out=found["out"], back=found["in"], forget=found["forget"])

    return replace(client, keys.availability, unpack_availability, UNCORRECTED, change, pack_availability)


def told(now: Availability) -> str:
    counts = (sum(value.bit_count() for value in bits) for bits in (now.out, now.back))
    return "availability {}: {:,} items out, {:,} back".format(now.sequence, *counts)


def print_lines(now: Availability, catalogue: Catalogue) -> None:
    for word, bits in (("out", now.out), ("in", now.back)):
        for idx in items_of(bits):
            if idx < len(catalogue):
                print(word, catalogue.id(idx))
