"""What a generation has in the warm store, and how long it lasts."""

from datetime import UTC, datetime
from typing import NamedTuple

from schemas.release import Published, parse_time

SECONDS_A_DAY = 86_400
LOW = 1 / 4  # of their life: what has less is written again by the next publish


class WarmPart(NamedTuple):
    """As the release says it: users whose lists are rows there, and when these end."""

    n_warm: int = 0
    warm_until: str = ""


def wrong_of(part: Published | WarmPart, ttl_days: int) -> str:
    """What is wrong with a warm part, in words; empty where nothing is, or there is none."""
    if not part.n_warm:
        return ""
    left_s = (parse_time(part.warm_until) - datetime.now(UTC)).total_seconds()
    return f"has warm rows that end on {part.warm_until[:10]}" if left_s < LOW * ttl_days * SECONDS_A_DAY else ""
