"""Which job makes which table, and the version of a run: a hash of everything that goes in.

``version`` is computed without looking at results, so any task finds the tables of its own run by the run's ``as_of``
and snapshot alone: there is no "latest" to race with.
"""

import copy
import hashlib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path

import orjson

from conf.rules import SHIPPED, Rules, load_rules
from conf.settings import Settings
from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.lake import Lake, hour_key
from jobs.rim.manifest import Manifest, iso
from schemas.tables import SCHEMA_VERSION

RAW = ("events", "event_weights", "items", "users", "item_dictionary")
MAKERS = {  # computed table -> the job that makes it
    "interactions": "interactions",
    "item_neighbors": "cooccurrence",
    "recipe": "recipe",
    "user_factors": "fit",
    "item_factors": "fit",
    "item_weights": "fit",
    "item_features": "fit",
    "probes": "fit",
    "content_neighbors": "cold",
    "segment_lists": "cold",
    "candidates": "candidates",
    "slates": "slates",
    "trending": "trending",
    "metrics": "evaluate",
}
LIVE_RECIPE = "live_recipe"  # an input: the newest recipe of an earlier moment, which is no table of this run
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CODE_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Job:
    """A step: its input and output tables, the settings it uses, its engine and its transform.

    ``transform(inputs, as_of, settings)`` takes and gives ``{table: rows}``: Spark DataFrames for engine ``spark``
    (Arrow for those named in ``arrow_inputs``), Arrow tables for ``local``. A job with engine ``either`` gets Arrow
    and, in ``inputs["means"]`` (``jobs.rim.means``), what it needs to choose. ``window`` says how far back events go.
    A job that names sections of the business rules finds all of them, checked, in ``inputs["rules"]``. With
    ``every_days`` it is made once for so many days, as of the beginning of that period (see ``Lineage.moment``).
    One whose rows hold all that is needed of the events before them names their table as ``base``: it gets an earlier
    run's in ``inputs["base"]`` (``jobs.rim.base.Base``) with the events since, and gives what all events would.
    Of events and of a computed table that it gets as Arrow it may name the ``columns`` it needs: only they are read,
    text as dictionaries. With engine ``either`` it gets such a table as ``jobs.rim.stored_rows.StoredRows``.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: tuple[str, ...]
    engine: str
    transform: Callable[[Mapping, datetime, Settings], Mapping]
    arrow_inputs: tuple[str, ...] = ()
    window: Callable[[Settings], timedelta] | None = None
    rules: tuple[str, ...] = ()
    every_days: Callable[[Settings], int] | None = None
    base: str = ""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@lru_cache
def job(name: str) -> Job:
    """The job of a name, as its own file declares it.

    Raises:
        UsageError: there is no such job.
    """
    if name not in set(MAKERS.values()):
        raise UsageError(f"no step {name!r}; steps are {', '.join(dict.fromkeys(MAKERS.values()))}")
    return importlib.import_module(f"jobs.{name}").JOB


@lru_cache
def code_version() -> str:
    """Hash of the code that computes: every .py of jobs, schemas and conf."""
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(p for part in ("jobs", "schemas", "conf") for p in (CODE_ROOT / part).rglob("*.py")):
        digest.update(path.relative_to(CODE_ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def content_hash(value: object) -> str:
    """16 hex digits of a JSON value."""
    return hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def settings_hash(settings: Settings, sections: tuple[str, ...]) -> str:
    return content_hash({name: getattr(settings, name).model_dump(mode="json") for name in sections})


class Lineage:
    """Versions and manifests of one run: one lake, one ``as_of``, one snapshot, one settings object."""

    def __init__(self, lake: Lake, settings: Settings, as_of: datetime, snapshot: int | None = None):
        self.lake, self.settings, self.as_of = lake, settings, as_of.astimezone(UTC)
        self.snapshot = lake.snapshot() if snapshot is None else snapshot
        self.view = lake.view(self.snapshot)
        self.batches = self.view.batches
        if not self.batches:
            raise UsageError("the lake is empty: run `nightshelf ingest` first")
        self._versions: dict[str, str] = {}
        self._beginnings: dict[int, datetime] = {}

    def earlier(self, as_of: datetime) -> "Lineage":
        """The run of an earlier moment that knows the same snapshot."""
        other = copy.copy(self)
        other.as_of, other._versions, other._beginnings = as_of, {}, {}
        return other

    @cached_property
    def rules(self) -> Rules:
        """The business rules, read when a job first asks for them.

        Raises:
            SettingsError: the file named by ``slates.rules_file`` cannot be read, or is wrong.
        """
        return load_rules(self.settings.slates.rules_file or SHIPPED)

    def moment(self, of: Job) -> datetime:
        """What a job is as of: the run's ``as_of``, or the beginning of its period of ``every_days`` from 1970 on.

        While most of what is known happened within the period, it is ``as_of`` all the same: nothing learned before
        would hold.
        """
        return self.as_of if of.every_days is None else self.beginning(of.every_days(self.settings))

    def beginning(self, days: int) -> datetime:
        """Of the period of so many days; counted once, for every batch tells its hours for it."""
        if days not in self._beginnings:
            begin = self.as_of - (self.as_of - EPOCH) % timedelta(days=days)
            holds = 2 * self.n_events(begin) >= self.n_events(self.as_of)
            self._beginnings[days] = begin if holds else self.as_of
        return self._beginnings[days]

    def n_events(self, end: datetime) -> int:
        """Accepted events in hours that began before ``end``."""
        high = hour_key(end - timedelta(microseconds=1))
        return sum(rows for batch in self.batches for hour, rows in batch.hours().items() if hour <= high)

    def window_start(self, of: Job) -> datetime:
        return self.moment(of) - of.window(self.settings) if of.window else datetime.min.replace(tzinfo=UTC)

    def raw_version(self, table: str, of: Job) -> str:
        """Hash of the batches that hold rows of a raw table the job would read."""
        if table == "item_dictionary":  # only grows: of the items of given events it always says the same
            return "" if of.base else str(self.batches[-1].n_items)
        if table == "event_weights":
            told = [batch for batch in self.batches if not batch.exclusion]
            return content_hash({batch.source: batch.accounts.get("weights") for batch in told})
        if table != "events":
            known = self.batches[: self.catalogue_snapshot(of)]
            return content_hash([b.batch_id for b in known if b.files.get(table)])
        low = hour_key(self.window_start(of)) if of.window else ""
        high = hour_key(self.moment(of) - timedelta(microseconds=1))  # the last hour with a moment before it
        read = [b for b in self.batches if any(low <= hour <= high for hour in b.hours())]
        return content_hash([self.view.name_of(batch, low, high) for batch in read])

    def catalogue_snapshot(self, of: Job) -> int:
        """The newest batch whose items and users the job reads.

        One as of an earlier moment reads none that came after the last event it reads: it holds for its period.
        """
        if self.moment(of) == self.as_of:
            return self.snapshot
        high = hour_key(self.moment(of) - timedelta(microseconds=1))
        told = [batch.number for batch in self.batches if any(hour <= high for hour in batch.hours())]
        return max(told, default=self.snapshot)

    def inputs(self, of: Job) -> dict[str, str]:
        """The version of each input table, and of the rules where the job uses some."""
        tables = {table: self.input_version(table, of) for table in of.inputs}
        used = content_hash(self.rules.model_dump(mode="json", include=set(of.rules))) if of.rules else None
        return tables | ({"rules": used} if used else {})

    def input_version(self, table: str, of: Job) -> str:
        if table == LIVE_RECIPE:
            live = self.live_recipe(of)
            return live.version if live else ""
        return self.raw_version(table, of) if table in RAW else self.version(MAKERS[table])

    def live_recipe(self, of: Job) -> Manifest | None:
        """The newest recipe that is a period older than the job's own: the nights of that period ranked by it.

        A younger one, as young data has, would have seen the days it is compared on.
        """
        latest = self.moment(of) - timedelta(days=of.every_days(self.settings))
        return next(iter(self.lake.newest_runs("recipe", latest, 1, at=True)), None)

    def version(self, name: str) -> str:
        """16 hex digits: versions of inputs and rules, settings used, code, schema."""
        if name not in self._versions:
            of = job(name)
            self._versions[name] = content_hash(
                [
                    name,
                    iso(self.moment(of)),
                    self.inputs(of),
                    settings_hash(self.settings, of.settings),
                    code_version(),
                    SCHEMA_VERSION,
                ]
            )
        return self._versions[name]

    def find(self, table: str) -> Manifest | None:
        """The committed run that made a computed table for this run, or None."""
        return self.committed(MAKERS[table])

    def committed(self, name: str) -> Manifest | None:
        """The committed run of a job, or None."""
        return self.lake.manifest(name, self.moment(job(name)), self.version(name))

    def read(self, table: str, columns: list[str] | None = None, dictionaries: list[str] | None = None):
        """All rows of a computed table of this run, as ``Lake.read`` gives them.

        Raises:
            TemporaryError: as ``resolve``.
        """
        return self.lake.read(table, self.resolve(table).files[table], columns, dictionaries)

    def resolve(self, table: str) -> Manifest:
        """As ``find``.

        Raises:
            TemporaryError: the run that makes it has not been committed yet.
        """
        manifest = self.find(table)
        if manifest is None:
            name = MAKERS[table]
            raise TemporaryError(
                f"{table} as of {iso(self.as_of)} (snapshot {self.snapshot}, version {self.version(name)}) is not "
                f"in the lake: run `nightshelf run {name} --as-of {iso(self.as_of)} --snapshot {self.snapshot}` first"
            )
        return manifest
