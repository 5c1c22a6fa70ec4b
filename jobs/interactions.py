"""What has each user dealt with, and how strongly?

One row per user and item: weights of events by kind, capped per user and day, halved every ``half_life_days`` whole
UTC days. An item only disliked, returned or rated low stays with weight 0: nobody is shown what they already know. A
pair without an event for ``window_days`` is forgotten; what comes later begins it anew. Decay by age instead of Hu et
al.'s constant weights.

A night adds the events since to the rows of an earlier one, exactly: totals are integer micro-units at the scale of
their period's beginning, so sums are equal in any order; the period, of 16 half-lives from 1970 on, ends with a shift
by 16 bits, which rounds the same whenever it is done. Cost: the rows and the new events, not all events. What memory
holds is added up in this process, more by Spark, to equal rows.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conf.settings import Settings
from jobs.kernels.pair_totals import CARRIED, NEVER, Carried, Happened, pair_totals
from jobs.kernels.positives import coded, which_weight
from jobs.kernels.text_codes import TextCodes, indexed
from jobs.rim.base import Base
from jobs.rim.lineage import Job
from jobs.rim.means import Means
from jobs.rim.stored_rows import StoredRows
from schemas.tables import KINDS

EVENT_BYTES, ROW_BYTES = 60, 140  # of an event, and of a carried row, that are added up in this process
MICROSECONDS = pa.timestamp("us", "UTC")


def transform(inputs: Mapping, as_of: datetime, settings: Settings) -> dict:
    """events, event_weights, item_dictionary, base, means → interactions."""
    base: Base = inputs["base"]
    chosen = engine(inputs["events"].num_rows, base.rows.num_rows if base.rows else 0, inputs["means"], settings)
    made = by_spark if chosen["engine"] == "spark" else compiled
    return {"interactions": made(inputs, base, as_of, settings), "measured": chosen}


def engine(n_events: int, n_rows: int, means: Means, settings: Settings) -> dict[str, str | int]:
    """Which engine adds so many events to so many rows, why, and what the compiled one would take."""
    needed, wanted = n_events * EVENT_BYTES + n_rows * ROW_BYTES, settings.interactions.engine
    if wanted != "auto":
        chosen, why = wanted, "interactions.engine says so"
    elif needed > means.alone_bytes:
        chosen, why = "spark", f"{means.alone_bytes >> 20:,} MiB are there"
    else:
        chosen, why = "compiled", "it fits memory"
    return {"engine": chosen, "why": why, "estimate_mb": needed >> 20}


def by_spark(inputs: Mapping, base: Base, as_of: datetime, settings: Settings):
    from jobs.kernels.pair_totals_spark import totals_in_spark

    events, dictionary = (inputs["means"].in_spark(table) for table in ("events", "item_dictionary"))
    carried = base.rows.frame(events.sparkSession) if base.rows else None
    return totals_in_spark(
        events, inputs["event_weights"], dictionary, carried, base.start, as_of, settings.interactions
    )


def compiled(inputs: Mapping, base: Base, as_of: datetime, settings: Settings) -> list[pa.Table]:
    users = TextCodes()
    carried = carried_rows(base.rows, users)
    events = counted(inputs["events"], inputs["event_weights"].to_pylist(), inputs["item_dictionary"], users)
    limits = (base.start, as_of, settings.interactions)
    parts = pair_totals(events, carried, users.size, KINDS.index("purchase"), *limits)
    texts = users.texts()
    return [as_table(rows, micro, texts) for rows, micro in parts]


def carried_rows(stored: StoredRows | None, users: TextCodes) -> Carried:
    """The rows of an earlier night; its users get the first codes."""
    columns = ["user_id", "item_idx", *CARRIED]
    if stored is None:
        return Carried(
            *(np.empty(0, kind) for kind in (np.int32, np.int32, np.int64, np.int32, np.int32)),
            *[np.empty(0, np.int64)] * 3,
        )
    rows = stored.arrow(columns, ["user_id"])
    numbers = (
        pc.fill_null(rows[name].cast(pa.int64()), NEVER) if rows[name].type == MICROSECONDS else rows[name]
        for name in columns[1:]
    )
    return Carried(users.of(rows["user_id"]), *(column.to_numpy() for column in numbers))


def counted(events: Iterable[pa.Table], weights: list[dict], dictionary: pa.Table, users: TextCodes) -> Happened:
    """The events of known users on known items that have a weight."""
    n, at = events.num_rows, 0
    rows = Happened(*(np.empty(n, kind) for kind in (np.int32, np.int32, np.int64, np.int8, np.int64)))
    micro = np.array([weight["weight_micro"] for weight in weights], np.int64)
    for part in [events] if isinstance(events, pa.Table) else events:
        which, user, item = which_weight(part, weights), users.of(part["user_id"]), indexed(part["item_id"], dictionary)
        kept = np.flatnonzero((which >= 0) & (user >= 0) & (item >= 0))
        place = slice(at, at + len(kept))
        rows.user[place], rows.item[place] = user[kept], item[kept]
        rows.time_us[place] = part["event_time"].cast(pa.int64()).to_numpy()[kept]
        rows.kind[place], rows.micro[place] = indexed_kinds(part["kind"])[kept], micro[which[kept]]
        at += len(kept)
    return Happened(*(column[:at] for column in (rows.user, rows.item, rows.time_us, rows.kind, rows.micro)))


def indexed_kinds(kinds: pa.ChunkedArray) -> np.ndarray:
    texts, code = coded(kinds)
    return np.array([*(KINDS.index(text) for text in texts), -1], np.int8)[code]


def as_table(rows: Carried, micro: np.ndarray, texts: pa.StringArray) -> pa.Table:
    """With user ids as a dictionary."""
    never = rows.last_purchase_time == NEVER
    columns = {name: pa.array(getattr(rows, name)) for name in CARRIED} | {
        "user_id": pa.DictionaryArray.from_arrays(pa.array(rows.user), texts),
        "item_idx": pa.array(rows.item),
        "weight_micro": pa.array(micro),
        "last_purchase_time": pa.array(rows.last_purchase_time, mask=never),
    }
    times = {name: columns[name].cast(MICROSECONDS) for name in columns if name.endswith("_time")}
    return pa.table(columns | times)


JOB = Job(
    name="interactions",
    inputs=("events", "event_weights", "item_dictionary"),
    outputs=("interactions",),
    settings=("interactions",),
    engine="either",
    transform=transform,
    base="interactions",
    columns={"events": ("user_id", "item_id", "event_time", "kind", "value", "source")},
)
