"""Late events: taken up to a limit, and nights come out as if they had been there in time; beyond it, kept apart."""

import json
from dataclasses import replace

import pytest
from lake_fixtures import add_batch, at, lake_settings, next_batch, small_lake
from test_ingest import house, ingest, lake, land, orders, rows, who  # noqa: F401

from jobs.cli import main
from jobs.rim.lineage import Lineage, job
from jobs.rim.manifest import iso
from jobs.rim.runner import run_step
from jobs.sources.late import earliest_taken

HOUR_BEFORE = ("--interval", "2026-01-10T10:00:00Z", "2026-01-10T11:00:00Z")
LAST_HOUR = ("--interval", "2026-01-10T11:00:00Z", "2026-01-10T12:00:00Z")
LIMIT = "2026-01-07T12:00:00Z"  # 72 h before the end of that hour
TOO_LATE = "2026-01-07T11:59:59.999999Z"


def accounts(number: int) -> dict:
    return lake().batches()[number - 1].accounts


def test_events_are_taken_up_to_the_limit_and_kept_apart_beyond_it(tmp_path, capsys):
    ingest(*HOUR_BEFORE, capsys=capsys)
    land(tmp_path / "landing", {"event_time": LIMIT}, {"event_time": TOO_LATE}, {"event_time": "2026-01-10T13:00:00Z"})
    ingest(*LAST_HOUR, capsys=capsys)
    assert rows("events")["event_id"].to_pylist() == ["events.jsonl-0", "events.jsonl-2"]
    found = accounts(2)
    assert [found[name] for name in ("read", "accepted", "quarantined")] == [3, 2, {"too_late": 1}]
    (refused,) = rows("quarantine").to_pylist()
    told = json.loads(refused["row"])
    assert (refused["reason"], refused["file"], refused["line"]) == ("too_late", "events.jsonl", 2)
    assert (told["event_time"], told["user_id"], told["event_id"]) == (TOO_LATE, who("anna"), "events.jsonl-1")


def test_late_is_later_than_what_was_read_last(tmp_path, capsys):
    """A source's first hour, and one after days away, find events that nobody could have taken before."""
    land(tmp_path / "landing", {"event_time": TOO_LATE})
    ingest(*LAST_HOUR, capsys=capsys)
    land(tmp_path / "landing", {"event_time": "2026-01-10T12:00:00Z"}, name="events2.jsonl")
    ingest("--interval", "2026-01-20T11:00:00Z", "2026-01-20T12:00:00Z", capsys=capsys)
    assert [accounts(number)["accepted"] for number in (1, 2)] == [1, 1]


def test_a_batch_that_another_follows_ends_nobodys_patience(tmp_path):
    """A stream's backlog comes in several batches of one command: none but the last covers the hour."""
    hour = at(11), at(12)
    covers = next_batch(small_lake(tmp_path), source="shop")
    waits = replace(covers, first_hour=iso(hour[0]), end_hour=iso(hour[0]))
    away = replace(covers, first_hour=iso(at(days=-20)), end_hour=iso(at(days=-19)))
    before = replace(covers, first_hour=iso(at(10)), end_hour=iso(hour[0]))
    limits = [earliest_taken(batches, "shop", hour, 72) for batches in ([waits], [away, waits], [away, before])]
    assert limits == [None, at(days=-22), at(12, days=-3)]
    assert earliest_taken([before], "another", hour, 72) is None
    assert earliest_taken([before], "shop", None, 72) is None


def test_a_whole_history_takes_what_was_too_late(tmp_path, capsys):
    ingest(*HOUR_BEFORE, capsys=capsys)
    where = land(tmp_path / "landing", {}, {"event_time": TOO_LATE})
    ingest(*LAST_HOUR, capsys=capsys)
    ingest("--path", where, capsys=capsys)
    assert sorted(rows("events")["event_id"].to_pylist()) == ["events.jsonl-0", "events.jsonl-1"]
    assert [accounts(3)[name] for name in ("accepted", "known", "quarantined")] == [1, 1, {}]


