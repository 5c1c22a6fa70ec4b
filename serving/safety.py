"""What an answer may hold: the last look at lists made by night, before anybody sees them. Pure.

Lists are longer than answers, and each item goes through: available, not seen, not just bought, not excluded, not the
item asked about, within the filters, not had from a higher rung. Promotions then take their places, no category gets
more than its cap, and the ladder refills to n. The cap is soft: what it held back comes after the last rung, before the
rest of the catalogue; so fewer than n come only where fewer eligible items exist.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.catalogue import ABSENT
from serving.ladder import CATALOGUE, PROMOTED, Pick, Rung

NO_ITEMS: Collection[int] = frozenset()


class Rules(NamedTuple):
    """What holds for one request; ``blocked`` are items by the reason why they never come out."""

    n: int
    available: Callable[[int], bool]
    blocked: Mapping[str, Collection[int]] = {}
    allowed: Callable[[int], bool] | None = None  # the request's filters
    promoted: Sequence[tuple[int, Sequence[int]]] = ()  # place from 1, and the items that may stand there, best first
    max_per_category: int = 0  # 0: no cap
    category: Callable[[int], int] | None = None


@dataclass
class Told:
    """What became of one rung's items: how many it gave, and how many were dropped, by reason."""

    rung: Rung
    gave: int = 0
    dropped: Counter = field(default_factory=Counter)


def select(
    rungs: Iterable[Rung],
    rules: Rules,
    leftovers: Callable[[], Iterable[int]] = tuple,
    told: list[Told] | None = None,
) -> list[Pick]:
    """The first ``rules.n`` eligible items of the rungs in order, promotions in their places.

    ``leftovers`` are any further item indices, asked for when all rungs are too short. Rungs behind the one that fills
    the answer are not looked at. ``told``, where given, gets what became of each rung that was; that costs time.
    """
    selection = Selection(rules, told)
    if selection.wanted > 0:
        selection.fill(rungs, leftovers)
        selection.settle()
    return placed(selection.picks, selection.promoted)


class Selection:
    """The items taken so far; an item is in ``taken`` when it may not be taken (again)."""

    __slots__ = ("counts", "held", "picks", "promoted", "rules", "taken", "told", "wanted")

    def __init__(self, rules: Rules, told: list[Told] | None):
        self.rules, self.told = rules, told
        self.taken: set[int] = set().union(*rules.blocked.values())
        self.counts: Counter[int] = Counter()
        self.promoted = self.promote() if rules.promoted else []
        self.wanted = rules.n - len(self.promoted)
        self.picks: list[Pick] = []
        self.held: list[Pick] = []

    def eligible(self, item: int) -> bool:
        allowed = self.rules.allowed
        return item not in self.taken and self.rules.available(item) and (allowed is None or allowed(item))

    def promote(self) -> list[tuple[int, Pick]]:
        """One item for each promoted place within the answer, the first promotion of a place winning."""
        found: dict[int, Pick] = {}
        for place, items in self.rules.promoted:
            if place > self.rules.n or place in found:
                continue
            item = next(filter(self.eligible, items), None)
            if item is not None:
                self.taken.add(item)
                self.count(item)
                found[place] = (item, 0, PROMOTED)
        return sorted(found.items())

    def fill(self, rungs: Iterable[Rung], leftovers: Callable[[], Iterable[int]]) -> None:
        for rung in rungs:
            self.take(rung)
            if len(self.picks) == self.wanted:
                return
        self.picks += self.held[: self.wanted - len(self.picks)]
        if len(self.picks) < self.wanted:
            self.take_leftovers(leftovers())

    def take(self, rung: Rung) -> None:
        """The eligible items of a rung up to the wanted number; those above their category's cap are held back."""
        taken, picks, wanted, told = self.taken, self.picks, self.wanted, self.tell(rung)
        available, allowed, cap = self.rules.available, self.rules.allowed, self.rules.max_per_category
        for place, item in enumerate(rung.slate.items):
            if item in taken or not available(item) or (allowed is not None and not allowed(item)):
                if told is not None:
                    told.dropped[self.reason(item)] += 1
                continue
            taken.add(item)
            if cap and self.count(item) > cap:
                self.held.append((item, place, rung))
                continue
            picks.append((item, place, rung))
            if len(picks) == wanted:
                return

    def take_leftovers(self, items: Iterable[int]) -> None:
        for item in items:
            if self.eligible(item):
                self.taken.add(item)
                self.picks.append((item, 0, CATALOGUE))
                if len(self.picks) == self.wanted:
                    return

    def count(self, item: int) -> int:
        """How many of its category there are with it; 0 where it has none."""
        code = ABSENT if self.rules.category is None else self.rules.category(item)
        if code == ABSENT:
            return 0
        self.counts[code] += 1
        return self.counts[code]

    def tell(self, rung: Rung) -> Told | None:
        if self.told is None:
            return None
        self.told.append(Told(rung))
        return self.told[-1]

    def settle(self) -> None:
        """Fill in what is known at the end only: which rung gave how many, and what of it stayed held back."""
        for told in self.told or ():
            told.gave = sum(rung is told.rung for _, _, rung in self.picks)
            chosen = {item for item, _, _ in self.picks}
            held = sum(rung is told.rung and item not in chosen for item, _, rung in self.held)
            if held:
                told.dropped["diversity"] = held

    def reason(self, item: int) -> str:
        """Why an item that came up was dropped."""
        for name, items in self.rules.blocked.items():
            if item in items:
                return name
        if item in self.taken:
            return "repeated"
        return "filtered" if self.rules.available(item) else "unavailable"


def placed(picks: list[Pick], promoted: list[tuple[int, Pick]]) -> list[Pick]:
    """Promotions put in their places, rising; behind the last item where the answer is shorter than that."""
    for place, pick in promoted:
        picks.insert(place - 1, pick)
    return picks
