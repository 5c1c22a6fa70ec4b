"""Ingest of the real data sets: the counts stand here as they were counted apart from this code."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from conf.settings import load_settings
from jobs.cli import main
from jobs.rim.lake import Lake
from schemas.identity import pseudonym

SECRET = "a secret of tests"


@pytest.fixture(scope="module")
def online_retail(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> tuple[Lake, dict]:
    return ingested("online-retail", tmp_path_factory.mktemp("online-retail"), data_dir)


@pytest.fixture(scope="module")
def movielens(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> tuple[Lake, dict]:
    return ingested("movielens-100k", tmp_path_factory.mktemp("movielens"), data_dir)


def ingested(name: str, folder: Path, data_dir: Path) -> tuple[Lake, dict]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTSHELF_LAKE__URI", str(folder / "lake"))
        patch.setenv("NIGHTSHELF_IDENTITY__SECRET", SECRET)
        assert main(["ingest", "--path", str(data_dir / name), "--source", name]) == 0
        lake = Lake.open(load_settings().lake)
    (batch,) = lake.batches()
    return lake, batch.accounts


def read(lake: Lake, table: str, columns: list[str] | None = None) -> pa.Table:
    return lake.read(table, lake.batches()[0].files[table], columns)


@pytest.mark.data("online-retail")
def test_every_row_of_online_retail_is_accounted_for(online_retail: tuple[Lake, dict]) -> None:
    lake, accounts = online_retail
    assert accounts["read"] == 541_909
    assert accounts["quarantined"] == {"negative_quantity": 1_336, "not_a_product": 2_983}  # 12 rows are both
    assert accounts["by_kind"] == {"purchase": 528_886, "return": 8_704}
    assert (accounts["accepted"], accounts["duplicate"], accounts["anonymous"]) == (537_590, 0, 132_681)
    (batch,) = lake.batches()
    assert (batch.first_hour, batch.end_hour) == ("2010-12-01T08:00:00Z", "2011-12-09T13:00:00Z")
    assert len(batch.hours()) == 2_931
    assert (batch.n_items, sum(batch.hours().values())) == (3_933, 537_590)


@pytest.mark.data("online-retail")
def test_online_retail_events_hold_what_the_source_says(online_retail: tuple[Lake, dict]) -> None:
    lake, _ = online_retail
    events = read(lake, "events")
    assert pc.count_distinct(events["event_id"]).as_py() == events.num_rows  # 5,268 equal rows told apart
    assert pc.min(events["quantity"]).as_py() == 1
    assert events["session_id"].null_count == events["basket_id"].null_count == 0
    assert pc.count_distinct(events["user_id"].drop_null()).as_py() == 4_363
    mine = events.filter(pc.equal(events["user_id"], pseudonym(SECRET.encode(), "17850")))
    assert mine["event_time"][0].as_py() == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    assert "85123A" in mine["item_id"].to_pylist()
    summer = events.filter(pc.equal(events["basket_id"], pseudonym(SECRET.encode(), "558638", "basket")))
    assert summer["event_time"][0].as_py() == datetime(2011, 7, 1, 7, 16, tzinfo=UTC)  # 08:16 in London
    items = dict(zip(*read(lake, "items", ["item_id", "title"]).to_pydict().values(), strict=True))
    assert items["85123A"] == "WHITE HANGING HEART T-LIGHT HOLDER"


@pytest.mark.data("online-retail")
def test_online_retail_again_changes_nothing(online_retail, data_dir: Path, monkeypatch, capsys) -> None:
    lake, _ = online_retail
    monkeypatch.setenv("NIGHTSHELF_LAKE__URI", str(lake.store.root))
    monkeypatch.setenv("NIGHTSHELF_IDENTITY__SECRET", SECRET)
    assert main(["ingest", "--path", str(data_dir / "online-retail"), "--source", "online-retail"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], json.loads(lines[-1])["n_hours_with_rows"]) == ("already ingested as batch 1", 2_931)
    assert lake.snapshot() == 1


@pytest.mark.data("movielens-100k")
def test_movielens_has_all_ratings_users_and_items(movielens: tuple[Lake, dict]) -> None:
    lake, accounts = movielens
    assert (accounts["read"], accounts["accepted"], accounts["quarantined"]) == (100_000, 100_000, {})
    assert accounts["by_kind"] == {"rating": 100_000}
    assert {name: part["accepted"] for name, part in accounts["catalogue"].items()} == {"items": 1_682, "users": 943}
    events = read(lake, "events")
    # u.info and the file itself: 6,110 ones, 11,370 twos, 27,145 threes, 34,174 fours, 21,201 fives
    stars = {entry["values"]: entry["counts"] for entry in pc.value_counts(events["value"]).to_pylist()}
    assert stars == {1.0: 6_110, 2.0: 11_370, 3.0: 27_145, 4.0: 34_174, 5.0: 21_201}
    rating = {"kind": "rating", "value": 2.0, "weight_micro": 0}
    assert rating in accounts["weights"]


@pytest.mark.data("movielens-100k")
def test_movielens_items_and_users_are_read_whole(movielens: tuple[Lake, dict]) -> None:
    lake, _ = movielens
    items = {row["item_id"]: row for row in read(lake, "items").to_pylist()}
    assert items["50"]["title"] == "Star Wars (1977)"
    assert items["50"]["tags"] == ["Action", "Adventure", "Romance", "Sci-Fi", "War"]
    assert items["50"]["category"] == "Action"
    assert items["50"]["created_at"] == datetime(1977, 1, 1, tzinfo=UTC)
    assert items["543"]["title"] == "Misérables, Les (1995)"  # latin-1
    assert (items["267"]["title"], items["267"]["tags"], items["267"]["created_at"]) == ("unknown", None, None)
    users = {row["user_id"]: row for row in read(lake, "users").to_pylist()}
    first = users[pseudonym(SECRET.encode(), "1")]  # 1|24|M|technician|85711
    assert (first["age_band"], first["gender"], first["occupation"]) == ("20-29", "M", "technician")
