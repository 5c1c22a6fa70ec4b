"""Promotions at request time: items pinned to a place of an answer, for a while, maybe for one segment only.

JSON under ``{ctl}:promotions``, outside generations like availability, so it holds within seconds, on every surface it
names. (``[[promotion]]`` of the rules file works by night, inside slates.) An item named here still has to be
available, unseen, not excluded and within the request's filters: a promotion may stay away, it never brings one back.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache

import orjson

from schemas.release import parse_time
from schemas.tables import SURFACES

PROMOTIONS_VERSION = 1
MAX_PLACE = 255
MAX_PROMOTIONS = 1_000
MAX_ITEMS = 100


@dataclass(frozen=True, slots=True)
class Promotion:
    """The first eligible of ``items`` stands at ``place`` (from 1) while starts <= now < until (UTC)."""

    items: tuple[str, ...]
    place: int
    starts: str
    until: str
    surfaces: tuple[str, ...] = ("for_you",)
    segment: str | None = None  # as in trending, such as country=France or category=Toys; null: every request

    def fits(self, surface: str, segments: Collection[str]) -> bool:
        """Whether it is for a request of this surface that names these segments."""
        return surface in self.surfaces and (self.segment is None or self.segment in segments)


class Promotions:
    """All promotions, and the number of the change that made them."""

    def __init__(self, sequence: int, rows: tuple[Promotion, ...]):
        self.sequence, self.rows = sequence, rows
        self._active: tuple[int, tuple[Promotion, ...]] = (-1, ())  # the second it was looked at

    def active(self, now: float) -> tuple[Promotion, ...]:
        """Those whose time it is, in their order; the same tuple as long as they stay the same. Whole seconds count."""
        second, active = self._active
        if second != int(now):
            found = tuple(row for row in self.rows if seconds(row.starts) <= int(now) < seconds(row.until))
            active = active if found == active else found
            self._active = (int(now), active)
        return active

    def to_json(self) -> bytes:
        rows = [asdict(row) for row in self.rows]
        return orjson.dumps({"version": PROMOTIONS_VERSION, "sequence": self.sequence, "promotions": rows})


NO_PROMOTIONS = Promotions(0, ())


@lru_cache(2 * MAX_PROMOTIONS)
def seconds(text: str) -> float:
    return parse_time(text).timestamp()


def read_promotions(raw: bytes) -> Promotions:
    """Read strictly.

    Raises:
        ValueError: no JSON, another version, or a promotion that is not as ``read_promotion`` wants it.
    """
    value = orjson.loads(raw)
    if not isinstance(value, dict) or value.get("version") != PROMOTIONS_VERSION:
        raise ValueError(f"promotions: {raw[:80]!r}; allowed: an object of version {PROMOTIONS_VERSION}")
    sequence, rows = value.get("sequence"), value.get("promotions")
    if type(sequence) is not int or not isinstance(rows, list):
        raise ValueError("promotions: sequence or promotions is missing; allowed: a number and a list")
    return Promotions(sequence, promotions_of(rows))


def promotions_of(rows: list) -> tuple[Promotion, ...]:
    """Raise ValueError naming the first wrong one."""
    if len(rows) > MAX_PROMOTIONS:
        raise ValueError(f"promotions: {len(rows):,} of them; allowed: at most {MAX_PROMOTIONS:,}")
    return tuple(read_promotion(number, row) for number, row in enumerate(rows, 1))


def read_promotion(number: int, row: object) -> Promotion:
    """One promotion of a JSON or TOML table; times are UTC as the release writes them, 2026-12-24T00:00:00Z."""
    names = [f.name for f in fields(Promotion)]
    if not isinstance(row, Mapping) or not {"items", "place", "starts", "until"} <= set(row) <= set(names):
        raise ValueError(f"promotion {number}: {row!r:.120}; allowed: a table of {', '.join(names)}")
    lists = {name: tuple(row[name]) for name in ("items", "surfaces") if isinstance(row.get(name), list | tuple)}
    found = Promotion(**{**row, **lists})
    check(number, "items", found.items, texts(found.items) and 0 < len(found.items) <= MAX_ITEMS, "1 to 100 item ids")
    check(number, "place", found.place, type(found.place) is int and 1 <= found.place <= MAX_PLACE, f"1 to {MAX_PLACE}")
    known = texts(found.surfaces) and found.surfaces and set(found.surfaces) <= set(SURFACES)
    check(number, "surfaces", found.surfaces, known, f"a list of {', '.join(SURFACES)}")
    check(number, "segment", found.segment, found.segment is None or isinstance(found.segment, str), "text")
    for name in ("starts", "until"):
        check(number, name, getattr(found, name), is_time(getattr(found, name)), "a time such as 2026-12-24T00:00:00Z")
    check(number, "until", found.until, found.starts < found.until, "a time after starts")
    return found


def check(number: int, name: str, value: object, good: object, allowed: str) -> None:
    if not good:
        raise ValueError(f"promotion {number}: {name} = {value!r:.120}; allowed: {allowed}")


def texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(text, str) for text in value)


def is_time(value: object) -> bool:
    try:
        seconds(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True
