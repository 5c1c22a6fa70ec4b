"""The ladder: lists from the most personal to the most general, and how the items of an answer name theirs. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from schemas.codec import Slate


class Rung(NamedTuple):
    """One list to answer from; ``surface`` and ``generation`` say where it comes from."""

    tier: str
    surface: str
    generation: str | None
    slate: Slate


# One item of an answer: item_idx, its position in the rung's slate, the rung. A bare tuple: twenty are made a request.
Pick = tuple[int, int, Rung]

# No rungs of the ladder, each with one position for all its items: whatever else there is when all lists are too short,
# and what stands in a promoted place.
CATALOGUE = Rung("copy", "catalogue", None, Slate([-1], [0.0], ["catalogue"], [-1]))
PROMOTED = Rung("copy", "promotion", None, Slate([-1], [0.0], ["promotion"], [-1]))


def tier_of(picks: Iterable[Pick]) -> str:
    """The rung that answered: that of the first item which is no promotion."""
    for _, _, rung in picks:
        if rung is not PROMOTED:
            return rung.tier
    return "copy"


def generations(picks: Iterable[Pick]) -> dict[str, str]:
    """surface -> generation of every list that gave an item."""
    found: dict[str, str] = {}
    last = None
    for _, _, rung in picks:
        if rung is not last:
            last = rung
            if rung.generation is not None:
                found[rung.surface] = rung.generation
    return found
