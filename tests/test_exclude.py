"""Excluded hours: seen by nobody from their snapshot on, by everybody before it, and again after an undo."""

import pyarrow as pa
import pytest
from lake_fixtures import NIGHT, add_batch, at, lake_settings, small_lake
from spark_fixture import quick_spark  # noqa: F401
from test_cli import run  # noqa: F401

from jobs.judging.arrivals import contents, hourly_events
from jobs.rim.base import find_base
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage, job
from jobs.rim.runner import read_inputs, run_step

DAY = ("exclude", "--day", "2026-01-08", "--reason", "a robot bought everything")
UNDO = ("exclude", "--day", "2026-01-08", "--undo")
# one event a day; the batch of the 8th also brings one of the 9th
GOOD = ({"item_id": "a", "event_time": at(1, days=-3)}, {"item_id": "b", "event_time": at(2, days=-1)})
BAD = ({"item_id": "a", "event_time": at(5, days=-2)}, {"item_id": "c", "event_time": at(23.9, days=-2)})
LAST = ({"item_id": "a", "event_time": at(1)},)


def shop(folder, *batches) -> Lake:
    lake = small_lake(folder, events=batches[0])
    for events in batches[1:]:
        add_batch(lake, events=events)
    return lake


def of_night(lake: Lake, days: float = 1, snapshot=None) -> Lineage:
    return Lineage(lake, lake_settings(lake.store.root.parent), at(days=days), snapshot)


def seen(lake: Lake, snapshot: int) -> list[str]:
    """The items of the events, by time."""
    parts = pa.concat_tables(lake.events(snapshot, at(days=-9), NIGHT, ["item_id", "event_time"]))
    return parts.sort_by("event_time")["item_id"].to_pylist()


def interactions(lineage: Lineage) -> list[dict]:
    """What the night computes, the items by name."""
    run_step(job("interactions"), lineage, pytest.fail)
    names = lineage.lake.dictionary(lineage.snapshot)["item_id"].to_pylist()
    found = lineage.read("interactions").to_pylist()
    return sorted((row | {"item_idx": names[row["item_idx"]]} for row in found), key=str)


def test_rows_are_those_of_a_lake_that_never_had_the_day_and_an_undo_brings_them_back(tmp_path, run):  # noqa: F811
    lake = shop(tmp_path, GOOD[:1], (*BAD, *GOOD[1:]), LAST)
    clean = shop(tmp_path / "clean", GOOD[:1], GOOD[1:], LAST)
    for days in (-2, -1, 0, 1):
        before = interactions(of_night(lake, days))
    first = [of_night(lake, days).version("interactions") for days in (-2, -1, 0, 1)]
    code, said, _ = run(*DAY)
    assert code == 0
    assert said.startswith("batch 4: the hours from 2026-01-08T00:00:00Z to 2026-01-09T00:00:00Z of all sources are ")
    assert "from snapshot 4 on: 2 events" in said
    without = [of_night(lake, days).version("interactions") for days in (-2, -1, 0, 1)]
    assert without[0] == first[0]  # the night before knew nothing of that day
    assert not set(without[1:]) & set(first)
    assert find_base(job("interactions"), of_night(lake)).start == at(days=-2)
    found = interactions(of_night(lake))
    assert found == interactions(of_night(clean)) != before
    assert [of_night(lake, days, snapshot=3).version("interactions") for days in (-2, -1, 0, 1)] == first
    assert run(*UNDO)[0] == 0
    assert [of_night(lake, days).version("interactions") for days in (-2, -1, 0, 1)] == first
    assert "already committed" in run_step(job("interactions"), of_night(lake), pytest.fail)


def test_every_reader_leaves_out_what_is_excluded_at_its_snapshot(tmp_path, run, quick):  # noqa: F811
    lake = shop(tmp_path, GOOD[:1], (*BAD, *GOOD[1:]), LAST)
    assert run(*DAY)[0] == 0
    assert (seen(lake, 3), seen(lake, 4)) == (list("aacba"), list("aba"))
    now, before = of_night(lake), of_night(lake, snapshot=3)
    assert (now.n_events(NIGHT), before.n_events(NIGHT)) == (3, 5)
    assert (hourly_events(now).sum(), hourly_events(before).sum()) == (3, 5)
    assert (len(contents(now)[0]), len(contents(before)[0])) == (3, 5)
    for lineage, items in ((now, "aab"), (before, "aaabc")):
        events = read_inputs(job("trending"), lineage, quick)["events"]
        assert sorted(row.item_id for row in events.select("item_id").collect()) == list(items)


def test_one_source_may_be_excluded_and_hours_may_be(tmp_path, run):  # noqa: F811
    lake = shop(tmp_path, BAD)
    add_batch(lake, source="other", events=[event | {"source": "other", "item_id": "o"} for event in BAD])
    span = ("--interval", "2026-01-08T05:00:00Z", "2026-01-08T06:00:00Z")
    assert run("exclude", *span, "--source", "shop", "--reason", "x")[0] == 0
    assert sorted(seen(lake, 3)) == list("coo")
    assert of_night(lake).n_events(NIGHT) == 3
    assert run("exclude", *span, "--reason", "y")[0] == 0
    assert sorted(seen(lake, 4)) == list("co")
    shown = "2026-01-08T05:00:00Z 2026-01-08T06:00:00Z"
    assert run("exclude", "--list") == (0, f"{shown} shop: x\n{shown} all sources: y\n", "")
    assert run("exclude", *span, "--undo")[0] == 0
    assert sorted(seen(lake, 5)) == list("coo")  # the source's own stays


def test_an_order_is_given_once(tmp_path, run):  # noqa: F811
    shop(tmp_path, BAD)
    for _ in range(2):
        code, told, _ = run(*DAY)
    assert (code, told) == (0, "nothing to do: batch 2 says so already\n")
    for _ in range(2):
        code, told, _ = run(*UNDO)
    assert (code, told) == (0, "nothing to do: batch 3 says so already\n")
    assert run("snapshot")[1] == "3\n"


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (DAY[:3], "say why by --reason TEXT"),
        (UNDO, "2026-01-09T00:00:00Z of all sources were never excluded; excluded are: nothing"),
        (("exclude", "--interval", "2026-01-08T00:30", "2026-01-09", "--reason", "x"), "give whole UTC hours"),
        (("exclude", "--day", "someday", "--reason", "x"), "'someday' is no day such as 2026-01-05"),
    ],
)
def test_what_cannot_be_done_is_told(tmp_path, run, argv, told):  # noqa: F811
    shop(tmp_path, BAD)
    code, _, error = run(*argv)
    assert code == 2
    assert told in error
    assert run("snapshot")[1] == "1\n"


def test_an_empty_lake_has_nothing_to_exclude(run):  # noqa: F811
    assert run(*DAY)[0] == 2
