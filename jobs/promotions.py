"""Pin items to places of answers, for a while, maybe for one segment: what the API follows beside the release.

The file is TOML, all of it replaces what was set before:

    [[promotion]]
    items = ["sku-17", "sku-18"]        # the first that is available, unseen and within the request's filters
    place = 3                           # 1 to 255
    starts = 2026-12-01T00:00:00Z
    until = 2026-12-24T00:00:00Z
    surfaces = ["for_you", "trending"]  # default: for_you
    segment = "country=France"          # only for requests that name it; default: every request
"""

import argparse
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import redis
from orjson import dumps

from conf.settings import Settings
from jobs.rim.errors import UsageError
from jobs.rim.outside import current, live_catalogue, replace
from jobs.rim.redis_client import connect, redis_trouble
from schemas.keys import Keys
from schemas.promotions import NO_PROMOTIONS, Promotion, Promotions, promotions_of, read_promotions
from schemas.release import TIME_FORMAT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--file", type=Path, help="TOML with [[promotion]] tables; replaces all that were set")
    what.add_argument("--clear", action="store_true", help="no promotions any more")
    what.add_argument("--list", action="store_true", help="print them as such a file")


def main(args: argparse.Namespace, settings: Settings) -> int:
    keys = Keys(settings.redis.namespace)
    rows = read_file(args.file) if args.file else ()
    with redis_trouble(settings.redis.url):
        client = connect(settings)
        if args.list:
            raw = client.get(keys.promotions)
            now = current(keys.promotions, raw, read_promotions) if raw else NO_PROMOTIONS
            print("\n\n".join(map(as_toml, now.rows)))
            return 0
        unknown = unknown_items(client, keys, rows)
        now = set_promotions(client, keys, rows)
    if unknown:
        print(f"warning: not in the live catalogue: {', '.join(unknown[:10])}", file=sys.stderr)
    print(f"promotions {now.sequence}: {len(now.rows):,} of them", file=sys.stderr)
    return 0


def read_file(path: Path) -> tuple[Promotion, ...]:
    """Raise UsageError when it cannot be read, is no TOML, or says something else than promotions."""
    try:
        value = tomllib.loads(path.read_text("utf-8"))
        if set(value) != {"promotion"} or not isinstance(value["promotion"], list):
            raise ValueError(f"it has {', '.join(value) or 'nothing'}; allowed: [[promotion]] tables")
        return promotions_of([{name: plain(field) for name, field in row.items()} for row in value["promotion"]])
    except OSError as error:
        raise UsageError(f"--file {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"--file {path}: {error}") from None


def plain(field: object) -> object:
    """TOML's times as the release writes them, cut to the second; without a zone they are UTC."""
    if not isinstance(field, datetime):
        return field
    return (field if field.tzinfo else field.replace(tzinfo=UTC)).astimezone(UTC).strftime(TIME_FORMAT)


def unknown_items(client: redis.Redis, keys: Keys, rows: tuple[Promotion, ...]) -> list[str]:
    catalogue = live_catalogue(client, keys) if rows else {}
    return [item_id for row in rows for item_id in row.items if catalogue.index(item_id) is None]


def set_promotions(client: redis.Redis, keys: Keys, rows: tuple[Promotion, ...]) -> Promotions:
    """Replace all promotions in one step; returns what holds afterwards."""

    def change(before: Promotions) -> Promotions:
        return Promotions(before.sequence + 1, rows)

    return replace(client, keys.promotions, read_promotions, NO_PROMOTIONS, change, Promotions.to_json)


def as_toml(row: Promotion) -> str:
    """JSON's texts and lists of texts are TOML's too."""
    lines = [f"items = {dumps(row.items).decode()}", f"place = {row.place}", f"starts = {row.starts}"]
    lines += [f"until = {row.until}", f"surfaces = {dumps(row.surfaces).decode()}"]
    if row.segment is not None:
        lines.append(f"segment = {dumps(row.segment).decode()}")
    return "\n".join(["[[promotion]]", *lines])
