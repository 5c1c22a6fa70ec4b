"""Leaves the gate's numbers beside the release, for the console: what it saw of each generation, and what it allows."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
import redis

from conf.settings import Settings
from jobs.judging.bounds import bounds
from jobs.rim.history import History, Origin, Run
from jobs.rim.manifest import compact
from jobs.rim.verdict import Verdict
from schemas.about import pack_about, read_about
from schemas.keys import Keys
from schemas.release import Release

TROUBLE = (redis.exceptions.RedisError, OSError, RuntimeError, LookupError, ValueError, TypeError)


def leave_about(client: redis.Redis, keys: Keys, history: History, release: Release, settings: Settings) -> str:
    """Write those of all that is live or kept; returns what went wrong, for they are worth no failed publish.

    What was written before stays as it was; generations that are kept no longer go.
    """
    try:
        before = read_about(client.get(keys.about))
        kept = sorted(release.kept())
        after = {name: before.get(name) or told(history, name, settings) for name in kept}
        after = {name: tables for name, tables in after.items() if tables}
        if after != before:
            client.set(keys.about, pack_about(after))
    except TROUBLE as error:
        return f"the gate's numbers are not beside the release: {error}"
    return ""


def told(history: History, generation: str, settings: Settings) -> dict[str, Any]:
    """By table what the gate saw; nothing for a generation this lake does not know."""
    origin: Origin | None = history.find(generation)
    verdicts = {table: verdict(history, table, run) for table, run in origin.runs.items()} if origin else {}
    return {table: seen(found, settings) for table, found in verdicts.items() if found}


def verdict(history: History, table: str, run: Run) -> Verdict | None:
    """That let this run of a table pass."""
    store = history.lake.store
    for key in store.list(f"gate/{table}/as_of={compact(datetime.fromisoformat(run.as_of))}"):
        found = Verdict(**orjson.loads(store.get(key)))
        if found.passed and found.version == run.version:
            return found
    return None


def seen(found: Verdict, settings: Settings) -> Mapping[str, Any]:
    """As ``schemas.about`` has it; the bounds are those of these settings."""
    allowed = bounds(found.table, settings, found.statistics) if found.statistics else {}
    statistics = {name: [value, *allowed.get(name, (None, None))] for name, value in found.statistics.items()}
    return {"run": found.version, "statistics": statistics, "warnings": found.warnings}
