"""Which engine factorises tonight's matrix, and how many of the users everything else is learned from.

Up to the memory this process may fill: ``implicit``, that library's steps (see ``als``), from all events. Beyond it all
that is learned of items is learned from as many whole users as fit, for of a large crowd a part says the same; all
users' vectors are then solved for (``folded``). Where too small a part would fit, Spark MLlib factorises everybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from conf.settings import Fit
from jobs.kernels.recipe.grid import Setting
from jobs.kernels.recipe.labels import Events
from jobs.rim.means import Means

BASE_BYTES = 400 << 20  # the interpreter with all it imports
EVENT_BYTES = 300  # of an event that is read, ordered and made a cell: the fit of a million held 700 MiB in all
AFFINITY_WIDTH = 300  # numbers of a user beside those of sources: words searched for, circumstances
VECTOR_COPIES = 3  # fitted, cast, written
FEWEST_EVENTS = 1_000_000  # that say of items what all would
CELL_BYTES = 16  # of a matrix and of its transpose


@dataclass(frozen=True)
class Plan:
    """``share`` of the users are read here; ``estimate_bytes`` is what ``implicit`` would take for all of them."""

    engine: str
    why: str
    estimate_bytes: int
    share: float = 1.0

    def measured(self) -> dict:
        estimate_mb = self.estimate_bytes >> 20
        return {"engine": self.engine, "why": self.why, "estimate_mb": estimate_mb, "share_of_users": self.share}


def plan(n_events: int, means: Means | None, wanted: Fit) -> Plan:
    """Before anything is read; no ``means``: nobody counts. Who wants ``implicit`` gets it for everybody."""
    needed = BASE_BYTES + n_events * EVENT_BYTES
    if means is None or needed <= means.alone_bytes or wanted.engine == "implicit":
        return Plan(wanted.engine if wanted.engine != "auto" else "implicit", "its events fit memory", needed)
    share = max(means.beside_bytes - BASE_BYTES, 0) / (n_events * EVENT_BYTES)
    why = f"{n_events:,} events would take {needed >> 20:,} MiB of {means.alone_bytes >> 20:,}"
    return Plan(beyond_memory(share * n_events, wanted), why, needed, share)


def refined(first: Plan, events: Events, chosen: Mapping[str, Setting], means: Means | None, wanted: Fit) -> Plan:
    """The plan once the users and items of these sources are counted."""
    widths = AFFINITY_WIDTH + sum(setting.options.get("factors", 0) for setting in chosen.values())
    vectors = (events.n_users + events.n_items) * widths * 4 * VECTOR_COPIES
    needed = first.estimate_bytes + vectors + len(events.user) * CELL_BYTES
    if wanted.engine != "auto":
        return Plan(wanted.engine, "fit.engine says so", needed, first.share)
    if first.share < 1:
        return first
    if means is None or needed <= means.alone_bytes:
        return Plan("implicit", "it fits memory", needed)
    n_users, n_items, room = events.n_users, events.n_items, means.alone_bytes >> 20
    why = f"{n_users:,} users and {n_items:,} items would take {needed >> 20:,} MiB of {room:,}"
    share = means.beside_bytes / needed
    return Plan(beyond_memory(share * len(events.user), wanted), why, needed, share)


def beyond_memory(n_events: float, wanted: Fit) -> str:
    """The engine where so many events can be looked at here."""
    if wanted.engine != "auto":
        return wanted.engine
    return "folded" if n_events >= FEWEST_EVENTS else "mllib"
