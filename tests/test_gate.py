"""The gate: real Great Expectations passes good tables and refuses each broken promise in a line that says which."""

from dataclasses import replace

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_fixtures import NIGHT, at, rows, small_lake

from conf.settings import load_settings
from jobs import cli
from jobs.gate import judge
from jobs.rim.errors import TemporaryError
from jobs.rim.lake import Lake
from jobs.rim.lineage import MAKERS, Lineage, job
from jobs.rim.manifest import DataFile, Manifest, iso
from jobs.rim.verdict import read_verdict
from schemas.tables import SCHEMA_VERSION

# Great Expectations imports sre_constants and its friends, deprecated since Python 3.11
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre:DeprecationWarning")
AS_OF = ["--as-of", "2026-01-11T00:00:00Z"]
# Active on the last day.
PEOPLE = [{"user_id": f"u{k}", "item_idx": item, "last_time": at(12)} for k in range(4) for item in (0, 1)]


@pytest.fixture
def lineage(tmp_path, monkeypatch) -> Lineage:
    """A lake with items a to f (f unavailable), interactions of four people with a and b; nothing to judge yet."""
    return lake_with(tmp_path, monkeypatch, *PEOPLE, {"user_id": "old", "item_idx": 2, "last_time": at(-30)})


def lake_with(tmp_path, monkeypatch, *interactions: dict) -> Lineage:
    monkeypatch.setenv("NIGHTSHELF_LAKE__URI", str(tmp_path / "lake"))
    monkeypatch.setenv("NIGHTSHELF_LAKE__MIN_FREE_MB", "0")
    lake = small_lake(
        tmp_path, events=[{"item_id": item} for item in "abcdef"], items=[{"item_id": "f", "available": False}]
    )
    found = Lineage(Lake(lake.store), load_settings(), NIGHT)
    commit(found, "interactions", rows("interactions", *interactions))
    return found


def commit(lineage: Lineage, table: str, content: pa.Table, checked: bool = True) -> str:
    """Commit a table as its job would; unchecked, as a broken writer might. Gives the file's key."""
    name = MAKERS[table]
    version = lineage.version(name)
    key = f"{lineage.lake.attempt_key(table, NIGHT, version)}/part-00000.parquet"
    if checked:
        files = [lineage.lake.write(key, table, content)] if content.num_rows else []
    else:
        lineage.lake.store.prepare(key)
        pq.write_table(content, lineage.lake.store.path(key))
        files = [DataFile(key, content.num_rows, 1, 0)]
    record = Manifest(
        job=name,
        as_of=iso(NIGHT),
        version=version,
        created_at=iso(NIGHT),
        schema_version=SCHEMA_VERSION,
        code_version="tests",
        settings_hash="tests",
        snapshot=lineage.snapshot,
        inputs=lineage.inputs(job(name)),
        files={table: files},
        measured={},
    )
    assert lineage.lake.commit(record)
    return key


def slate(user: str = "u0", **override) -> dict:
    """Two items none of the four has: c and d."""
    base = {"items": [2, 3], "scores": [0.9, 0.8], "sources": ["als", "als"], "because_of": [0, 0], "seen": [0]}
    return base | {"propensities": [1.0, 0.5], "user_id": user} | override


def neighbor(item: int, other: int, **override) -> dict:
    return {"item_idx": item, "neighbor_idx": other} | override


GOOD = [slate(f"u{k}") for k in range(4)]
NEIGHBORS = [neighbor(0, 1), neighbor(1, 0)]
TRENDING = [{"rank": 1, "item_idx": 0}, {"rank": 2, "item_idx": 1}]
TABLES = {"item_neighbors": NEIGHBORS, "slates": GOOD, "trending": TRENDING}


def test_good_tables_pass_and_the_verdict_says_what_was_seen(lineage, capsys):
    for table, content in TABLES.items():
        commit(lineage, table, rows(table, *content))
    assert cli.main(["gate", "--tables", *TABLES, *AS_OF]) == 0
    said = capsys.readouterr()
    assert [line.split(" (")[0] for line in said.out.splitlines()] == [f"gate: {table} passed" for table in TABLES]
    assert "user_coverage 1" in said.out
    assert said.err == ""
    for table in TABLES:
        verdict = read_verdict(table, lineage)
        assert (verdict.passed, verdict.failures) == (True, [])
        assert verdict.version == lineage.version(MAKERS[table])


