"""What a request asks for: its parameters, read by the table in ``schemas.routes``, refused in words where wrong."""

from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from conf.settings import Serving
from schemas.keys import DAYPARTS
from schemas.routes import (
    BATCH_SURFACES,
    FOR_YOU,
    MAX_BATCH_ITEMS,
    MAX_SUBJECTS,
    PARAMETERS,
)
from serving.values import FROM_TEXT, TOLD, Refused, bounded_price, few, listed, pairs, refuse, short, utc_hour

REMEMBERED_QUERIES = 1_024
REMEMBERED_LENGTH = 200


class Asked(NamedTuple):
    """The parameters of a look-up, checked; prices are None for no limit."""

    n: int
    segment: str | None = None
    exclude: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    price_min: float | None = None
    price_max: float | None = None
    country: str | None = None
    device: str | None = None
    time: str | None = None
    explain: bool = False

    @property
    def context(self) -> dict[str, str]:
        named = {"country": self.country, "device": self.device, "time": self.time}
        return {name: value for name, value in named.items() if value}

    @property
    def segments(self) -> tuple[str, ...]:
        """Trending segments the request names, the most particular first."""
        found = [self.segment] if self.segment else []
        found += [f"category={name}" for name in self.category]
        found += [f"{name}={value}" for name, value in self.context.items() if name != "time"]
        if self.time:
            found.append(f"daypart={DAYPARTS[utc_hour(self.time) // 6]}")
        return tuple(dict.fromkeys(found))


class Subject(NamedTuple):
    """One look-up of a batch."""

    surface: str
    id: str


class Forms:
    """Reads queries and batches; ``default_n`` and ``max_n`` are the settings'."""

    def __init__(self, settings: Serving):
        self.max_n = settings.max_n
        self.default_n = min(settings.default_n, settings.max_n)
        self._remembered = lru_cache(REMEMBERED_QUERIES)(self.read_query)

    def query(self, names: tuple[str, ...], query: str) -> Asked:
        """The parameters ``names`` allows out of a query string, as WSGI gives it; short ones are read once.

        Raises:
            Refused: an unknown parameter, one given twice, or a wrong value.
        """
        if len(query) <= REMEMBERED_LENGTH:
            return self._remembered(names, query)
        return self.read_query(names, query)

    def read_query(self, names: tuple[str, ...], query: str) -> Asked:
        found: dict[str, list[str]] = {}
        for name, value in pairs(query):
            if name not in names:
                raise Refused(f"query parameter {name[:TOLD]!r} is unknown; allowed: {', '.join(names) or 'none'}")
            found.setdefault(name, []).append(value)
        values = {name: self.from_query(name, texts) for name, texts in found.items()}
        return checked(Asked(**{"n": self.default_n, **values}))

    def from_query(self, name: str, texts: list[str]) -> Any:
        kind = PARAMETERS[name].kind
        if kind == "texts":
            return listed(name, texts)
        if len(texts) > 1:
            raise Refused(f"query parameter {name!r} is given {len(texts)} times; allowed: once")
        return self.count(texts[0]) if kind == "count" else FROM_TEXT[kind](name, texts[0])

    def count(self, text: str) -> int:
        # isdecimal alone would let other scripts' digits through, and a million of them would be slow to convert
        if not (text.isascii() and text.isdecimal() and len(text) <= 9 and 1 <= int(text) <= self.max_n):
            raise Refused(f"n = {text[:TOLD]!r}; allowed: a whole number from 1 to {self.max_n}")
        return int(text)

    def batch(self, body: bytes) -> tuple[list[Subject], Asked]:
        """Subjects and common options of a batch.

        Raises:
            Refused: no JSON, or anything in it is unknown, missing or wrong.
        """
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Refused(f"the body is no JSON: {str(error)[:TOLD]}") from None
        if not isinstance(value, dict) or not isinstance(value.get("subjects"), list):
            raise Refused('the body has no list "subjects"; allowed: {"subjects": [{"user_id": "…"}], "n": 10, …}')
        subjects = value.pop("subjects")
        if not 1 <= len(subjects) <= MAX_SUBJECTS:
            raise Refused(f"subjects has {len(subjects):,} entries; allowed: 1 to {MAX_SUBJECTS}")
        asked = self.options(value)
        if len(subjects) * asked.n > MAX_BATCH_ITEMS:
            raise Refused(f"{len(subjects)} subjects with n = {asked.n}; allowed: {MAX_BATCH_ITEMS:,} items in all")
        return [subject(place, entry) for place, entry in enumerate(subjects)], asked

    def options(self, value: dict[str, Any]) -> Asked:
        for name in value:
            if name not in FOR_YOU:
                raise Refused(f"{name[:TOLD]!r} is unknown; allowed: subjects, {', '.join(FOR_YOU)}")
        return checked(Asked(**{"n": self.default_n, **{name: self.from_json(name, v) for name, v in value.items()}}))

    def from_json(self, name: str, value: Any) -> Any:
        kind = PARAMETERS[name].kind
        if kind == "count":
            whole = type(value) in (int, float) and value == value // 1  # to JSON, 5.0 is whole too
            return self.count(str(int(value))) if whole else refuse(name, value, "a whole number")
        if kind == "texts":
            good = isinstance(value, list) and all(isinstance(text, str) for text in value)
            return (
                tuple(short(name, text) for text in few(name, value))
                if good
                else refuse(name, value, "a list of texts")
            )
        if kind == "flag":
            return value if isinstance(value, bool) else refuse(name, value, "true or false")
        if kind == "price":
            return bounded_price(name, float(value)) if type(value) in (int, float) else refuse(name, value, "a number")
        return FROM_TEXT[kind](name, value) if isinstance(value, str) else refuse(name, value, "text")


def checked(asked: Asked) -> Asked:
    if asked.price_min is not None and asked.price_max is not None and asked.price_min > asked.price_max:
        raise Refused(f"price_min = {asked.price_min:g} is above price_max = {asked.price_max:g}; allowed: at most it")
    return asked


def subject(place: int, entry: Any) -> Subject:
    """One entry of a batch's subjects; raise Refused for anything else."""
    match entry:
        case {"user_id": str(found), **rest} if not rest and found:
            return Subject("for_you", short(f"subjects[{place}].user_id", found))
        case {"item_id": str(found), **rest} if set(rest) <= {"surface"} and found:
            surface = rest.get("surface", "similar")
            if isinstance(surface, str) and surface in BATCH_SURFACES:
                return Subject(surface, short(f"subjects[{place}].item_id", found))
    allowed = f'{{"user_id": "…"}} or {{"item_id": "…", "surface": "{" or ".join(BATCH_SURFACES)}"}}'
    refuse(f"subjects[{place}]", entry, allowed)
