"""A whole night in this process: ingest, every step, every gate, in a lake of its own."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from lake_fixtures import lake_settings

from conf.settings import Settings
from jobs import cli
from jobs.gate import judge
from jobs.rim.lake import Lake
from jobs.rim.lineage import MAKERS, Lineage, job
from jobs.rim.runner import run_step

SECRET = "a secret of the tests"
STEPS = tuple(name for name in dict.fromkeys(MAKERS.values()) if name != "evaluate")  # test_evaluate has its own lake


@dataclass(frozen=True)
class Night:
    """What a night left: the lake, its lineage, and by item_idx the item ids and titles."""

    lineage: Lineage
    ids: np.ndarray
    titles: dict[str, str]

    def read(self, table: str) -> pa.Table:
        return self.lineage.read(table)

    def title(self, idx: int) -> str:
        return self.titles[self.ids[idx]]


def live_through(folder: Path, monkeypatch, spark, path: Path, source: str, **sections: dict) -> Night:
    """Ingest a source through the CLI, then run and judge all steps as of the end of its last day."""
    settings = night_settings(folder, **sections)
    lake = ingested(settings, monkeypatch, path, source)
    return run_night(Lineage(lake, settings, end_of_last_day(lake)), spark)


def ingested(settings: Settings, monkeypatch, path: Path, source: str) -> Lake:
    """The settings' lake with a source in it, brought through the CLI."""
    with monkeypatch.context() as patched:
        patched.setenv("NIGHTSHELF_LAKE__URI", settings.lake.uri)
        patched.setenv("NIGHTSHELF_LAKE__MIN_FREE_MB", "0")
        patched.setenv("NIGHTSHELF_IDENTITY__SECRET", SECRET)
        assert cli.main(["ingest", "--path", str(path), "--source", source]) == 0
    return Lake.open(settings.lake)


def night_settings(folder: Path, **sections: dict) -> Settings:
    """The defaults, in a lake of one's own."""
    own = {"lake": {"uri": str(folder / "lake"), "min_free_mb": 0}, "identity": {"secret": SECRET}}
    return lake_settings(folder, **{**own, **sections})


def run_night(lineage: Lineage, spark) -> Night:
    for name in STEPS:
        run_step(job(name), lineage, lambda: spark)
    for table in ("item_neighbors", "content_neighbors", "slates", "trending"):
        verdict = judge(table, lineage)
        assert verdict.passed, verdict.failures
    items = lineage.lake.current("items", lineage.snapshot, lineage.as_of)
    titles = dict(zip(items["item_id"].to_pylist(), items["title"].to_pylist(), strict=True))
    ids = lineage.lake.dictionary(lineage.snapshot)["item_id"].to_numpy(zero_copy_only=False)
    return Night(lineage, ids, titles)


def end_of_last_day(lake: Lake) -> datetime:
    last_hour = max(hour for batch in lake.batches() for hour in batch.hours())
    return datetime.fromisoformat(last_hour[:10]).replace(tzinfo=UTC) + timedelta(days=1)
