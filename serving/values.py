"""Single values of a request: read from text, bounded, refused in words where they are wrong."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote_to_bytes

from schemas.routes import MAX_LIST, MAX_PRICE, MAX_QUERY, MAX_TEXT

NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
PRICE = f"a number such as 12.5, from 0 to {MAX_PRICE:,}"
TOLD = 80  # characters of a wrong value that a refusal repeats


class Refused(ValueError):
    """The request is wrong; the message says what is allowed."""


def pairs(query: str) -> list[tuple[str, str]]:
    """Names and values of a query string; ``+`` is a space.

    Raises:
        Refused: it is too long, or what is percent-encoded is no UTF-8.
    """
    if len(query) > MAX_QUERY:
        raise Refused(f"the query has {len(query):,} characters; allowed: at most {MAX_QUERY:,}")
    found = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            found.append((unquoted(name), unquoted(value)))
    return found


def unquoted(text: str) -> str:
    if "%" not in text and "+" not in text and text.isascii():
        return text
    try:
        return unquote_to_bytes(text.replace("+", " ").encode("latin-1")).decode()
    except UnicodeError:  # an environment may hold more than WSGI allows
        raise Refused(f"{text[:TOLD]!r} is no percent-encoded UTF-8") from None


def listed(name: str, texts: list[str]) -> tuple[str, ...]:
    """The texts that commas part, and each whole one too: an id that has a comma is meant by it."""
    parts = [short(name, part) for text in few(name, texts) for part in text.split(",") if part]
    return tuple(dict.fromkeys([*few(name, parts), *(text for text in texts if text and len(text) <= MAX_TEXT)]))


def few(name: str, texts: Sequence[str]) -> Sequence[str]:
    """Raise Refused for too many texts."""
    if len(texts) > MAX_LIST:
        raise Refused(f"{name} lists {len(texts):,} texts; allowed: at most {MAX_LIST}")
    return texts


def short(name: str, text: str) -> str:
    """Raise Refused for a text that is too long."""
    if len(text) > MAX_TEXT:
        raise Refused(f"{name} has {len(text):,} characters; allowed: at most {MAX_TEXT:,}")
    return text


def price(name: str, text: str) -> float:
    return bounded_price(name, float(text)) if NUMBER.fullmatch(text) else refuse(name, text, PRICE)


def bounded_price(name: str, value: float) -> float:
    return value if 0 <= value <= MAX_PRICE else refuse(name, value, PRICE)


def flag(name: str, text: str) -> bool:
    return text == "true" if text in ("true", "false") else refuse(name, text, "true or false")


def time(name: str, text: str) -> str:
    try:
        utc_hour(text)
    except ValueError:
        refuse(name, text, "an ISO 8601 time such as 2026-01-31T20:15:00Z; without a zone it is UTC")
    return text


def utc_hour(text: str) -> int:
    """The hour by UTC of an ISO 8601 time; a + that a query made a space is one again.

    Raises:
        ValueError: it is none.
    """
    if len(text) > 40:
        raise ValueError("too long for a time")
    found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    offset = found.utcoffset() or timedelta()
    return int((timedelta(hours=found.hour, minutes=found.minute) - offset) / timedelta(hours=1) // 1) % 24


FROM_TEXT: dict[str, Callable[[str, str], Any]] = {
    "text": short,
    "price": price,
    "flag": flag,
    "time": time,
}


def refuse(name: str, value: object, allowed: str) -> None:
    """Raise Refused; a list or object is not repeated, for it may be as deep as JSON goes."""
    simple = value is None or isinstance(value, str | int | float)
    told = repr(value[:TOLD] if isinstance(value, str) else value) if simple else "a list or an object"
    raise Refused(f"{name} = {told}; allowed: {allowed}")
