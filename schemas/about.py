"""What the gate saw of the generations that are live or kept: JSON beside the release, for the console and for people.

Version 1: ``{"version": 1, "generations": {generation: {table: {"run", "statistics": {name: [seen, least, greatest]},
"warnings": [text]}}}}``; least and greatest are null where there is no such bound. A few kilobytes a generation.
Nothing depends on it: where it is missing or cannot be read, no answer changes.
"""

from collections.abc import Mapping
from typing import Any

import orjson

ABOUT_VERSION = 1
Tables = Mapping[str, Mapping[str, Any]]


def pack_about(generations: Mapping[str, Tables]) -> bytes:
    return orjson.dumps({"version": ABOUT_VERSION, "generations": generations})


def read_about(raw: bytes | None) -> dict[str, Tables]:
    """By generation; nothing where there is no such value, or one this version does not understand."""
    try:
        value = orjson.loads(raw or b"null")
        return {
            generation: {table: checked(seen) for table, seen in tables.items()}
            for generation, tables in (value["generations"] if value["version"] == ABOUT_VERSION else {}).items()
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def checked(seen: Mapping[str, Any]) -> dict[str, Any]:
    """Raise ValueError, TypeError, KeyError or AttributeError for what is not as above."""
    statistics = {str(name): [number(value) for value in three] for name, three in seen["statistics"].items()}
    if any(len(three) != 3 for three in statistics.values()):
        raise ValueError("a statistic is not three numbers")
    return {"run": str(seen["run"]), "statistics": statistics, "warnings": [str(text) for text in seen["warnings"]]}


def number(value: object) -> float | None:
    return None if value is None else float(value)
