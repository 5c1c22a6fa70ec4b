"""Accepted rows on their way: each chunk is laid down by UTC day, and taken up again a day at a time."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DAY_US = 86_400_000_000
EPOCH = date(1970, 1, 1)


class Spool:
    """Temporary files, one a chunk, with one record batch a day: memory holds one chunk, then one day."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._where: dict[int, list[tuple[Path, int]]] = {}

    def add(self, events: pa.Table) -> None:
        """Lay down a chunk; rows keep their order within a day."""
        if not events.num_rows:
            return
        day = np.asarray(events["event_time"].cast(pa.int64())) // DAY_US
        if (np.diff(day) < 0).any():
            order = np.argsort(day, kind="stable")
            day, events = day[order], events.take(pa.array(order))
        ranked = events.combine_chunks()
        starts = np.flatnonzero(np.append(True, np.diff(day) != 0))
        ends = np.append(starts[1:], len(day))
        path = self._folder / f"{sum(map(len, self._where.values())):08d}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, ranked.schema) as writer:
            for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
                writer.write_table(ranked.slice(start, end - start))
                self._where.setdefault(int(day[start]), []).append((path, number))

    @property
    def days(self) -> list[date]:
        return [EPOCH + timedelta(days=day) for day in sorted(self._where)]

    def read(self, day: date) -> pa.Table:
        """The rows of a day in the order they came."""
        parts = []
        for path, number in self._where[(day - EPOCH).days]:
            with pa.memory_map(str(path)) as source:
                parts.append(pa.ipc.open_file(source).get_batch(number))
        return pa.Table.from_batches(parts)


def hours_of(times: pa.ChunkedArray) -> dict[str, int]:
    """Rows of each UTC hour, such as ``2010-12-01T08``."""
    counted = pc.value_counts(pc.floor_temporal(times, unit="hour"))
    pairs = {entry["values"].astimezone(UTC): entry["counts"] for entry in counted.to_pylist()}
    return {hour.strftime("%Y-%m-%dT%H"): pairs[hour] for hour in sorted(pairs)}


def hour_of(key: str) -> datetime:
    return datetime.strptime(key, "%Y-%m-%dT%H").replace(tzinfo=UTC)
