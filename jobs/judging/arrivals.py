"""What came in during the last day and the days before it, out of the lake."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.arrivals import HISTORY_DAYS, RESENT_DAYS, resent_statistics, traffic_statistics
from jobs.rim.lineage import Lineage

HOURS = 24 * (HISTORY_DAYS + 1)
SAID = ("kind", "item_id", "query", "value", "quantity", "price")  # what an event says, beside who, when and its id
MOST_EVENTS = 4_000_000  # looked at; of more, those of the people whose pseudonyms begin with as many zeros as it takes


def measure_arrivals(lineage: Lineage) -> dict[str, float]:
    """See ``traffic_statistics`` and ``resent_statistics``."""
    content, time_us = contents(lineage)
    end_us = round(lineage.as_of.timestamp() * 1e6)
    return traffic_statistics(hourly_events(lineage)) | resent_statistics(content, time_us, end_us)


def hourly_events(lineage: Lineage) -> np.ndarray:
    """Accepted events before as_of, ``(HISTORY_DAYS + 1, 24)``, as the batches' manifests count them."""
    counted = np.zeros(HOURS, np.int64)
    for batch in lineage.batches:
        for hour, rows in batch.hours().items():
            began = datetime.strptime(hour, "%Y-%m-%dT%H").replace(tzinfo=UTC)
            ago = (lineage.as_of - began - timedelta(microseconds=1)) // timedelta(hours=1)
            if 0 <= ago < HOURS:
                counted[HOURS - 1 - ago] += rows
    return counted.reshape(-1, 24)


def contents(lineage: Lineage) -> tuple[np.ndarray, np.ndarray]:
    """Of every event of the last days a hash of who and what, and its time; events of nobody are left out."""
    start = lineage.as_of - timedelta(days=RESENT_DAYS)
    files = lineage.lake.event_files(lineage.snapshot, start, lineage.as_of)
    zeros = "0" * int(np.ceil(np.log(max(sum(file.rows for file in files) / MOST_EVENTS, 1)) / np.log(16)))
    hashes, times = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    sight = lineage.lake.sight(lineage.snapshot)
    names = list(dict.fromkeys(["event_time", "user_id", "session_id", *SAID, *sight.columns]))
    for file in files:
        events = lineage.lake.read("events", [file], names)
        who = pc.coalesce(events["user_id"], events["session_id"])
        time_us = events["event_time"].cast(pa.int64())
        end_us = round(lineage.as_of.timestamp() * 1e6)
        inside = pc.and_(pc.greater_equal(time_us, round(start.timestamp() * 1e6)), pc.less(time_us, end_us))
        inside = pc.and_(inside, sight.mask(events))
        wanted = pc.and_(inside, pc.fill_null(pc.starts_with(who, zeros), False))
        rows = events.select(SAID).append_column("who", who).filter(wanted).to_pandas()
        hashes.append(pd.util.hash_pandas_object(rows, index=False).to_numpy())
        times.append(time_us.filter(wanted).to_numpy())
    return np.concatenate(hashes), np.concatenate(times)
