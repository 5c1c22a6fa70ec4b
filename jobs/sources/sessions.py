"""Visits: a log-in names the events before it, and users without session ids get visits cut by silence."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.sources.identify import pseudonyms

GAP_US = 30 * 60 * 1_000_000


def session_users(events: pa.Table) -> pa.Table:
    """The distinct (session_id, user_id) of events that have both."""
    known = events.filter(pc.and_(pc.is_valid(events["session_id"]), pc.is_valid(events["user_id"])))
    return known.select(["session_id", "user_id"]).group_by(["session_id", "user_id"]).aggregate([])


def sole_owners(pairs: pa.Table) -> pa.Table:
    """session_id and user_id of the sessions that exactly one user logged into."""
    grouped = pairs.group_by("session_id").aggregate([("user_id", "count_distinct"), ("user_id", "min")])
    sole = grouped.filter(pc.equal(grouped["user_id_count_distinct"], 1))
    return pa.table({"session_id": sole["session_id"], "user_id": sole["user_id_min"]})


def stitch(events: pa.Table, owners: pa.Table) -> pa.Table:
    """Anonymous events of a session with one owner become the owner's, before the log-in and after it."""
    at = pc.index_in(events["session_id"], owners["session_id"].combine_chunks())
    users = pc.coalesce(events["user_id"], owners["user_id"].combine_chunks().take(at.combine_chunks()))
    return events.set_column(events.schema.get_field_index("user_id"), "user_id", users)


def fill_sessions(events: pa.Table, committed: pa.Table, secret: bytes) -> pa.Table:
    """Give users' events without a session one: a silence of more than 30 minutes ends it, and so does UTC midnight.

    ``events`` and ``committed`` are of one UTC day. A visit that goes on from committed events keeps their session.
    O(n log n).
    """
    lacking = np.asarray(pc.and_(pc.is_null(events["session_id"]), pc.is_valid(events["user_id"])))
    if not lacking.any():
        return events
    columns = ["user_id", "event_time", "session_id"]
    both = pa.concat_tables([events.filter(pa.array(lacking)).select(columns), committed.select(columns)])
    sessions = visits(both, secret)[: int(lacking.sum())]
    filled = pc.replace_with_mask(events["session_id"].combine_chunks(), pa.array(lacking), sessions)
    return events.set_column(events.schema.get_field_index("session_id"), "session_id", filled)


def visits(rows: pa.Table, secret: bytes) -> pa.Array:
    """The session of each row of a day: that of the first row of its visit that has one, else a new one."""
    encoded = rows["user_id"].combine_chunks().dictionary_encode()
    user, time = np.asarray(encoded.indices), np.asarray(rows["event_time"].cast(pa.int64()))
    given = np.asarray(rows["session_id"].is_valid())
    order = np.lexsort((~given, time, user))
    begins = np.append(True, (np.diff(user[order]) != 0) | (np.diff(time[order]) > GAP_US))
    visit = np.empty(len(order), np.int64)
    visit[order] = np.cumsum(begins) - 1
    first = order[begins]
    names = [
        f"{encoded.dictionary[u].as_py()}@{t}" for u, t in zip(user[first].tolist(), time[first].tolist(), strict=True)
    ]
    made = pseudonyms(pa.array(names, pa.string()), secret, "session")
    kept = np.full(len(first), -1)
    with_session = order[given[order]][::-1]  # backwards, so that the first one stays
    kept[visit[with_session]] = with_session
    chosen = pc.coalesce(rows["session_id"].combine_chunks().take(pa.array(kept, mask=kept < 0)), made)
    return chosen.take(pa.array(visit))
