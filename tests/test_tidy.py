"""Tidying: what nothing names goes once it is old, and nothing else ever does."""

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from lake_fixtures import EPOCH, NIGHT, add_batch, at, lake_settings, rows
from s3_server import BUCKET, REGION, s3_server  # noqa: F401
from test_lake import manifest
from test_release import published, release

from benchmarks import year
from jobs.rim.history import History, Origin, Run
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage, job
from jobs.rim.manifest import DataFile, iso
from jobs.rim.store import FileStore
from jobs.sources.write import files_by_day
from jobs.tidy import tidy
from schemas.keys import tag_of

ON_DISK = pytest.mark.parametrize("settings", ["folder"], indirect=True)
LATER = EPOCH + timedelta(days=365 * 80)


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
    add_batch(lake, users=[{"country": "FR"}])
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
    assert later(settings, days=0.9)[-1] == "garbage: 0 files, 0 bytes removed"
    told = later(settings, dry_run=True)[-1]
    assert told == f"garbage: {len(left)} files, {sum_of(lake, left):,} bytes would be removed"
    assert everything(lake) == kept | left
    assert later(settings)[-1] == told.replace("would be removed", "removed")
    assert everything(lake) == kept
    assert later(settings)[-1] == "garbage: 0 files, 0 bytes removed"


@ON_DISK
def test_an_attempt_that_is_still_written_to_stays_whole(settings, lake):
    """Its first file is days old, its last one of now; another attempt of the same run is old altogether."""
    attempts = [lake.attempt_key("slates", NIGHT, "v1") for _ in range(2)]
    keys = [f"{attempt}/part-{part}.parquet" for attempt in attempts for part in (0, 1)]
    keys += [f"events/dt=2026-01-{day}/b9-01234567-000{part}.parquet" for part, day in enumerate(("02", "03"))]
    for key in keys:
        lake.store.put_if_absent(key, b"half")
    long_ago = time.time() - 5 * 86_400
    for key in (keys[0], keys[2], keys[3], keys[4]):
        os.utime(lake.store.root / key, (long_ago, long_ago))
    assert later(settings, days=0)[-1] == "garbage: 2 files, 8 bytes removed"
    assert {key for key in keys if lake.store.get(key)} == {*keys[:2], *keys[4:]}


def sum_of(lake: Lake, keys: set[str]) -> int:
    return sum(len(lake.store.get(key)) for key in keys)


# merging

DAYS = (-12, -12, -11, -10, -9, -9, -8, -8, -7, -6, -3, -2, -1, -1, 0, 0)  # of each batch; -10 ends December
N = len(DAYS)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Lake:
    """Batches of events, now and then late ones, and of the catalogue."""
    lake = Lake.open(lake_settings(tmp_path_factory.mktemp("built")).lake)
    for k, day in enumerate(DAYS):
        pair = (9 + k % 2, "a"), (7 + k % 2, f"i{k}")
        events = [{"item_id": item, "event_time": at(hour, days=day)} for hour, item in pair]
        late = [{"item_id": "late", "event_time": at(3, days=day - 3)}] if k % 5 == 0 else []
        items = [{"item_id": "a", "title": str(k)}] if k % 3 == 0 else []
        add_batch(lake, events=[*events, *late], items=items, users=[{"country": f"C{k}"}])
    return lake


@pytest.fixture
def crowded(settings, built, monkeypatch) -> Lake:
    """That lake once more, in which ten rows fill a file."""
    monkeypatch.setattr("jobs.rim.merging.FULL_ROWS", 10)
    monkeypatch.setattr("jobs.rim.merging.SMALL_ROWS", 5)
    lake = Lake.open(settings.lake)
    for key in built.store.walk(""):
        lake.store.put_if_absent(key, built.store.get(key))
    return lake


def reading(settings, snapshot: int, start=EPOCH, end=NIGHT) -> list:
    """Whatever a reader at a snapshot gets."""
    lake, names = Lake.open(settings.lake), rows("events").column_names
    parts = [part.cast(rows("events").schema) for part in lake.events(snapshot, start, end, names)]
    events = pa.concat_tables(parts).sort_by([("event_time", "ascending"), ("event_id", "ascending")])
    known = [lake.dictionary(snapshot), *(lake.current(table, snapshot, LATER) for table in ("items", "users"))]
    return [events.to_pylist(), *(table.to_pylist() for table in known), lake.batches(snapshot)]


def readings(settings) -> list:
    """Of old and new snapshots, all the time and a part of it; and what versions are made of."""
    of = [reading(settings, snapshot) for snapshot in (1, 7, N)]
    of += [reading(settings, snapshot, at(8, days=-9), at(9, days=-1)) for snapshot in (7, N)]
    return [*of, Lineage(Lake.open(settings.lake), settings, NIGHT).inputs(job("trending"))]


def test_merging_changes_nothing_for_any_reader_of_any_snapshot(settings, crowded):
    before, held = readings(settings), everything(crowded)
    now = (NIGHT + timedelta(hours=23) - datetime.now(UTC)) / timedelta(days=1)  # the 10th is not over for a day
    told = later(settings, dry_run=True, days=now)[0]
    assert everything(crowded) == held
    assert later(settings, days=now)[0] == told.replace("would be merged", "merged")
    lake = Lake.open(settings.lake)
    # two days of two batches and December's five of the first days; the rest alone in its day, or not over
    assert told.endswith("; 16 batches in one object")
    assert len(lake.files("events", N)) < N - 4
    assert [len(lake.files(table, N)) for table in ("users", "item_dictionary", "items")] == [2, 2, 6]
    assert later(settings, days=now)[0] == "merging: nothing to merge"
    assert readings(settings) == before
    later(settings)  # January is over
    later(settings, days=6)  # and nobody reads what was replaced any more
    assert len(lake.store.aged("events")) < 6
    assert len(everything(lake) - held) < 12
    assert readings(settings) == before


