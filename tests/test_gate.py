"""The gate: real Great Expectations passes good tables and refuses each broken promise in a line that says which."""

from dataclasses import replace
from datetime import timedelta

import orjson
import pyarrow as pa
import pytest
from committed import commit, unprobed
from lake_fixtures import DAY, NIGHT, add_batch, at, rows, small_lake

from conf.settings import load_settings
from jobs import cli
from jobs.gate import judge
from jobs.rim.errors import TemporaryError
from jobs.rim.lineage import MAKERS, Lineage
from jobs.rim.verdict import Verdict, earlier_night, read_verdict

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
    return unprobed(lake, load_settings(), NIGHT, rows("interactions", *interactions))


def slate(user: str = "u0", **override) -> dict:
    """Two items none of the four has: c and d."""
    base = {"items": [2, 3], "scores": [0.9, 0.8], "sources": ["als", "als"], "because_of": [0, 0], "seen": [0]}
    return base | {"propensities": [1.0, 0.5], "user_id": user} | override


def neighbor(item: int, other: int, **override) -> dict:
    return {"item_idx": item, "neighbor_idx": other} | override


GOOD = [slate(f"u{k}") for k in range(4)]
NEIGHBORS = [neighbor(0, 1), neighbor(1, 0)]
TRENDING = [{"rank": 1, "item_idx": 0}, {"rank": 2, "item_idx": 1}]
CONTENT = [{"item_idx": 3, "others": [0, 1, 2], "weights": [1.0, 0.5, 0.5]}, {"item_idx": 4}]
TABLES = {"item_neighbors": NEIGHBORS, "content_neighbors": CONTENT, "slates": GOOD, "trending": TRENDING}


def described(**override) -> list[dict]:
    """Two new items, one of them not as it should be."""
    return [{"item_idx": 3, "others": [0, 1], "weights": [0.5, 0.25]} | override, CONTENT[1]]


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
    "like itself": ("content_neighbors", described(others=[0, 3]), "n_own_neighbors", "1", NONE),
    "alike twice": ("content_neighbors", described(others=[0, 0]), "n_repeated_items", "1", NONE),
    "a new item twice": ("content_neighbors", described(item_idx=4), "n_repeated_rows", "1", NONE),
    "unheard of": ("content_neighbors", described(others=[0, 6]), "n_unknown_items", "1", NONE),
    "more than alike": ("content_neighbors", described(weights=[1.5, 0.5]), "n_bad_weights", "1", NONE),
    "not alike": ("content_neighbors", described(weights=[0.5, 0.0]), "n_bad_weights", "1", NONE),
    "the most alike last": ("content_neighbors", described(weights=[0.25, 0.5]), "n_out_of_order", "1", NONE),
    "a weight too few": ("content_neighbors", described(weights=[0.5]), "n_uneven", "1", NONE),
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
    bought = PEOPLE[0] | {"n_purchases": 1, "last_purchase_time": at(12, days=-9)}
    settings = load_settings(slates={"rules_file": str(mine)})
    found = unprobed(lake, settings, NIGHT, rows("interactions", bought, *PEOPLE[1:]))
    commit(found, "slates", rows("slates", slate(items=[2, 0]), *OTHERS))
    told = judge("slates", found).failures
    assert ["n_seen_items" in line for line in told] == [True] * failures


def test_without_anything_new_nothing_is_described_like_the_known(lineage):
    commit(lineage, "content_neighbors", rows("content_neighbors"))
    verdict = judge("content_neighbors", lineage)
    assert (verdict.passed, verdict.failures, set(verdict.statistics.values())) == (True, [], {0})


@pytest.mark.parametrize("table", [table for table in TABLES if table != "content_neighbors"])
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
    [
        *(("item_neighbors", "score"), ("trending", "n_users"), ("slates", "sources"), ("slates", "items")),
        ("content_neighbors", "weights"),
    ],
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


# the night before, the last day, and the recipe's standing


def after_a_night(lineage: Lineage, tonight: list[dict], people=PEOPLE) -> Verdict:
    """The verdict on slates a night after the good ones passed, for these people."""
    earlier = unprobed(lineage.lake, lineage.settings, DAY, rows("interactions", *people))
    commit(earlier, "slates", rows("slates", *GOOD))
    assert judge("slates", earlier).passed
    commit(lineage, "slates", rows("slates", *tonight))
    return judge("slates", lineage)


