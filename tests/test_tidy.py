"""Tidying: what nothing names goes once it is old, and nothing else ever does."""

from datetime import UTC, datetime, timedelta

import pytest
from lake_fixtures import NIGHT, add_batch, at, lake_settings, rows
from s3_server import BUCKET, REGION, client, s3_server  # noqa: F401
from test_lake import manifest

from jobs.rim.lake import Lake
from jobs.rim.manifest import DataFile
from jobs.rim.store import FileStore
from jobs.tidy import tidy

GRACE = timedelta(hours=24)


@pytest.fixture(params=["folder", "s3"])
def settings(request, tmp_path):
    """Of an empty lake of each kind."""
    if request.param == "folder":
        return lake_settings(tmp_path)
    endpoint = request.getfixturevalue("s3_server").endpoint
    uri = f"s3://{BUCKET}/{tmp_path.name}"
    return lake_settings(tmp_path, lake={"uri": uri, "s3_endpoint": endpoint, "s3_region": REGION})


@pytest.fixture
def lake(settings):
    """Two batches and a run, all of them committed; whatever else is written is garbage."""
    lake = Lake.open(settings.lake)
    add_batch(lake, events=[{}, {"item_id": "b", "event_time": at(13)}], items=[{}], users=[{}])
    add_batch(lake, events=[{"event_time": at(14)}])
    lake.commit(manifest(job="slates", files={"slates": [attempt(lake, "slates")]}))
    return lake


def attempt(lake: Lake, table: str) -> DataFile:
    """A file of a run that is not committed yet."""
    return lake.write(f"{lake.attempt_key(table, NIGHT, 'v1')}/part-00000.parquet", table, rows(table, {}))


def later(settings, days: float = 3, **options) -> list[str]:
    """Tidy as if so many days had passed; what is said."""
    said: list[str] = []
    options = {"dry_run": False} | options
    tidy(settings, datetime.now(UTC) + timedelta(days=days), say=said.append, **options)
    return said


def everything(lake: Lake) -> set[str]:
    return {one.key for one in lake.store.aged("")}


def leave(lake: Lake) -> set[str]:
    """What killed writers leave: of a run, of a batch, of Spark, of a commit on its way."""
    spark = lake.attempt_key("slates", NIGHT, "v1")
    keys = {f"{spark}/_temporary/0/_SUCCESS", f"{spark}/part-1.parquet", f"{spark}/.part-1.parquet.crc"}
    keys |= {"events/dt=2026-01-10/b7-0123abcd-0000.parquet", "quarantine/b7-0123abcd-0001.parquet"}
    keys |= {"batches/.0000000003.json.0123abcd"} if isinstance(lake.store, FileStore) else set()
    for key in keys:
        assert lake.store.put_if_absent(key, b"half")
    return {*keys, attempt(lake, "trending").path}


def test_what_nothing_names_goes_once_it_is_old_and_nothing_else(settings, lake):
    kept = everything(lake)
    left = leave(lake)
    assert everything(lake) == kept | left
    assert later(settings, days=0.9) == ["garbage: 0 files, 0 bytes removed"]
    told = later(settings, dry_run=True)
    assert told == [f"garbage: {len(left)} files, {sum_of(lake, left):,} bytes would be removed"]
    assert everything(lake) == kept | left
    assert later(settings) == [told[0].replace("would be removed", "removed")]
    assert everything(lake) == kept
    assert later(settings) == ["garbage: 0 files, 0 bytes removed"]


def sum_of(lake: Lake, keys: set[str]) -> int:
    return sum(len(lake.store.get(key)) for key in keys)
