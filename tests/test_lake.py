"""The commit protocol: what no manifest names does not exist, and what one names never changes."""

import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_fixtures import DAY, EPOCH, NIGHT, add_batch, at, lake_settings, next_batch, rows, small_lake

from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.lake import Lake, as_of_of, manifest_key
from jobs.rim.manifest import Batch, Manifest, compact, decode, encode, iso

ROOT = Path(__file__).parents[1]
HOUR, MOMENT = timedelta(hours=1), timedelta(microseconds=1)


def empty_lake(folder: Path) -> Lake:
    return Lake.open(lake_settings(folder).lake)


def manifest(**fields) -> Manifest:
    base = {"job": "als", "as_of": iso(NIGHT), "version": "v1", "created_at": iso(NIGHT), "schema_version": 1}
    rest = {"code_version": "c", "settings_hash": "s", "snapshot": 1, "inputs": {}, "files": {}, "measured": {}}
    return Manifest(**base | rest | fields)


def event_ids(lake: Lake, snapshot: int, start=DAY, end=NIGHT) -> list[str]:
    return lake.read("events", lake.event_files(snapshot, start, end), ["event_id"])["event_id"].to_pylist()


def test_an_empty_lake_has_nothing(tmp_path):
    lake = empty_lake(tmp_path)
    assert (lake.snapshot(), lake.batches(), lake.batches(0)) == (0, [], [])
    assert lake.dictionary(0).num_rows == lake.current("items", 0, NIGHT).num_rows == 0
    assert lake.event_files(0, EPOCH, NIGHT) == []
    assert lake.manifest("als", NIGHT, "v1") is None


def test_a_batch_is_invisible_before_its_manifest_and_whole_after(tmp_path):
    lake = small_lake(tmp_path, events=[{}])
    batch = next_batch(lake, events=[{"item_id": "b"}], items=[{"item_id": "b"}], users=[{}])
    assert lake.snapshot() == 1
    assert event_ids(lake, 1) == ["b1-0"]
    assert lake.commit_batch(batch) is True
    assert lake.snapshot() == 2
    assert event_ids(lake, 2) == ["b1-0", "b2-0"]
    assert lake.dictionary(2)["item_id"].to_pylist() == ["a", "b"]


def test_a_computed_table_is_invisible_before_its_manifest(tmp_path):
    lake = empty_lake(tmp_path)
    key = lake.attempt_key("slates", NIGHT, "v1")
    file = lake.write(f"{key}/part-00000.parquet", "slates", rows("slates", {}))
    assert lake.manifest("slates", NIGHT, "v1") is None
    mine = manifest(job="slates", files={"slates": [file]})
    assert lake.commit(mine) is True
    assert lake.manifest("slates", NIGHT, "v1") == mine
    assert lake.manifest("slates", NIGHT, "v2") is None
    assert lake.manifest("slates", NIGHT + HOUR, "v1") is None


def test_an_equal_run_committed_later_changes_nothing(tmp_path):
    lake = empty_lake(tmp_path)
    first, second = manifest(measured={"seconds": 1}), manifest(measured={"seconds": 2})
    assert [lake.commit(first), lake.commit(second)] == [True, False]
    assert lake.manifest("als", NIGHT, "v1") == first


def test_attempts_never_share_a_folder(tmp_path):
    lake = empty_lake(tmp_path)
    assert lake.attempt_key("als", NIGHT, "v1") != lake.attempt_key("als", NIGHT, "v1")


KILLED = """
import os, sys
from pathlib import Path
from jobs.rim import lake as lake_module, store
from lake_fixtures import next_batch, lake_settings
from jobs.rim.lake import Lake, as_of_of, manifest_key

lake = Lake.open(lake_settings(Path(sys.argv[1])).lake)
kill = lambda *_: os._exit(137)  # as SIGKILL would: no clean-up runs
def half(rows, sink, **_):
    sink.write(b"PAR1 and no more")
    sink.flush()
    kill()
if sys.argv[2] == "in a data file":
    lake_module.pq.write_table = half
batch = next_batch(lake, events=[{}])
if sys.argv[2] == "before the manifest":
    store.os.link = kill
lake.commit_batch(batch)
"""


@pytest.mark.parametrize("moment", ["in a data file", "before the manifest"])
def test_a_killed_writer_leaves_a_readable_lake(tmp_path, moment):
    lake = small_lake(tmp_path, events=[{}])
    command = [sys.executable, "-c", KILLED, str(tmp_path), moment]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}, capture_output=True)
    assert done.returncode == 137, done.stderr.decode()
    assert (tmp_path / "lake/events/b2.parquet").exists()
    assert lake.snapshot() == 1
    assert event_ids(lake, 1) == ["b1-0"]
    assert add_batch(lake, events=[{}, {}])  # over what the dead one left
    assert event_ids(lake, 2) == ["b1-0", "b2-0", "b2-1"]


