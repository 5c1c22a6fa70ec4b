"""What a reader at a snapshot sees of the batches: all hours but those that are excluded by then."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from jobs.rim.manifest import Batch, DataFile, Exclusion


@dataclass(frozen=True)
class View:
    """``batches`` without excluded hours in their files' ``hours``; ``hidden``: number of a batch → those it has."""

    batches: list[Batch]
    hidden: dict[int, list[str]]

    def name_of(self, batch: Batch, low: str, high: str) -> str | list:
        """A batch's id; with those of its hours from ``low`` to ``high`` that are hidden, if there are any."""
        hours = [hour for hour in self.hidden.get(batch.number, ()) if low <= hour <= high]
        return [batch.batch_id, hours] if hours else batch.batch_id


def in_force(batches: Iterable[Batch]) -> tuple[Exclusion, ...]:
    """Exclusions that were not undone, in the order they came."""
    force: list[Exclusion] = []
    for order in (batch.exclusion for batch in batches if batch.exclusion):
        force = [one for one in force if not one.same_rows(order)]
        if not order.undo:
            force.append(order)
    return tuple(force)


def view(batches: list[Batch]) -> View:
    """The batches as their last one lets them be seen."""
    exclusions = in_force(batches)
    if not exclusions:
        return View(batches, {})
    hidden = {batch.number: hidden_hours(batch, exclusions) for batch in batches}
    seen = [without(batch, set(hidden[batch.number])) if hidden[batch.number] else batch for batch in batches]
    return View(seen, {number: hours for number, hours in hidden.items() if hours})


def hidden_hours(batch: Batch, exclusions: Iterable[Exclusion]) -> list[str]:
    return sorted(hour for hour in batch.hours() if any(one.covers(hour, batch.source) for one in exclusions))


def without(batch: Batch, hours: set[str]) -> Batch:
    """The batch, its files of events holding nothing of some hours."""
    return replace(batch, files=batch.files | {"events": [cut(file, hours) for file in batch.files["events"]]})


def cut(file: DataFile, hours: set[str]) -> DataFile:
    left = {hour: rows for hour, rows in file.hours.items() if hour not in hours}
    return replace(file, rows=sum(left.values()), hours=left)


@dataclass(frozen=True)
class Sight:
    """Which rows of event files are seen: none that is excluded, none of the batches ``unseen``."""

    exclusions: tuple[Exclusion, ...] = ()
    unseen: frozenset[str] = frozenset()

    @property
    def columns(self) -> tuple[str, ...]:
        """What ``mask`` must find in the rows."""
        times = ("event_time", "source") if self.exclusions else ()
        return (*times, "batch_id") if self.unseen else times

    def mask(self, events: pa.Table) -> pa.ChunkedArray | pa.Scalar:
        """Where the rows are seen; text may be dictionary-encoded."""
        seen = pa.scalar(True)
        for one in self.exclusions:
            seen = pc.and_(seen, pc.invert(covered(one, events)))
        if self.unseen:
            later = pc.is_in(events["batch_id"].cast(pa.string()), pa.array(sorted(self.unseen)))
            seen = pc.and_(seen, pc.invert(later))
        return seen

    def condition(self):
        """The same as a Spark column."""
        from pyspark.sql import functions as F

        seen = F.lit(True)
        for one in self.exclusions:
            low, high = moments(one)
            hidden = (F.col("event_time") >= low) & (F.col("event_time") < high)
            seen = seen & ~(hidden if one.source is None else hidden & (F.col("source") == one.source))
        return seen & ~F.col("batch_id").isin(sorted(self.unseen)) if self.unseen else seen


def covered(one: Exclusion, events: pa.Table) -> pa.ChunkedArray:
    times = events["event_time"]
    low, high = (pa.scalar(moment, times.type) for moment in moments(one))
    inside = pc.and_(pc.greater_equal(times, low), pc.less(times, high))
    return inside if one.source is None else pc.and_(inside, pc.equal(events["source"].cast(pa.string()), one.source))


def moments(one: Exclusion) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(one.first_hour), datetime.fromisoformat(one.end_hour)
