"""What people took, out of the lake's events: parallel arrays of dense codes, in an order no pseudonym decides."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.grouping import user_order
from jobs.kernels.recipe.labels import Events
from jobs.kernels.surroundings import MICROSECONDS, SEARCHED, TAKEN, coded, context_of
from schemas.arrow import arrow_schema
from schemas.tables import EVENTS

TOLD = ("events", "event_weights", "items", "users")  # tables ``positive_events`` makes them of
EVENTS_SCHEMA = arrow_schema(EVENTS)


@dataclass(frozen=True)
class Known:
    """``events`` by user, then time, then item; codes are positions in ``user_ids`` and ``item_ids``, strings."""

    events: Events
    user_ids: np.ndarray
    item_ids: np.ndarray  # rising


def positive_events(
    events: pa.Table | Iterable[pa.Table],
    weights: pa.Table,
    items: pa.Table | None = None,
    users: pa.Table | None = None,
    share: float = 1.0,
) -> Known:
    """The events of known users whose weight is above 0; ``weights`` is the table event_weights.

    ``events`` may come in parts, whose texts may be dictionary-encoded: of each only what is taken is kept. With
    ``items``, and ``users`` where they are at hand, all that stands beside the events comes with them. With a ``share``
    only about so many of the users are read, drawn by their pseudonyms.

    Users are coded by a hash of what they took and when: sums round by their order and samples are drawn by it, and in
    the order of pseudonyms another secret would give slightly other lists.
    """
    rows, searched = taken(events, weights.to_pylist(), items is not None, share)
    user_ids, user = codes(rows["user_id"])
    item_ids, item = codes(rows["item_id"])
    time_us = rows["event_time"].cast(pa.int64()).to_numpy()
    place = np.argsort(content_order(user, item, time_us, len(user_ids))).astype(np.int32)
    user_ids, user = user_ids[np.argsort(place)], place[user]
    time_s = time_us / MICROSECONDS
    order = user_order(user, item, time_s, len(user_ids))
    columns = (user, item, time_s) if order is None else (user[order], item[order], time_s[order])
    context = None
    if items is not None:
        beside = rows.select(TAKEN) if order is None else rows.select(TAKEN).take(order)
        context = context_of(beside, *columns[:2], searched, user_ids, item_ids, items, users)
    return Known(Events(*columns, len(user_ids), len(item_ids), context), user_ids, item_ids)


def taken(
    events: pa.Table | Iterable[pa.Table], weights: list[dict], context: bool, share: float
) -> tuple[pa.Table, pa.Table]:
    """Of the positive events of a share of the known users, on known items, who, what, when and, with ``context``,
    columns ``TAKEN``; and the searches, likewise only with it.
    """
    columns, rows, searched = ["user_id", "item_id", "event_time", *(TAKEN if context else ())], [], []
    for part in [events] if isinstance(events, pa.Table) else events:
        part = part if share >= 1 else part.filter(drawn(part["user_id"], share))
        known = pc.and_(pc.is_valid(part["user_id"]), pc.is_valid(part["item_id"]))
        rows.append(part.select(columns).filter(pc.and_(known, is_positive(part, weights))))
        if context:
            searched.append(searches(part).select(SEARCHED))
    nothing = EVENTS_SCHEMA.empty_table()
    whole = pa.concat_tables(rows) if rows else nothing.select(columns)
    return whole, pa.concat_tables(searched) if searched else nothing.select(SEARCHED)


def drawn(user_ids: pa.ChunkedArray, share: float) -> pa.Array:
    """Bool: about a share of all users, the same wherever they are met; never who is unknown."""
    texts, code = coded(user_ids)
    kept = pd.util.hash_array(texts.astype(object)) < share * 2**64
    return pa.array(np.append(kept, False)[code])


def share_of(n_events: int, most: int) -> float:
    """Of the users that is enough to draw ``most`` events from: half as many again, for some have few."""
    return min(1.0, 1.5 * most / max(n_events, 1))


def searches(events: pa.Table) -> pa.Table:
    """Those whose user and words are known."""
    said = pc.and_(pc.is_valid(events["user_id"]), pc.is_valid(events["query"]))
    return events.filter(pc.and_(said, pc.equal(events["kind"], "search")))


def is_positive(events: pa.Table, weights: list[dict]) -> pa.Array:
    """Bool, one per event: its weight is above 0."""
    micro = np.array([*(weight["weight_micro"] for weight in weights), 0])
    return pa.array(micro[which_weight(events, weights)] > 0)


def which_weight(events: pa.Table, weights: list[dict]) -> np.ndarray:
    """Of each event the position of its weight in ``weights``, rows of the table event_weights; -1 for none.

    One for the very value wins over one for any value.
    """
    (sources, source), (kinds, kind) = coded(events["source"]), coded(events["kind"])
    which = np.full((len(sources) + 1, len(kinds) + 1), -1, np.int16)  # the last of each is what null, -1, finds
    for place, weight in enumerate(weights):
        if weight["value"] is None:
            which[np.ix_(np.flatnonzero(sources == weight["source"]), np.flatnonzero(kinds == weight["kind"]))] = place
    found = which[source, kind]
    for place, weight in enumerate(weights):
        if weight["value"] is not None:
            very = pc.fill_null(pc.equal(events["value"], weight["value"]), False).to_numpy()
            same = np.append(sources == weight["source"], False)[source]
            found[very & same & np.append(kinds == weight["kind"], False)[kind]] = place
    return found


def codes(ids: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct ids that are there, rising, and each row's position in them, int32."""
    texts, code = coded(ids)
    used = np.flatnonzero(np.bincount(code, minlength=len(texts)))
    order = used[np.argsort(texts[used])]
    place = np.empty(len(texts), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return texts[order], place[code]


def content_order(user: np.ndarray, item: np.ndarray, time_us: np.ndarray, n_users: int) -> np.ndarray:
    """Users by a hash of what they took and when, ``(n_users,)``."""
    mixed = (item.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * (time_us.astype(np.uint64) * np.uint64(2) + np.uint64(1))
    digest = np.zeros(n_users, np.uint64)
    np.add.at(digest, user, mixed ^ (mixed >> np.uint64(32)))
    return np.argsort(digest, kind="stable")


def sampled(known: Known, most: int) -> Known:
    """Whole users, the first by content order, with at most ``most`` events between them; all where that is enough."""
    events = known.events
    if len(events.user) <= most:
        return known
    n_users = int(events.user[most])  # the user whose events cross the limit is left out
    coded, users, items = events.dense(events.user < max(n_users, 1))
    return Known(coded, known.user_ids[users], known.item_ids[items])