@ON_DISK
def test_what_comes_after_is_merged_on_and_an_ingest_knows_it_all(settings, crowded):
    later(settings)
    add_batch(crowded, events=[{"item_id": "late", "event_time": at(2, days=-20)}], users=[{"country": "ES"}])
    before = reading(settings, N + 1)
    assert before[3][0]["country"] == "ES"
    add_batch(crowded, events=[{"item_id": "late", "event_time": at(4, days=-20)}])
    later(settings)
    assert reading(settings, N + 1) == before
    lake = Lake.open(settings.lake)
    (file,) = files_by_day(lake.files("events", N + 2))["2025-12-21"]  # what an ingest looks at
    assert (file.rows, lake.log.checkpoint.number) == (2, 2)


@ON_DISK
def test_a_merge_that_dies_leaves_garbage_only(settings, crowded, monkeypatch):
    before, held = readings(settings), everything(crowded)
    with monkeypatch.context() as patched:
        patched.setattr("jobs.rim.checkpoint.Checkpoint.commit", lambda self, store: False)
        assert later(settings, days=0)[0] == "merging: another tidy was quicker: nothing merged"
    assert everything(crowded) > held
    assert readings(settings) == before
    monkeypatch.setattr("jobs.tidy.plan", lambda *_: {})
    later(settings)
    assert {key for key in everything(crowded) if "merged" in key} == set()
    assert readings(settings) == before


@ON_DISK
def test_a_damaged_file_is_told_and_stays(settings, crowded):
    file = crowded.batches()[3].files["events"][0]
    crowded.store.delete([file.path])
    crowded.store.put_if_absent(file.path, b"rotten")
    with pytest.raises(ValueError, match=r"is damaged: its CRC-32 is not the manifest's; nothing was merged"):
        later(settings)
    assert Lake.open(settings.lake).log.checkpoint is None


# old nights


def run_of(lake: Lake, name: str, day: int, made: int, version: str = "v1") -> None:
    """A committed run as of a day after DAY, computed another day."""
    key = f"{lake.attempt_key('slates', at(days=day), version)}/part-00000.parquet"
    told = {"as_of": iso(at(days=day)), "created_at": iso(at(days=made)), "version": version}
    assert lake.commit(manifest(job=name, files={"slates": [lake.write(key, "slates", rows("slates", {}))]}, **told))


def remembered(lake: Lake, stamp: str, day: int, version: str) -> str:
    """A generation made of a run of slates."""
    run = Run("slates", iso(at(days=day)), version)
    name = f"for_you-{stamp}-{'0' * 12}"
    History(lake, "ns").remember(Origin(name, "for_you", run.as_of, run.as_of, 1, 1, 1, {"slates": run}))
    return name


def runs(lake: Lake, name: str) -> list[str]:
    return [f"{as_of:%m-%d} {version}" for as_of, version in reversed(lake.runs_before(name, LATER))]


@ON_DISK
def test_old_nights_go_but_for_what_is_needed(settings, lake):
    """DAY is 10 January. The runs are as of 28 December on; it is 23 March by now, and nights stay for 60 days."""
    for day in (-13, -10, -9, -8, 0, 1, 2):
        run_of(lake, "interactions", day, made=day)
        run_of(lake, "slates", day, made=day, version="v2")
    run_of(lake, "interactions", -9, made=5, version="v9")  # a rebuild
    run_of(lake, "slates", -8, made=60, version="v3")  # computed late: young
    live = remembered(lake, "20260102T000000Z", -8, "v2")
    remembered(lake, "20260101T000000Z", -9, "v2")
    History(lake, "ns").claim(release(surfaces={"for_you/control": replace(published(), base=live, tag=tag_of(live))}))
    now = (at(days=72) - datetime.now(UTC)) / timedelta(days=1)
    told = later(settings, days=now, dry_run=True)[1]
    assert told.startswith("old nights: 6 runs, ")
    assert told.endswith(" of 1 generations would be dropped")
    assert later(settings, days=now)[1] == told.replace("would be dropped", "dropped")
    # first of each month, of equals the last made; then the newest three
    assert runs(lake, "interactions") == ["12-28 v1", "01-01 v9", "01-10 v1", "01-11 v1", "01-12 v1"]
    assert runs(lake, "slates") == ["01-02 v2", "01-02 v3", "01-10 v2", "01-11 v1", "01-11 v2", "01-12 v2"]
    assert History(lake, "ns").generations() == [live]
    assert lake.manifest("slates", at(days=-9), "v2") is None


@ON_DISK
def test_files_of_dropped_nights_stay_for_those_who_read_them(settings, lake):
    for day in range(-9, -3):
        run_of(lake, "slates", day, made=day)
    file = lake.manifest("slates", at(days=-9), "v1").files["slates"][0]
    assert later(settings, days=0)[1].startswith("old nights: 4 runs, ")
    assert lake.manifest("slates", at(days=-9), "v1") is None
    later(settings, days=0.9)
    assert lake.read("slates", [file]).num_rows == 1
    later(settings, days=1.1)
    assert lake.store.get(file.path) is None
    assert not [key for key in everything(lake) if key.startswith("retired/")]


def test_the_benchmark_of_a_year_reads_the_same_before_and_after(capsys, monkeypatch):
    monkeypatch.setattr(year, "interactions_s", lambda *_: 0.0)
    assert year.main(["30"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["before"]["month_rows"] == told["after"]["month_rows"] == 30 * year.EVENTS
    assert told["after"]["files"] < told["before"]["files"] / 2