def test_what_the_lake_has_already_is_a_repeat_however_late(tmp_path, capsys, monkeypatch):
    """A file that grows is read anew each hour: its old rows are no news, and no row is refused twice in a batch."""
    same = {"event_id": "same", "event_time": TOO_LATE}
    monkeypatch.setenv("NIGHTSHELF_INGEST__CHUNK_ROWS", "1000")
    ingest("--path", land(tmp_path / "history", {"event_time": TOO_LATE}), capsys=capsys)
    ingest(*HOUR_BEFORE, capsys=capsys)
    land(tmp_path / "landing", {"event_time": TOO_LATE}, same, {}, same, {"kind": "teleport", "event_time": TOO_LATE})
    ingest(*LAST_HOUR, capsys=capsys)
    found = accounts(3)
    assert [found[name] for name in ("read", "accepted", "duplicate", "known")] == [5, 1, 2, 1]
    assert found["quarantined"] == {"too_late": 1, "unknown_kind": 1}


def test_rows_without_an_id_are_late_all_the_same_and_none_is_lost(tmp_path, capsys):
    argv = orders(tmp_path / "landing")
    ingest(
        *argv[2:],
        "--interval",
        "2026-07-05T06:00:00Z",
        "2026-07-05T07:00:00Z",
        "--path",
        str(tmp_path / "nothing"),
        capsys=capsys,
    )
    hour = ("--interval", "2026-07-05T07:00:00Z", "2026-07-05T08:00:00Z")  # what was sent back at 8:00 UTC is in time
    ingest(*hour, *argv[2:], "--path", argv[1], capsys=capsys)
    found = accounts(2)
    assert (found["read"], found["accepted"]) == (6, 1)
    assert found["quarantined"] == {"too_late": 3, "not_a_product": 1, "quantity_not_positive": 1}
    assert rows("item_dictionary")["item_id"].to_pylist() == ["10"]


def test_the_days_that_are_opened_again_are_told(tmp_path, capsys):
    hours = [f"2026-01-10T{hour:02}:00:00Z" for hour in (9, 10, 11, 12)]
    land(tmp_path / "landing", {"event_time": "2026-01-09T10:00:00Z"}, {"event_time": "2026-01-09T12:00:00Z"})
    ingest("--path", str(tmp_path / "landing"), capsys=capsys)
    late = [{"event_time": "2026-01-09T11:00:00Z"}] * 2 + [{"event_time": "2026-01-09T09:59:00Z"}]
    land(tmp_path / "landing", {"event_time": hours[0]}, *late, name="events2.jsonl")
    assert main(["ingest", "--interval", *hours[:2]]) == 0
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert told[told.index(["of", "these", "late", "2"]) + 1] == ["of", "2026-01-09", "2"]
    assert (accounts(2)["late"], accounts(2)["reopened"]) == (2, {"2026-01-09": 2})


def nights(folder, *batches) -> dict[int, tuple]:
    """Each batch, then a night, day by day; by day what the night measured, and its interactions by item id."""
    here = small_lake(folder, events=batches[0])
    found = {}
    for day, events in enumerate(batches):
        if day:
            add_batch(here, events=events)
        found[day] = night(here, day)
    return found


def night(here, day: int) -> tuple:
    lineage = Lineage(here, lake_settings(here.store.root.parent), at(days=day + 1))
    run_step(job("interactions"), lineage, pytest.fail)
    names = here.dictionary(lineage.snapshot)["item_id"].to_pylist()
    kept = lineage.read("interactions").to_pylist()
    known = sorted((row | {"item_idx": names[row["item_idx"]]} for row in kept), key=str)
    return lineage.committed("interactions").measured, known


@pytest.mark.usefixtures("house")
def test_a_night_after_late_events_equals_one_that_had_them_in_time(tmp_path):
    """Events of three days ago come with the fifth day's: that night goes on from the last one they do not touch."""
    days = [
        [{"item_id": item, "event_time": at(hour, days=day)} for hour, item in enumerate("abc")] for day in range(5)
    ]
    late = [
        {"item_id": "a", "kind": "purchase", "event_time": at(20, days=1)},
        {"item_id": "d", "event_time": at(1, 1)},
    ]
    undisturbed = nights(tmp_path / "one", days[0], [*days[1], *late], *days[2:])
    disturbed = nights(tmp_path / "two", *days[:4], [*days[4], *late])
    assert disturbed[3][1] != undisturbed[3][1]
    measured, found = disturbed[4]
    assert found == undisturbed[4][1]
    assert (measured["base"], measured["n_events"]) == ("2026-01-11T00:00:00Z", 14)  # of the four days since, not five
