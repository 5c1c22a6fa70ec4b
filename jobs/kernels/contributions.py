"""Who contributes which items to a pair's count: people what they like, anonymous visits what they touched, orders what
was bought in them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.grouping import begins_of, user_order
from jobs.kernels.positives import coded
from jobs.kernels.text_codes import TextCodes, indexed
from schemas.tables import NEIGHBOR_KINDS, NO_SIGN_OF_LIKING

VIEWED, BOUGHT = (NEIGHBOR_KINDS.index(kind) for kind in ("viewed_together", "bought_together"))
READ = ("user_id", "session_id", "basket_id", "item_id", "event_time", "kind")


class TooMany(Exception):
    """There are more contributions than were to be held."""


@dataclass(frozen=True)
class Contributions:
    """Of one kind, one entry each: who, by a code from 0, item_idx, and when last, in microseconds."""

    contributor: np.ndarray  # int32
    item: np.ndarray  # int32
    last_us: np.ndarray  # int64

    def followed_by(self, others: "Contributions") -> "Contributions":
        """With those of other contributors."""
        n = int(self.contributor.max(initial=-1)) + 1
        columns = (
            (self.contributor, others.contributor + np.int32(n)),
            (self.item, others.item),
            (self.last_us, others.last_us),
        )
        return Contributions(*map(np.concatenate, columns))


def likes(interactions: pa.Table) -> Contributions:
    """People with what they like; a pair stands once in interactions."""
    liked = interactions.filter(pc.greater(interactions["weight_micro"], 0))
    last_us = liked["last_time"].cast(pa.int64()).to_numpy()
    return Contributions(TextCodes().of(liked["user_id"]), liked["item_idx"].to_numpy(), last_us)


def of_events(events: Iterable[pa.Table], dictionary: pa.Table, room: int) -> dict[int, Contributions]:
    """Anonymous visits with what they touched, and orders with what was bought in them; a purchase without an order
    belongs to its session's.

    Raises:
        TooMany: there are more than ``room`` of both.
    """
    codes, found = {VIEWED: TextCodes(), BOUGHT: TextCodes()}, {VIEWED: [], BOUGHT: []}
    for part in [events] if isinstance(events, pa.Table) else events:
        for kind, rows in ((VIEWED, visited(part)), (BOUGHT, bought(part))):
            rows = rows.filter(pc.and_(pc.is_valid(rows["contributor"]), pc.is_valid(rows["item_id"])))
            item = indexed(rows["item_id"], dictionary)
            known, last_us = item >= 0, rows["event_time"].cast(pa.int64()).to_numpy()
            contributor = codes[kind].of(rows["contributor"])
            found[kind].append(latest(Contributions(contributor[known], item[known], last_us[known])))
        if sum(len(one.item) for ones in found.values() for one in ones) > room:
            raise TooMany
    nothing = Contributions(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64))
    return {kind: latest(whole([nothing, *ones])) for kind, ones in found.items()}


def visited(events: pa.Table) -> pa.Table:
    anonymous = pc.and_(pc.is_null(events["user_id"]), pc.invert(is_kind(events, NO_SIGN_OF_LIKING)))
    rows = events.filter(anonymous)
    return pa.table([rows["session_id"], rows["item_id"], rows["event_time"]], ["contributor", "item_id", "event_time"])


def bought(events: pa.Table) -> pa.Table:
    rows = events.filter(is_kind(events, ("purchase",)))
    texts = (rows[name].cast(pa.string()) for name in ("basket_id", "session_id"))
    return pa.table(
        [pc.coalesce(*texts), rows["item_id"], rows["event_time"]], ["contributor", "item_id", "event_time"]
    )


def is_kind(events: pa.Table, kinds: tuple[str, ...]) -> pa.Array:
    texts, code = coded(events["kind"])
    return pa.array(np.isin(texts, kinds)[code])


def whole(parts: list[Contributions]) -> Contributions:
    return Contributions(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("contributor", "item", "last_us"))
    )


def latest(rows: Contributions) -> Contributions:
    """Each contributor and item once, with the latest time."""
    key = rows.contributor.astype(np.int64) << 32 | rows.item
    order = np.argsort(key)
    begins = np.flatnonzero(np.diff(key[order], prepend=-1))
    last_us = np.maximum.reduceat(rows.last_us[order], begins) if len(begins) else rows.last_us
    first = order[begins]
    return Contributions(rows.contributor[first], rows.item[first], last_us)


def newest(rows: Contributions, max_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Contributors and items, the ``max_items`` newest of each, of equals the lowest items."""
    kept = newest_of(rows.contributor, rows.item, rows.last_us, max_items)
    return rows.contributor[kept], rows.item[kept]


def newest_of(contributor: np.ndarray, item: np.ndarray, last_us: np.ndarray, max_items: int) -> np.ndarray | slice:
    """Which rows are among the ``max_items`` newest of their contributor, of equals the lowest items."""
    n = int(contributor.max(initial=-1)) + 1
    crowded = np.bincount(contributor, minlength=n) > max_items
    if not crowded.any():
        return slice(None)
    kept = ~crowded[contributor]
    many = np.flatnonzero(~kept)
    order = user_order(contributor[many], item[many], -last_us[many].astype(np.float64), n)
    many = many if order is None else many[order]
    place = np.arange(len(many)) - begins_of(contributor[many], n)[contributor[many]]
    kept[many[place < max_items]] = True
    return kept
