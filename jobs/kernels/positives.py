"""What people took, out of the lake's events: parallel arrays of dense codes, in an order no pseudonym decides."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.recipe.labels import Events
from jobs.kernels.surroundings import MICROSECONDS, context_of

TOLD = ("events", "event_weights", "items", "users")  # tables ``positive_events`` makes them of


@dataclass(frozen=True)
class Known:
    """``events`` by user, then time, then item; codes are positions in ``user_ids`` and ``item_ids``, strings."""

    events: Events
    user_ids: np.ndarray
    item_ids: np.ndarray  # rising


def positive_events(
    events: pa.Table, weights: pa.Table, items: pa.Table | None = None, users: pa.Table | None = None
) -> Known:
    """The events of known users whose weight is above 0; ``weights`` is the table event_weights.

    With ``items``, and ``users`` where they are at hand, all that stands beside the events comes with them.

    Users are coded by a hash of what they took and when: sums round by their order and samples are drawn by it, and in
    the order of pseudonyms another secret would give slightly other lists.
    """
    known = pc.and_(pc.is_valid(events["user_id"]), pc.is_valid(events["item_id"]))
    rows = events.filter(pc.and_(known, is_positive(events, weights.to_pylist())))
    user_ids, user = codes(rows["user_id"])
    item_ids, item = codes(rows["item_id"])
    time_us = rows["event_time"].cast(pa.int64()).to_numpy()
    place = np.argsort(content_order(user, item, time_us, len(user_ids)))
    user_ids, user = user_ids[np.argsort(place)], place[user]
    order = np.lexsort((item, time_us, user))
    context = None
    if items is not None:
        context = context_of(rows.take(order), searches(events), user_ids, item_ids, items, users)
    coded = Events(
        user[order].astype(np.int32),
        item[order].astype(np.int32),
        time_us[order] / MICROSECONDS,
        len(user_ids),
        len(item_ids),
        context,
    )
    return Known(coded, user_ids, item_ids)


def searches(events: pa.Table) -> pa.Table:
    """Those whose user and words are known."""
    said = pc.and_(pc.is_valid(events["user_id"]), pc.is_valid(events["query"]))
    return events.filter(pc.and_(pc.equal(events["kind"], "search"), said))


def is_positive(events: pa.Table, weights: list[dict]) -> pa.ChunkedArray:
    """Bool, one per event: its weight is above 0; one for the very value wins over one for any value.

    ``weights`` are rows of the table event_weights.
    """
    found = pa.chunked_array([pa.array(np.zeros(events.num_rows, bool))])
    for weight in sorted(weights, key=lambda weight: weight["value"] is not None):
        same = pc.and_(pc.equal(events["source"], weight["source"]), pc.equal(events["kind"], weight["kind"]))
        if weight["value"] is not None:
            same = pc.and_(same, pc.fill_null(pc.equal(events["value"], weight["value"]), False))
        found = pc.if_else(same, weight["weight_micro"] > 0, found)
    return found


def codes(ids: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct ids, rising, and each row's position in them."""
    coded = ids.combine_chunks().dictionary_encode()
    values = coded.dictionary.to_numpy(zero_copy_only=False).astype(str)
    order = np.argsort(values)
    return values[order], np.argsort(order)[coded.indices.to_numpy()]


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
