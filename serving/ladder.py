"""The ladder: lists from the most personal to the most general, and how the items of an answer name theirs. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from schemas.codec import EMPTY, Slate


class Rung(NamedTuple):
    """One list to answer from; ``surface`` and ``generation`` say where it comes from."""

    tier: str
    surface: str
    generation: str | None
    slate: Slate


class Pick(NamedTuple):
    """One item of an answer and the rung that gave it; ``because_of`` is -1 for none."""

    item_idx: int
    score: float
    source: str
    because_of: int
    rung: Rung


CATALOGUE = Rung("copy", "catalogue", None, EMPTY)  # whatever else there is, when all lists are too short
PROMOTED = Rung("copy", "promotion", None, EMPTY)  # no rung of the ladder: what stands in a promoted place


def tier_of(picks: Iterable[Pick]) -> str:
    """The rung that answered: that of the first item which is no promotion."""
    return next((pick.rung.tier for pick in picks if pick.rung is not PROMOTED), "copy")


def generations(picks: Iterable[Pick]) -> dict[str, str]:
    """surface -> generation of every list that gave an item."""
    return {pick.rung.surface: pick.rung.generation for pick in picks if pick.rung.generation}