NONE, OTHERS = "0", GOOD[1:]
BROKEN = {
    "a repeated item": ("slates", [slate(items=[2, 2]), *OTHERS], "n_repeated_items", "1", NONE),
    "a seen item": ("slates", [slate(items=[2, 0]), *OTHERS], "n_seen_items", "1", NONE),
    "out of order": ("slates", [slate(scores=[0.8, 0.9]), *OTHERS], "n_out_of_order", "1", NONE),
    "unavailable": ("slates", [slate(items=[2, 5]), *OTHERS], "n_unavailable_items", "1", NONE),
    "without reason": ("slates", [slate(because_of=[0, -1]), *OTHERS], "n_without_own_reason", "1", NONE),
    "promoted without reason": (
        "slates", [slate(because_of=[0, -1], sources=["promotion", "als"]), *OTHERS], "n_without_own_reason", "1",
        NONE),
    "a certain draw": ("slates", [slate(propensities=[1.5, 1.0]), *OTHERS], "n_bad_propensities", "1", NONE),
    "an impossible draw": ("slates", [slate(propensities=[0.0, 1.0]), *OTHERS], "n_bad_propensities", "1", NONE),
    "uneven lists": ("slates", [slate(because_of=[0]), *OTHERS], "n_uneven", "1", NONE),
    "a user twice": ("slates", [*GOOD, slate("u1")], "n_repeated_users", "1", NONE),
    "too few people": ("slates", [slate()], "user_coverage", "0.25", "0.5 or more"),
    "its own neighbor": ("item_neighbors", [*NEIGHBORS, neighbor(2, 2)], "n_own_neighbors", "1", NONE),
    "one-sided": ("item_neighbors", [neighbor(0, 1), neighbor(1, 0, n_pair=3)], "n_one_sided", "1", NONE),
    "a wrong kind": (
        "item_neighbors", [*NEIGHBORS, neighbor(5, 1, kind="stolen_together")], "kind", "stolen_together",
        "one of viewed_together, bought_together"),
    "below zero": ("item_neighbors", [*NEIGHBORS, neighbor(5, 1, lift=-0.5)], "lift", "-0.5", "0 or more"),
    "a missing rank": ("trending", [TRENDING[0], {"rank": 3, "item_idx": 1}], "n_gaps", "1", NONE),
    "no list for all": ("trending", [{"segment": "country=FR"}], "n_for_all", "0", "1 or more"),
}  # fmt: skip


@pytest.mark.parametrize(("table", "content", "column", "seen", "allowed"), BROKEN.values(), ids=BROKEN)
def test_a_broken_promise_is_refused_and_told(lineage, capsys, table, content, column, seen, allowed):
    commit(lineage, table, rows(table, *content))
    assert cli.main(["gate", "--tables", table, *AS_OF]) == 3
    said = capsys.readouterr()
    assert said.out.startswith(f"gate: {table} REFUSED (")
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"nightshelf: {table} {lineage.version(MAKERS[table])}: expect_column_values_to_be_")
    failures = read_verdict(table, lineage).failures
    assert len(failures) == 1, failures
    assert f" of {column} ({table} " in failures[0]
    assert failures[0].partition(" (no event")[0].endswith(f"saw {seen}, allowed {allowed}")


def test_a_promotion_needs_no_reason_of_ones_own(lineage):
    promoted = slate(because_of=[-1, 0], sources=["promotion", "als"])
    commit(lineage, "slates", rows("slates", promoted, *OTHERS))
    assert judge("slates", lineage).failures == []


@pytest.mark.parametrize(("after_days", "failures"), [(9, 0), (10, 1)])
def test_only_what_comes_back_by_the_rules_is_no_seen_item(tmp_path, after_days, failures):
    """u0 bought a (of category tea) nine and a half days ago, and nobody else did."""
    mine = tmp_path / "mine.toml"
    mine.write_text(f"[rebuy]\ncategories = ['tea']\nafter_days = {after_days}\n")
    lake = small_lake(tmp_path, events=[{"item_id": item} for item in "abcd"], items=[{"category": "tea"}])
    found = Lineage(Lake(lake.store), load_settings(slates={"rules_file": str(mine)}), NIGHT)
    bought = PEOPLE[0] | {"n_purchases": 1, "last_purchase_time": at(12, days=-9)}
    commit(found, "interactions", rows("interactions", bought, *PEOPLE[1:]))
    commit(found, "slates", rows("slates", slate(items=[2, 0]), *OTHERS))
    told = judge("slates", found).failures
    assert ["n_seen_items" in line for line in told] == [True] * failures


