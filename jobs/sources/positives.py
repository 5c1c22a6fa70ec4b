"""The positive events of known users, with raw ids: what a backtest is made of. Reads files, writes nothing."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conf.settings import Settings
from jobs.kernels.positives import is_positive
from jobs.rim.errors import UsageError
from jobs.sources.columns import require_columns
from jobs.sources.description import Description
from jobs.sources.files import choose, list_folder, require
from jobs.sources.mapping import map_events
from jobs.sources.readers import read_chunks

MICROSECONDS = 1e6


@dataclass(frozen=True)
class Positives:
    """Events in order of time, then user, then item: parallel arrays of codes and seconds since 1970.

    ``user_ids`` and ``item_ids`` spell the codes as the source does, in rising order.
    """

    user: np.ndarray  # int32
    item: np.ndarray  # int32
    time_s: np.ndarray  # float64
    user_ids: np.ndarray
    item_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.user)

    def where(self, keep: np.ndarray) -> "Positives":
        """Some of the events; codes stay what they are."""
        return replace(self, user=self.user[keep], item=self.item[keep], time_s=self.time_s[keep])

    def time_at(self, share: float) -> float:
        """The quantile of the times, linear between two of them."""
        return float(np.quantile(self.time_s, share))


def read_positives(source: Description, path: str, settings: Settings) -> Positives:
    """Every event of a known user that speaks for its item (a weight above 0), repeats included.

    Rows an ingest would refuse are left out, except those refused only because the item is no product: what counts as
    one is a matter of what is shown, not of what people did.

    Raises:
        UsageError: no events file, a file that cannot be read, or no such event.
    """
    files = list_folder(path, settings.lake)
    parts = []
    for spec in source.events:
        spec = spec.model_copy(update={"item_pattern": None})
        chosen = choose(files, spec) or (files if len(files) == 1 else [])
        for file in require(chosen, files, spec, "events", path):
            for chunk in read_chunks(file, spec, spec.used, settings.ingest.chunk_rows):
                require_columns(chunk, spec.used, spec)
                parts.append(liked(map_events(chunk, spec, source, datetime.now(UTC)), source))
    rows = pa.concat_tables(parts) if parts else None
    if rows is None or not rows.num_rows:
        raise UsageError(f"{path}: no positive event of a known user; the description's weights say what is positive")
    return in_order(rows)


def liked(events: pa.Table, source: Description) -> pa.Table:
    """user_id, item_id and event_time of the positive rows."""
    known = pc.and_(pc.is_valid(events["user_id"]), pc.is_valid(events["item_id"]))
    sound = events.filter(pc.and_(known, pc.is_null(events["reason"])))
    sound = sound.append_column("source", pa.repeat(source.name, sound.num_rows))
    weights = [{"source": source.name} | weight for weight in source.event_weights()]
    return sound.filter(is_positive(sound, weights)).select(["user_id", "item_id", "event_time"])


def in_order(rows: pa.Table) -> Positives:
    user_ids, user = np.unique(rows["user_id"].to_numpy().astype(str), return_inverse=True)
    item_ids, item = np.unique(rows["item_id"].to_numpy().astype(str), return_inverse=True)
    time_s = rows["event_time"].cast(pa.int64()).to_numpy() / MICROSECONDS
    order = np.lexsort((item, user, time_s))
    codes = user[order].astype(np.int32), item[order].astype(np.int32)
    return Positives(*codes, time_s[order], user_ids, item_ids)