def test_slates_are_compared_with_those_of_the_night_before(lineage):
    verdict = after_a_night(lineage, [slate(items=[2, 4]), *OTHERS])
    assert (verdict.passed, verdict.failures) == (True, [])
    assert verdict.statistics["churn@10"] == pytest.approx(1 / 8)  # one of four has one new of two
    kept = {name: value for name, value in verdict.statistics.items() if name.startswith("kept_")}
    assert kept == {  # nobody old, and no c, in the night before; e is new in the slates
        "kept_n_interactions": 9 / 8,
        "kept_n_users": 5 / 4,
        "kept_fill": pytest.approx(2 / 3),
        "kept_item_coverage": 1,
    }


def test_slates_with_nothing_in_common_with_the_night_before_are_refused(lineage):
    one = {"scores": [0.9], "propensities": [1.0], "sources": ["als"], "because_of": [0]}
    failures = after_a_night(lineage, [slate(f"u{k}", items=[4], **one) for k in range(4)]).failures
    assert next(line for line in failures if "churn@10" in line).endswith("saw 1.0, allowed 0.8 or less")


def test_people_who_have_gone_missing_since_the_night_before_are_refused(lineage):
    many = [{"user_id": f"u{k}", "last_time": at(-72)} for k in range(19)]
    many += [{"user_id": "old", "item_idx": item, "last_time": at(-72)} for item in (1, 2)]
    failures = after_a_night(lineage, GOOD, many).failures
    assert [line.split(" of ")[1].split()[0] for line in failures] == ["kept_n_interactions", "kept_n_users"]
    assert failures[1].endswith("saw 0.25, allowed 0.8 or more")


def test_only_a_night_that_passed_not_long_ago_is_compared_with(lineage):
    earlier = unprobed(lineage.lake, lineage.settings, DAY, rows("interactions", *PEOPLE))
    commit(earlier, "slates", rows("slates", slate(items=[2, 2]), *OTHERS))
    assert not judge("slates", earlier).passed
    assert earlier_night("slates", lineage, timedelta(days=8)) is None
    first = unprobed(lineage.lake, lineage.settings, DAY - timedelta(days=3), rows("interactions", *PEOPLE))
    commit(first, "slates", rows("slates", *GOOD))
    passed = judge("slates", first)
    found, manifest = earlier_night("slates", lineage, timedelta(days=8))
    assert (found, manifest.version) == (passed, passed.version)
    assert earlier_night("slates", lineage, timedelta(days=3)) is None
    assert earlier_night("slates", first, timedelta(days=8)) is None


def test_without_the_slates_of_the_night_before_their_numbers_still_count(lineage):
    earlier = unprobed(lineage.lake, lineage.settings, DAY, rows("interactions", *PEOPLE))
    key = commit(earlier, "slates", rows("slates", *GOOD))
    assert judge("slates", earlier).passed
    (lineage.lake.store.root / key).unlink()
    commit(lineage, "slates", rows("slates", *GOOD))
    statistics = judge("slates", lineage).statistics
    assert statistics["kept_n_users"] == 5 / 4
    assert "churn@10" not in statistics


COMPARED = {"against": "live", "measure": "ndcg@10", "value": -0.02, "low": -0.03, "high": -0.01}


@pytest.mark.parametrize(
    ("override", "refused"),
    [({}, True), ({"against": "popularity_30"}, True), ({"high": 0.001}, False), ({"segment": "new"}, False),
     ({"measure": "recall@20"}, False), ({"cut": "2026-01-09"}, False)],
)  # fmt: skip
def test_a_recipe_significantly_worse_than_what_it_replaces_is_refused(lineage, override, refused):
    commit(lineage, "metrics", rows("metrics", {}, COMPARED | override))
    commit(lineage, "slates", rows("slates", *GOOD))
    verdict = judge("slates", lineage)
    against = (COMPARED | override)["against"]
    assert [f" of gain_high_on_{against} " in line for line in verdict.failures] == [True] * refused
    assert verdict.passed is not refused
    unmeasured = {"segment", "measure", "cut"} & override.keys()
    assert ("compared with nothing" in " ".join(verdict.warnings)) == bool(unmeasured)