@pytest.mark.parametrize("table", TABLES)
def test_an_empty_table_is_refused(lineage, table):
    commit(lineage, table, rows(table))
    verdict = judge(table, lineage)
    told = " ".join(verdict.failures)
    assert not verdict.passed
    assert (
        f"of {'n_for_all' if table == 'trending' else 'n_rows'} ({table} as a whole): saw 0, allowed 1 or more" in told
    )
    assert told.endswith("?)") == (table != "trending")
    assert ("user_coverage" in told) == ("item_coverage" in told) == ("of fill " in told) == (table == "slates")


def test_where_nobody_has_an_id_there_are_no_slates_and_none_are_missed(tmp_path, monkeypatch):
    empty = lake_with(tmp_path, monkeypatch)
    commit(empty, "slates", rows("slates"))
    verdict = judge("slates", empty)
    assert (verdict.passed, verdict.failures, verdict.statistics["n_users"]) == (True, [], 0)


@pytest.mark.parametrize(
    ("table", "column"),
    [("item_neighbors", "score"), ("trending", "n_users"), ("slates", "sources"), ("slates", "items")],
)
def test_nulls_of_a_broken_writer_are_refused(lineage, capsys, table, column):
    content = TABLES[table]
    loose = pa.schema([field.with_nullable(True) for field in rows(table).schema])
    broken = [row | ({column: None} if k == 0 else {}) for k, row in enumerate(content)]
    commit(lineage, table, rows(table, *broken).cast(loose), checked=False)
    assert cli.main(["gate", "--tables", table, *AS_OF]) == 3
    assert column in capsys.readouterr().err


def test_all_tables_are_judged_before_any_is_refused(lineage, capsys):
    commit(lineage, "trending", rows("trending", {"rank": 2}))
    commit(lineage, "item_neighbors", rows("item_neighbors", *NEIGHBORS))
    commit(lineage, "slates", rows("slates", *GOOD[:1], slate("u1", items=[2, 2])))
    assert cli.main(["gate", "--tables", "trending", "slates", "item_neighbors", *AS_OF]) == 3
    said = capsys.readouterr()
    assert [line.split()[1:3] for line in said.out.splitlines()] == [
        ["trending", "REFUSED"],
        ["slates", "REFUSED"],
        ["item_neighbors", "passed"],
    ]
    assert "trending " in said.err
    assert "n_gaps" in said.err
    assert "n_repeated_items" in said.err


def test_a_verdict_stands_and_is_not_judged_again(lineage, capsys):
    key = commit(lineage, "slates", rows("slates", slate(items=[2, 2]), *GOOD[1:]))
    first = judge("slates", lineage)
    assert first.passed is False
    (lineage.lake.store.root / key).unlink()  # judging again would have to read it
    again = Lineage(lineage.lake, lineage.settings, NIGHT)
    assert judge("slates", again) == first
    stored = list((lineage.lake.store.root / "gate/slates").rglob("*.json"))
    assert [orjson.loads(path.read_bytes())["failures"] for path in stored] == [first.failures]
    assert cli.main(["gate", "--tables", "slates", *AS_OF]) == 3


def test_other_rules_are_another_verdict(lineage):
    commit(lineage, "slates", rows("slates", *GOOD[:1]))  # one of four people
    assert judge("slates", lineage).passed is False
    mild = load_settings(gate={"min_user_coverage": 0.25, "min_fill": 0.1})
    verdict = judge("slates", Lineage(lineage.lake, mild, NIGHT))
    assert (verdict.passed, verdict.statistics["user_coverage"]) == (True, 0.25)
    assert judge("slates", lineage).passed is False
    assert replace(verdict, passed=False) != verdict


def test_what_was_not_computed_cannot_be_judged(lineage, capsys):
    with pytest.raises(TemporaryError, match="run `nightshelf run trending"):
        judge("trending", lineage)
    assert cli.main(["gate", "--tables", "trending", *AS_OF]) == 75
