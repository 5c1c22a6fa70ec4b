"""Events that come too late: nights are not computed anew that far back, so they are kept apart instead of let in.

Whether one is new can only be said beside what the lake has: one that it has already is a repeat like any other.
"""

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.rim.coverage import Interval
from jobs.rim.manifest import Batch
from jobs.sources.convert import UTC_US
from jobs.sources.quarantine import SCHEMA

TOO_LATE = "too_late"
IDENTITY = pa.schema([("event_id", pa.string()), ("event_time", UTC_US)])


def earliest_taken(
    batches: Iterable[Batch], source: str, interval: Interval | None, late_hours: int
) -> datetime | None:
    """When an event may have happened that is not too late; None for any time: of a history, and the first time a
    source is read.

    After hours that nobody ingested the limit counts from these. A batch that another one of the same command follows
    covers no hour yet: what comes with the next was waiting for as long.
    """
    ends = [batch.end_hour for batch in batches if batch.source == source and batch.first_hour < batch.end_hour]
    if interval is None or not ends:
        return None
    (start, end), reached = interval, datetime.fromisoformat(max(ends))
    return (end if reached >= start else reached) - timedelta(hours=late_hours)


class Late:
    """Sound rows from before ``earliest`` (None: there are none) as the quarantine would keep them."""

    def __init__(self, earliest: datetime | None):
        self.earliest = earliest
        self.held = pa.schema([*SCHEMA, *IDENTITY]).empty_table()

    def among(self, times: pa.ChunkedArray) -> np.ndarray:
        """Where times are too late."""
        if self.earliest is None:
            return np.zeros(len(times), bool)
        return np.asarray(pc.less(times, pa.scalar(self.earliest, UTC_US)))

    def hold(self, refused: pa.Table, ids: pa.Array, times: pa.ChunkedArray) -> None:
        """Keep rows until it is known whether the lake has them."""
        rows = refused.append_column("event_id", ids).append_column("event_time", times)
        self.held = pa.concat_tables([self.held, rows.cast(self.held.schema)])

    def unknown(self, committed: Callable[[date], pa.ChunkedArray]) -> pa.Table:
        """Those the lake does not have, for the quarantine; ``committed`` gives the event ids of a UTC day."""
        days = pc.cast(self.held["event_time"], pa.date32())
        known = [committed(day) for day in pc.unique(days).to_pylist()]
        ids = pa.chunked_array([chunk for one in known for chunk in one.chunks], pa.string())
        return self.held.filter(pc.invert(pc.is_in(self.held["event_id"], ids.combine_chunks()))).select(SCHEMA.names)


def reasons_at(places: np.ndarray, n_rows: int) -> pa.Array:
    """``too_late`` at some places of so many rows, null elsewhere."""
    at = np.zeros(n_rows, bool)
    at[places] = True
    return pc.if_else(pa.array(at), TOO_LATE, pa.scalar(None, pa.string()))
