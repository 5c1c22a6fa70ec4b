"""The ladder: lists from the most personal to the most general, and how an answer climbs down them. Pure."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from schemas.codec import Slate


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


def climb(
    rungs: Iterable[Rung],
    n: int,
    available: Callable[[int], bool],
    blocked: Collection[int] = (),
    leftovers: Callable[[], Iterable[int]] = tuple,
) -> list[Pick]:
    """The first ``n`` available items of the rungs in order, none twice, none blocked.

    When all rungs together are too short, ``leftovers`` (any further item indices) fill the rest, so fewer than ``n``
    come only where fewer items are available and not blocked. Later rungs are not looked at once there are ``n``.
    """
    picks: list[Pick] = []
    taken = set(blocked)
    for rung in rungs:
        for item, score, source, because in zip(*rung.slate, strict=True):
            if item not in taken and available(item):
                taken.add(item)
                picks.append(Pick(item, score, source, because, rung))
                if len(picks) == n:
                    return picks
    picks.extend(pick_leftovers(leftovers(), n - len(picks), available, taken))
    return picks


CATALOGUE = Rung("copy", "catalogue", None, Slate([], [], [], []))


def pick_leftovers(items: Iterable[int], n: int, available: Callable[[int], bool], taken: set[int]) -> Iterator[Pick]:
    for item in items:
        if n <= 0:
            return
        if item not in taken and available(item):
            taken.add(item)
            n -= 1
            yield Pick(item, 0.0, "catalogue", -1, CATALOGUE)


def generations(picks: Iterable[Pick]) -> dict[str, str]:
    """surface -> generation of every list that gave an item."""
    return {pick.rung.surface: pick.rung.generation for pick in picks if pick.rung.generation}
