"""What a night goes on from: the newest earlier run of the same job that no event, setting or code has touched since.

A run's version says all that went in, so an earlier run is untouched if the version it would have by now is the one it
has. The rows are equal whatever they go on from; so the choice is no part of the version, and may look at the lake.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jobs.rim.lineage import Job, Lineage
from jobs.rim.manifest import Manifest
from jobs.rim.stored_rows import StoredRows

MAX_RUNS = 60  # of earlier moments that are looked at: each costs a pass over the batches
SETTLED_DAYS = 7  # events that come later than that are rare


@dataclass(frozen=True)
class Base:
    """Rows of an earlier run, and the UTC midnight from which on events are to be added to them; no rows: all events
    are, from the first day's beginning on.
    """

    start: datetime
    run: Manifest | None = None
    rows: StoredRows | None = None

    def measured(self, lineage: Lineage) -> dict:
        n_events = lineage.n_events(lineage.as_of) - lineage.n_events(self.start)
        return {"base": self.run and self.run.as_of, "n_events": n_events}


def find_base(of: Job, lineage: Lineage) -> Base:
    """The nearest untouched run as of a UTC midnight, or none: the day is where events are capped and decay."""
    runs = [run for run in lineage.lake.runs_before(of.name, lineage.as_of) if run[0] == midnight(run[0])]
    for moment, version in runs[:MAX_RUNS]:
        if lineage.earlier(moment).version(of.name) == version:
            return Base(moment, lineage.lake.manifest(of.name, moment, version))
    hours = [hour for batch in lineage.batches for hour in batch.hours()]
    first = datetime.fromisoformat(min(hours)[:10]).replace(tzinfo=UTC) if hours else lineage.as_of
    return Base(min(first, midnight(lineage.as_of)))


def settled(of: Job, lineage: Lineage) -> Lineage | None:
    """The run to make before tonight's, where events came late for runs newer than the nearest base.

    Where they always do, no night's rows would ever last; those of a week ago do. None while the base is near enough.
    """
    base, moment = find_base(of, lineage), midnight(lineage.as_of) - timedelta(days=SETTLED_DAYS)
    newer = [run for run in lineage.lake.runs_before(of.name, lineage.as_of) if run[0] > base.start]
    if not newer or base.start >= moment - timedelta(days=SETTLED_DAYS):
        return None
    late = lineage.lake.manifest(of.name, *newer[0]).inputs != lineage.earlier(newer[0][0]).inputs(of)
    return lineage.earlier(moment) if late else None


def midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
