"""Who gets which place: pinned items, drawn items, and the others in line under the cap per category."""

from collections import Counter, deque
from collections.abc import Callable

import numpy as np

from jobs.kernels.rules.context import NO_CATEGORY, Context, User
from jobs.kernels.rules.explore import draw, lot

Explorer = Callable[[int, "Line"], tuple[int | None, float]]  # place, line → position (None: nobody) and propensity


class Line:
    """Candidates waiting in order. While the cap holds, who is of a full category is held back, not sent away."""

    def __init__(self, order: list[int], category: list[int], cap: int):
        self.fresh, self.held = deque(order), deque()
        self.category, self.cap = category, cap
        self.counts = Counter()
        self.gone = set()

    def full(self, position: int) -> bool:
        category = self.category[position]
        return self.cap > 0 and category != NO_CATEGORY and self.counts[category] >= self.cap

    def take(self, position: int, counts: bool = True) -> int:
        """Remember who has a place, whoever gave it to them."""
        self.gone.add(position)
        self.counts[self.category[position]] += counts
        return position

    def next(self) -> int | None:
        """The first whose category is not full; when there is nobody, the first who was held back; None at the end."""
        while self.fresh:
            position = self.fresh.popleft()
            if position in self.gone:
                continue
            if not self.full(position):
                return self.take(position)
            self.held.append(position)
        while self.held:
            position = self.held.popleft()
            if position not in self.gone:
                return self.take(position)
        return None

    def lift_cap(self) -> None:
        """The window ends: who was held back comes first, being further up in the order."""
        self.cap = 0
        self.fresh.extendleft(reversed(self.held))
        self.held.clear()


def fill(
    order: np.ndarray, category: np.ndarray, pinned: dict[int, int], explore: Explorer, context: Context
) -> tuple[list[int], np.ndarray]:
    """The position that gets each place from the top, and its propensity, ``(n_chosen,)`` float32.

    ``order`` holds the candidates' positions, ``category`` that of every position, ``pinned`` place → position. Where
    the line ends before a pinned place, that item moves up.
    """
    cap, window = context.rules.diversity.max_per_category, context.rules.diversity.window
    line = Line(order.tolist(), category.tolist(), cap)
    for place in sorted(pinned):  # before the first place: a pinned item is nobody else's, and counts from the top
        line.take(pinned[place], counts=place <= window)
    rows = []
    for place in range(1, context.n + 1):
        if place == window + 1:
            line.lift_cap()
        position, propensity = (pinned[place], 1.0) if place in pinned else explore(place, line)
        position = line.next() if position is None else position
        if position is None:
            rows.extend((pinned[later], 1.0) for later in sorted(pinned) if later > place)
            break
        rows.append((position, propensity))
    return [position for position, _ in rows], np.array([propensity for _, propensity in rows], np.float32)


def explorer(items: np.ndarray, scores: np.ndarray, order: np.ndarray, user: User, context: Context) -> Explorer:
    """Draws a new item for a place of exploration, out of those that have no place yet and whose category is not full.

    So what the model has put further up is never moved down, and where no new item is left the place is ordinary.
    """
    rule = context.rules.exploration
    slots = set(rule.slots[: rule.n_slots])
    new = order[context.new[items[order]]].tolist() if slots else []

    def explore(place: int, line: Line) -> tuple[int | None, float]:
        if place not in slots:
            return None, 1.0
        pool = [position for position in new if position not in line.gone and not line.full(position)]
        if not pool:
            return None, 1.0
        drawn, propensity = draw(scores[pool], rule.temperature, lot(user.user_id, context.as_of, place))
        return line.take(pool[drawn]), propensity

    return explore
