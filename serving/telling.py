"""An answer that accounts for itself: what it came from, its id, and, where asked, how it came about."""

import os
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from schemas.release import Published, parse_time
from schemas.tables import CONTROL_ARM
from serving.asked import Asked
from serving.assembly import items_json
from serving.ladder import CATALOGUE, PROMOTED, Pick, generations, tier_of
from serving.safety import Told
from serving.tokens import Token, write_token
from serving.view import View


class Made(NamedTuple):
    """Everything an answer tells of; ``told`` is None where no explanation was asked for."""

    surface: str
    entry: Published | None  # of the surface asked
    asked: Asked
    segments: tuple[str, ...]
    picks: list[Pick]
    view: View
    degraded: bool
    told: list[Told] | None


def personal(made: Made, key: bytes, now_s: int) -> dict[str, Any]:
    """A ``schemas.api.PersonalAnswer`` with an id of its own."""
    age_s = max(0, now_s - seconds(made.entry.generated_at)) if made.entry else None
    return {
        "recommendation_id": recommendation_id(made, key, now_s, os.urandom(6).hex()),
        "age_s": age_s,
        **account(made),
    }


def public(made: Made, key: bytes, subject: str) -> dict[str, Any]:
    """A ``schemas.api.PublicAnswer``: nothing of the moment in it; ``subject`` tells apart what else may differ."""
    said = repr((made.surface, subject, made.asked)).encode("utf-8", "surrogatepass")
    time_s = seconds(made.entry.generated_at) if made.entry else 0
    nonce = blake2b(said, digest_size=6).hexdigest()
    return {"recommendation_id": recommendation_id(made, key, time_s, nonce), **account(made)}


def recommendation_id(made: Made, key: bytes, time_s: int, nonce: str) -> str:
    base = made.entry.base if made.entry else None
    return write_token(key, Token(made.surface, CONTROL_ARM, base, made.asked.n, time_s, nonce))


def account(made: Made) -> dict[str, Any]:
    """The fields all answers have; an answer without any item comes from the last rung."""
    others = generations(made.picks)
    others.pop(made.surface, None)
    fields = {
        "generation": made.entry.base if made.entry else None,
        "generations": others,
        "generated_at": made.entry.generated_at if made.entry else None,
        "tier": tier_of(made.picks),
        "arm": CONTROL_ARM,
        "degraded": made.degraded,
        "items": items_json(made.picks, made.view.pieces),
    }
    return fields if made.told is None else fields | {"explain": explain(made)}


def explain(made: Made) -> dict[str, Any]:
    """A ``schemas.api.Explain``."""
    return {
        "context": made.asked.context,
        "segments": list(made.segments),
        "rungs": [told_rung(told) for told in made.told],
        "from_catalogue": sum(rung is CATALOGUE for _, _, rung in made.picks),
        "promoted": [made.view.catalogue.id(item) for item, _, rung in made.picks if rung is PROMOTED],
    }


def told_rung(told: Told) -> dict[str, Any]:
    return {
        "tier": told.rung.tier,
        "surface": told.rung.surface,
        "generation": told.rung.generation,
        "n_items": len(told.rung.slate.items),
        "gave": told.gave,
        "dropped": dict(sorted(told.dropped.items())),
    }


@lru_cache
def seconds(text: str) -> int:
    """Seconds since 1970 of a time in the release."""
    return int(parse_time(text).timestamp())