def test_of_two_committers_of_one_number_one_wins(tmp_path):
    lake = small_lake(tmp_path, events=[{}])
    batches = [replace(next_batch(lake), batch_id=f"writer {k}") for k in range(8)]
    won, start = [], threading.Barrier(8)

    def commit(batch: Batch) -> None:
        start.wait()
        if lake.commit_batch(batch):
            won.append(batch)

    threads = [threading.Thread(target=commit, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert lake.batches()[1:] == won


def test_a_pinned_run_sees_nothing_newer(tmp_path):
    lake = small_lake(tmp_path, events=[{}], items=[{"title": "old"}], users=[{"country": "FR"}])
    add_batch(lake, [{"item_id": "b"}], items=[{"title": "new"}, {"item_id": "b"}], users=[{"country": "DE"}])
    assert [batch.number for batch in lake.batches(1)] == [1]
    assert event_ids(lake, 1) == ["b1-0"]
    assert lake.dictionary(1)["item_id"].to_pylist() == ["a"]
    assert lake.current("items", 1, NIGHT)["title"].to_pylist() == ["old"]
    assert lake.current("users", 1, NIGHT)["country"].to_pylist() == ["FR"]
    assert lake.current("users", 2, NIGHT)["country"].to_pylist() == ["DE"]


@pytest.mark.parametrize("snapshot", [-1, 2])
def test_a_snapshot_there_is_not_is_refused(tmp_path, snapshot):
    lake = small_lake(tmp_path, events=[{}])
    with pytest.raises(UsageError, match=f"no snapshot {snapshot}: the lake has 1 batches"):
        lake.batches(snapshot)


def test_batches_come_in_order_beyond_ten(tmp_path):
    lake = small_lake(tmp_path)
    for _ in range(10):
        add_batch(lake)
    assert [batch.number for batch in lake.batches()] == list(range(1, 12))


def test_event_files_are_those_of_the_hours_asked(tmp_path):
    lake = small_lake(tmp_path, events=[{"event_time": at(9.5)}])
    add_batch(lake, events=[{"event_time": at(11.25)}])

    def found(start: float, end: float) -> list[str]:
        return [file.path[7:9] for file in lake.event_files(2, at(start), at(end))]

    assert found(0, 24) == ["b1", "b2"]
    assert found(9, 10) == found(9.75, 10) == ["b1"]  # whole hours: the reader cuts to the moment
    assert found(10, 11) == found(0, 9) == found(12, 24) == []
    assert found(10, 11.01) == ["b2"]  # the end lies within the hour


def test_current_is_the_newest_row_that_holds_already(tmp_path):
    day = [at(days=d) for d in range(5)]
    lake = small_lake(
        tmp_path,
        items=[
            {"title": "from the beginning"},
            {"valid_from": day[2], "title": "second day"},
            {"item_id": "b", "valid_from": day[3], "title": "appears later"},
        ],
    )
    add_batch(lake, items=[{"valid_from": day[1], "title": "first day, told late"}])
    add_batch(lake, items=[{"valid_from": day[2], "title": "second day, corrected"}])

    def titles(as_of) -> list[str]:
        return lake.current("items", 3, as_of)["title"].to_pylist()

    assert titles(day[0]) == ["from the beginning"]
    assert titles(day[1]) == ["first day, told late"]  # valid from that very moment on
    assert titles(day[2] - timedelta(microseconds=1)) == ["first day, told late"]
    assert titles(day[2]) == ["second day, corrected"]  # of equals, the later batch's
    assert titles(day[4]) == ["second day, corrected", "appears later"]
    assert titles(EPOCH - HOUR) == []


@pytest.mark.parametrize(("table", "column"), [("slates", "user_id"), ("slates", "items"), ("trending", "score")])
def test_nulls_are_refused_where_the_schema_has_none(tmp_path, table, column):
    with pytest.raises(ValueError, match=column):
        empty_lake(tmp_path).write("x.parquet", table, rows(table, {}, {column: None}))


def test_nulls_in_a_file_from_elsewhere_are_refused(tmp_path):
    """What Spark writes passes ``describe`` only."""
    lake = empty_lake(tmp_path)
    file = lake.write("x.parquet", "events", rows("events", {"user_id": None}))
    assert lake.describe("x.parquet", "events") == file  # nullable columns may have them
    bad = {"trending": ({}, {"score": None}), "slates": ({}, {"seen": []}, {"seen": None}, {"items": [1, None]})}
    for table, content in bad.items():
        loose = pa.schema([field.with_nullable(True) for field in schema(table)])
        with lake.store.fs.open_output_stream(lake.store.path(f"{table}.parquet")) as sink:
            pq.write_table(rows(table, *content).cast(loose), sink)
    with pytest.raises(ValueError, match=r"trending\.parquet: trending\.score has 1 nulls; allowed: none"):
        lake.describe("trending.parquet", "trending")
    with pytest.raises(ValueError, match=r"slates\.items has 1 nulls; allowed: none"):
        lake.describe("slates.parquet", "slates")


def schema(table: str) -> pa.Schema:
    return rows(table).schema


def test_columns_are_put_in_the_schemas_order_and_types(tmp_path):
    lake = empty_lake(tmp_path)
    loose = pa.table({"score": [1], "n_users": [2], "extra": [0], "rank": [1], "item_idx": [0], "segment": ["all"]})
    file = lake.write("x.parquet", "trending", loose)
    assert lake.read("trending", [file]) == rows("trending", {"n_users": 2})


@pytest.mark.parametrize(
    ("start", "end", "ids"),
    [
        (at(1), at(2), "abc"),
        (at(1, 0), at(3), "abcd"),
        (at(1) + MOMENT, at(2), "bc"),
        (at(1), at(2) - MOMENT, "ab"),
        (at(1), at(2) + MOMENT, "abcd"),
        (at(2) + MOMENT, at(9), ""),
        (at(days=-1), at(1), ""),
    ],
)
def test_events_are_read_from_their_first_moment_up_to_their_end(tmp_path, start, end, ids):
    """To the microsecond, from every batch of the snapshot, with the columns asked for."""
    lake = small_lake(tmp_path, events=[{"item_id": "a", "event_time": at(1)}, {"item_id": "d", "event_time": at(2)}])
    late = [{"item_id": "b", "event_time": at(1) + MOMENT}, {"item_id": "c", "event_time": at(2) - MOMENT}]
    add_batch(lake, events=late)
    add_batch(lake, events=[{"item_id": "x", "event_time": at(1.5)}])
    found = list(lake.events(2, start, end, ["item_id", "kind"]))
    assert all(part.column_names == ["item_id", "kind"] for part in found)
    assert sorted(item for part in found for item in part["item_id"].to_pylist()) == sorted(ids)
    with_times = list(lake.events(3, start, end, ["event_time", "item_id"]))
    assert all(part.column_names == ["event_time", "item_id"] for part in with_times)
    assert any("x" in part["item_id"].to_pylist() for part in with_times) == (start <= at(1.5) < end)


def test_the_moment_of_a_run_is_in_its_keys(tmp_path):
    lake = empty_lake(tmp_path)
    elsewhere = NIGHT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    for key in (
        lake.attempt_key("slates", elsewhere, "v1"),
        manifest_key("slates", elsewhere, "v1"),
        "gate/x/as_of=20260111T000000Z/v=1.json",
    ):
        assert as_of_of(key) == NIGHT


def test_a_full_disk_stops_before_anything_is_written(tmp_path):
    lake = Lake.open(lake_settings(tmp_path, lake={"uri": str(tmp_path / "lake"), "min_free_mb": 1_000_000}).lake)
    with pytest.raises(TemporaryError, match=r"min_free_mb asks for 1000000"):
        lake.write("slates/x.parquet", "slates", rows("slates", {}))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_dictionary_only_grows(tmp_path):
    lake = small_lake(tmp_path, events=[{"item_id": "m"}, {"item_id": None, "kind": "search"}])
    add_batch(lake, events=[{"item_id": "z"}, {"item_id": "b"}, {"item_id": "m"}], items=[{"item_id": "a"}])
    add_batch(lake, events=[{"item_id": "c"}])
    versions = [lake.dictionary(snapshot) for snapshot in (1, 2, 3)]
    assert versions[2]["item_id"].to_pylist() == ["m", "a", "b", "z", "c"]
    assert versions[2]["item_idx"].to_pylist() == [0, 1, 2, 3, 4]
    for snapshot, version in enumerate(versions, start=1):
        assert version == versions[2].slice(0, version.num_rows)
        assert lake.batches(snapshot)[-1].n_items == version.num_rows


def test_records_survive_their_json(tmp_path):
    batch = next_batch(empty_lake(tmp_path), events=[{}, {"event_time": at(13)}])
    assert decode(Batch, encode(batch)) == batch
    assert batch.hours() == {"2026-01-10T12": 1, "2026-01-10T13": 1}
    mine = manifest(files={"slates": list(batch.files["events"])})
    assert decode(Manifest, encode(mine)) == mine
    assert mine.rows("slates") == 2


def test_moments_are_written_in_utc():
    elsewhere = NIGHT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert (iso(elsewhere), compact(elsewhere)) == ("2026-01-11T00:00:00Z", "20260111T000000Z")