def test_a_day_without_events_is_a_warning(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NIGHTSHELF_LAKE__URI", str(tmp_path / "lake"))
    monkeypatch.setenv("NIGHTSHELF_LAKE__MIN_FREE_MB", "0")
    lake = small_lake(tmp_path, events=[{"item_id": item, "event_time": at(-30)} for item in "abcdef"])
    quiet = unprobed(lake, load_settings(), NIGHT, rows("interactions", *PEOPLE))
    commit(quiet, "slates", rows("slates", *GOOD))
    assert cli.main(["gate", "--tables", "slates", *AS_OF]) == 0
    assert "; warning: no event in the last day; warning: " in capsys.readouterr().out


def a_month(last_day: list[float]) -> list[dict]:
    """Views at 8, 12 and 20 o'clock of each of 28 days, of three people and six items; then those of the last day."""
    usual = [view(n, hour, day) for n, (day, hour) in enumerate((d, h) for d in range(-28, 0) for h in (8, 12, 20))]
    return [*usual, *on_the_day(last_day)]


def on_the_day(hours: list[float]) -> list[dict]:
    return [view(n, hour, 0) for n, hour in enumerate(hours)]


def view(n: int, hour: float, day: float) -> dict:
    return {"event_time": at(hour, day), "item_id": "abcdef"[n % 6], "user_id": f"u{n % 3}"}


def arrived(tmp_path, events: list[dict], late: list[dict]) -> Lineage:
    """The last of two nights, before its slates are judged; ``late`` events come between the two."""
    lake = small_lake(tmp_path, events=events)
    earlier = unprobed(lake, load_settings(), DAY, rows("interactions", *PEOPLE))
    commit(earlier, "slates", rows("slates", *GOOD))
    assert judge("slates", earlier).passed
    add_batch(lake, late)
    found = unprobed(lake, load_settings(), NIGHT, rows("interactions", *PEOPLE))
    commit(found, "slates", rows("slates", *GOOD))
    return found


@pytest.mark.parametrize(
    ("last_day", "said"),
    [([8, 12, 20], ""), ([8, 12, 19], ""), ([8, 9, 10], "last_hour (slates as a whole): saw 10.0, allowed 19 or more"),
     ([20], "last_day_events (slates as a whole): saw 1.0, allowed 1.5 or more"), ([], "")],
)  # fmt: skip
def test_a_last_day_cut_off_is_refused(tmp_path, last_day, said):
    failures = judge("slates", arrived(tmp_path, a_month([]), on_the_day(last_day))).failures
    assert len(failures) == bool(said)
    assert said in " ".join(failures)


def test_the_last_day_of_a_first_night_is_taken_as_it_is(tmp_path):
    """Whoever brings their data for the first time rarely brings it at midnight."""
    lake = small_lake(tmp_path, events=a_month([8, 9, 10]))
    first = unprobed(lake, load_settings(), NIGHT, rows("interactions", *PEOPLE))
    commit(first, "slates", rows("slates", *GOOD))
    verdict = judge("slates", first)
    assert (verdict.passed, verdict.warnings[0]) == (True, "last_hour is 10, usual is 19 or more")


@pytest.mark.parametrize(("later", "share"), [(timedelta(), "resent_share"), (timedelta(days=1), "moved_share")])
def test_events_that_come_again_under_new_ids_are_refused(tmp_path, later, share):
    """Sixty views of yesterday, again; at the same moments, or as if of today."""
    busy = [{"event_time": at(k / 4, -1), "item_id": "abcdef"[k % 6], "user_id": f"u{k % 7}"} for k in range(60)]
    again = [event | {"event_time": event["event_time"] + later} for event in busy]
    usual = on_the_day([8, 12, 20])
    verdict = judge("slates", arrived(tmp_path, [*a_month([]), *busy], [*usual, *again]))
    assert len(verdict.failures) == 1
    assert f" of {share} " in verdict.failures[0]
    clean = judge("slates", arrived(tmp_path / "clean", [*a_month([]), *busy], usual))
    assert clean.statistics[share] == 0
    assert clean.passed
