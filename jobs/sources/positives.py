"""The positive events of known users, with raw ids: what a backtest is made of. Reads files, writes nothing."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conf.settings import Settings
from jobs.kernels.positives import is_positive, searches
from jobs.kernels.recipe.context import Context
from jobs.kernels.recipe.labels import Events
from jobs.kernels.surroundings import MICROSECONDS, SEARCHED, TAKEN, context_of
from jobs.rim.errors import UsageError
from jobs.sources.catalogue import map_items, map_users, newest, used_columns
from jobs.sources.columns import require_columns, text
from jobs.sources.description import Description, Items, Users
from jobs.sources.files import Input, choose, list_folder, require
from jobs.sources.mapping import map_events
from jobs.sources.readers import read_chunks

NO_SECRET = b"\0" * 16  # nothing is made of the pseudonyms


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
    context: Context

    @property
    def events(self) -> Events:
        return Events(self.user, self.item, self.time_s, len(self.user_ids), len(self.item_ids), self.context)

    def __len__(self) -> int:
        return len(self.user)

    def where(self, keep: np.ndarray) -> "Positives":
        """Some of the events; codes stay what they are."""
        context = self.context.of_events(keep)
        return replace(self, user=self.user[keep], item=self.item[keep], time_s=self.time_s[keep], context=context)

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
    files, ingested_at = list_folder(path, settings.lake), datetime.now(UTC)
    parts, searched = [], []
    for spec in source.events:
        spec = spec.model_copy(update={"item_pattern": None})
        chosen = choose(files, spec) or (files if len(files) == 1 else [])
        for file in require(chosen, files, spec, "events", path):
            for chunk in read_chunks(file, spec, spec.used, settings.ingest.chunk_rows):
                require_columns(chunk, spec.used, spec)
                mapped = map_events(chunk, spec, source, ingested_at)
                parts.append(liked(mapped, source))
                searched.append(searches(mapped).select(SEARCHED))
    rows = pa.concat_tables(parts) if parts else None
    if rows is None or not rows.num_rows:
        raise UsageError(f"{path}: no positive event of a known user; the description's weights say what is positive")
    catalogue = (described(files, layout, settings) for layout in (source.items, source.users))
    return in_order(rows, pa.concat_tables(searched), *catalogue)


def liked(events: pa.Table, source: Description) -> pa.Table:
    """The positive rows: when, and columns ``TAKEN``."""
    known = pc.and_(pc.is_valid(events["user_id"]), pc.is_valid(events["item_id"]))
    sound = events.filter(pc.and_(known, pc.is_null(events["reason"])))
    sound = sound.append_column("source", pa.repeat(source.name, sound.num_rows))
    weights = [{"source": source.name} | weight for weight in source.event_weights()]
    return sound.filter(is_positive(sound, weights)).select(["event_time", "user_id", "item_id", *TAKEN])


def described(files: list[Input], layout: Items | Users | None, settings: Settings) -> pa.Table | None:
    """What files of their own say first of each item or user: what they say later must not be known before.

    What event rows tell of items is left out for the same reason.
    """
    chosen = choose(files, layout) if layout else []
    if not chosen:
        return None
    key, parts = "item_id" if isinstance(layout, Items) else "user_id", []
    for file in chosen:
        for chunk in read_chunks(file, layout, used_columns(layout), settings.ingest.chunk_rows):
            rows, reasons = map_items(chunk, layout) if key == "item_id" else map_users(chunk, layout, NO_SECRET)
            raw = text(chunk, getattr(layout.columns, key), layout)  # events have it as the source spells it
            rows = rows.set_column(rows.schema.get_field_index(key), key, raw)
            parts.append(rows.filter(pc.is_null(reasons)))
    rows = newest(pa.concat_tables(parts), key)
    first = pa.array(np.unique(rows[key].to_numpy(zero_copy_only=False).astype(str), return_index=True)[1])
    return rows.take(first)


def in_order(rows: pa.Table, searched: pa.Table, items: pa.Table | None, users: pa.Table | None) -> Positives:
    user_ids, user = np.unique(rows["user_id"].to_numpy().astype(str), return_inverse=True)
    item_ids, item = np.unique(rows["item_id"].to_numpy().astype(str), return_inverse=True)
    time_s = rows["event_time"].cast(pa.int64()).to_numpy() / MICROSECONDS
    order = np.lexsort((item, user, time_s))
    codes = user[order].astype(np.int32), item[order].astype(np.int32)
    context = context_of(rows.take(order), *codes, searched, user_ids, item_ids, items, users)
    return Positives(*codes, time_s[order], user_ids, item_ids, context)
