"""Versions: equal inputs are a no-op, and a change reaches exactly what it touches."""

from dataclasses import replace
from datetime import timedelta

import pytest
from lake_fixtures import NIGHT, WEIGHTS, add_batch, at, lake_settings, small_lake

from conf.settings import SettingsError
from jobs.rim import lineage as lineage_module
from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.lake import Lake
from jobs.rim.lineage import EPOCH, LIVE_RECIPE, MAKERS, RAW, Lineage, code_version, content_hash, job
from jobs.rim.runner import event_weights, run_step

STEPS = ("interactions", "cooccurrence", "recipe", "fit", "cold", "candidates", "slates", "trending", "evaluate")
NIGHTLY = set(STEPS) - {"trending"}
WEEKLY = {"recipe", "evaluate"}
RANKED = {"candidates", "slates"}
FITTED = {"fit", *RANKED}
LEARNED = {*WEEKLY, *FITTED}
PERIOD = at(days=-2)  # 2026-01-08, a Thursday as 1970-01-01: the seven days that NIGHT is in begin here


@pytest.fixture
def lake(tmp_path):
    """Three old events and one of the night: what is made once a week is as of PERIOD."""
    old = [{"event_time": at(days=days), "item_id": "b"} for days in (-20, -19, -18)]
    return small_lake(tmp_path, events=[{}, *old], items=[{}], users=[{}])


def lineage_of(lake: Lake, as_of=NIGHT, snapshot=None, **sections) -> Lineage:
    return Lineage(lake, lake_settings(lake.store.root.parent, **sections), as_of, snapshot)


def versions(lake: Lake, as_of=NIGHT, snapshot=None, **sections) -> dict[str, str]:
    found = lineage_of(lake, as_of, snapshot, **sections)
    return {name: found.version(name) for name in STEPS}


def changed(before: dict, after: dict) -> set[str]:
    return {name for name in STEPS if before[name] != after[name]}


def test_steps_are_those_that_make_tables():
    assert set(STEPS) == set(MAKERS.values())
    for name in STEPS:
        of = job(name)
        assert of.name == name
        assert set(of.outputs) == {table for table, maker in MAKERS.items() if maker == name}
        assert set(of.inputs) <= {*RAW, *MAKERS, LIVE_RECIPE}
        assert set(of.arrow_inputs) <= set(of.inputs)
        assert (of.window is not None or of.base in of.outputs) == ("events" in of.inputs)
        assert (of.every_days is not None) == (name in WEEKLY)
    with pytest.raises(UsageError, match="no step 'magic'; steps are interactions, cooccurrence, recipe, fit"):
        job("magic")


def test_the_same_inputs_have_the_same_version(lake, tmp_path):
    again = small_lake(tmp_path / "elsewhere", events=[{}], items=[{}], users=[{}])
    small = small_lake(tmp_path / "here", events=[{}], items=[{}], users=[{}])
    assert versions(lake) == versions(lake) != versions(again) == versions(small)
    assert len(set(versions(lake).values())) == len(STEPS)
    assert all(len(version) == 16 and int(version, 16) >= 0 for version in versions(lake).values())


@pytest.mark.parametrize(
    ("section", "key", "value", "touched"),
    [
        ("interactions", "half_life_days", 7, NIGHTLY),
        ("cooccurrence", "min_pair", 3, {"cooccurrence"}),
        ("recipe", "seed", 8, LEARNED),
        ("recipe", "every_days", 14, LEARNED),
        ("fit", "min_probes", 8, FITTED),
        ("cold", "n_items", 50, {"cold", *RANKED}),
        ("candidates", "n_items", 50, RANKED),
        ("evaluate", "days", 8, {"evaluate"}),
        ("slates", "n_items", 50, {"slates"}),
        ("slates", "rules_file", "conf/rules.toml", set()),  # what it says counts, not where it stands
        ("trending", "half_life_hours", 1, {"trending"}),
        ("gate", "min_fill", 0.9, set()),
        ("serving", "port", 9000, set()),
        ("redis", "namespace", "other", set()),
        ("spark", "shuffle_partitions", 3, set()),
    ],
)
def test_a_setting_changes_what_uses_it_and_what_follows(lake, section, key, value, touched):
    assert changed(versions(lake), versions(lake, **{section: {key: value}})) == touched


@pytest.mark.parametrize(
    ("content", "touched"),
    [
        ("", set()),
        ("# my rules\n[diversity]\nwindow = 20\n", set()),  # repeats what holds anyway
        ("[diversity]\nmax_per_category = 3\n", {"slates"}),
        ("[exploration]\nn_slots = 1\n", {"slates"}),
        ("[rebuy]\nafter_days = 7\n", RANKED),
    ],
)
def test_business_rules_are_part_of_the_versions_that_use_them(lake, tmp_path, content, touched):
    mine = tmp_path / "mine.toml"
    mine.write_text(content)
    assert changed(versions(lake), versions(lake, slates={"rules_file": str(mine)})) == touched


def test_wrong_rules_stop_only_what_uses_them(lake):
    found = Lineage(lake, lake_settings(lake.store.root.parent, slates={"rules_file": "/nowhere.toml"}), NIGHT)
    assert len({found.version(name) for name in set(STEPS) - RANKED}) == 7
    with pytest.raises(SettingsError, match=r"rules '/nowhere\.toml' cannot be read"):
        found.version("candidates")


@pytest.mark.parametrize(
    ("moment", "touched"),
    [
        (at(12), set(STEPS) - WEEKLY),
        (at(23.99), set(STEPS) - WEEKLY),
        (at(24), set()),  # as_of itself is no part of the night
        (at(24.5), set()),
        (PERIOD, set(STEPS) - WEEKLY),  # nor is its beginning of what the week is learned from
        (PERIOD - timedelta(microseconds=1), set(STEPS)),
        (at(days=-30), NIGHTLY),  # trending looks back 7 days
        (at(days=-366), NIGHTLY),  # 365 days before the period, yet not before the night
        (at(days=-400), {"interactions", "cooccurrence", "cold", *RANKED}),  # a pair may have had events ever since
    ],
)
def test_late_events_re_open_only_the_windows_they_touch(lake, moment, touched):
    before = versions(lake)
    add_batch(lake, events=[{"event_time": moment}])
    assert changed(before, versions(lake)) == touched
    assert changed(before, versions(lake, snapshot=1)) == set()  # a run that is pinned stays what it was


def test_an_as_of_within_the_hour_reads_that_hour(lake):
    before = versions(lake, as_of=at(24.5))
    add_batch(lake, events=[{"event_time": at(24.25)}])
    assert changed(before, versions(lake, as_of=at(24.5))) == set(STEPS) - WEEKLY


def test_each_raw_table_touches_its_readers(lake):
    start = versions(lake)
    add_batch(lake, users=[{"country": "FR"}])
    with_users = versions(lake)
    assert changed(start, with_users) == {"cold", "fit", *RANKED, "trending"}
    add_batch(lake, items=[{"title": "A"}])
    with_items = versions(lake)
    assert changed(with_users, with_items) == {"cold", "fit", *RANKED, "trending"}
    add_batch(lake)
    assert versions(lake) == with_items  # an empty hour
    add_batch(lake, weights=WEIGHTS[:1])
    assert changed(with_items, versions(lake)) == NIGHTLY


def test_another_as_of_is_another_run_but_for_what_holds_a_week(lake):
    assert changed(versions(lake), versions(lake, as_of=NIGHT + timedelta(days=1))) == set(STEPS) - WEEKLY
    assert changed(versions(lake), versions(lake, as_of=PERIOD + timedelta(days=7))) == set(STEPS)


@pytest.mark.parametrize(
    ("as_of", "days", "moment"),
    [
        (NIGHT, 7, PERIOD),
        (PERIOD, 7, PERIOD),
        (PERIOD - timedelta(seconds=1), 7, PERIOD - timedelta(days=7)),
        (PERIOD + timedelta(days=7, seconds=-1), 7, PERIOD),
        (NIGHT, 1, NIGHT),
        (at(hours=30), 1, NIGHT),
        (NIGHT, 3, at(days=0)),  # 20,464 days since 1970: 6,821 times three and one
        (NIGHT, 90, at(days=-33)),  # 227 times ninety and 34
    ],
)
def test_a_period_begins_so_many_whole_periods_after_1970(tmp_path, as_of, days, moment):
    lake = small_lake(tmp_path, events=[{"event_time": at(days=-300)}])
    found = lineage_of(lake, as_of, recipe={"every_days": days})
    assert found.moment(job("recipe")) == found.moment(job("evaluate")) == moment
    assert (moment - EPOCH) % timedelta(days=days) == timedelta(0)
    assert found.moment(job("fit")) == as_of
    assert found.window_start(job("recipe")) == moment - timedelta(days=365)
    assert found.window_start(job("fit")) == as_of - timedelta(days=365)


@pytest.mark.parametrize(
    ("n_before", "n_within", "moment"), [(0, 3, NIGHT), (2, 3, NIGHT), (3, 3, PERIOD), (4, 3, PERIOD), (0, 0, PERIOD)]
)
def test_while_most_happened_within_the_period_nothing_learned_before_it_holds(tmp_path, n_before, n_within, moment):
    """What comes at or after as_of counts for neither."""
    before = [{"event_time": PERIOD - timedelta(minutes=1)}] * n_before
    within = [{"event_time": PERIOD}, {"event_time": at(3)}, {"event_time": NIGHT - timedelta(minutes=1)}][:n_within]
    later = [{"event_time": NIGHT + timedelta(hours=k)} for k in range(20)]
    found = lineage_of(small_lake(tmp_path, events=[*before, *within, *later]))
    assert found.n_events(PERIOD) == n_before
    assert found.n_events(NIGHT) == n_before + n_within
    assert found.moment(job("recipe")) == moment


def test_a_recipe_holds_for_its_period_and_is_the_live_one_of_the_next(lake):
    """Three nights, two of them of one week."""
    nights = (NIGHT, NIGHT + timedelta(days=3, hours=23), PERIOD + timedelta(days=7))
    first, same, other = (lineage_of(lake, as_of) for as_of in nights)
    assert run(first).startswith("recipe: 1 recipe from ")
    assert run(same).startswith(f"recipe: already committed as {first.version('recipe')}")
    assert first.live_recipe(job("evaluate")) is None
    assert same.live_recipe(job("evaluate")) is None  # of its own period, not of an earlier one
    assert first.inputs(job("evaluate"))["live_recipe"] == ""
    assert run(other).startswith("recipe: 1 recipe from ")
    live = other.live_recipe(job("evaluate"))
    assert (live.version, live.as_of) == (first.version("recipe"), "2026-01-08T00:00:00Z")
    assert other.inputs(job("evaluate"))["live_recipe"] == first.version("recipe")
    assert other.committed("recipe").as_of == "2026-01-15T00:00:00Z"


def test_of_the_recipes_of_one_moment_the_one_made_last_is_live(lake):
    run(lineage_of(lake))
    made = lineage_of(lake).committed("recipe")
    next_week = lineage_of(lake, PERIOD + timedelta(days=7))
    for version, created_at in (("f" * 16, "2026-01-01T00:00:00Z"), ("0" * 16, "2036-01-01T00:00:00Z")):
        lake.commit(replace(made, version=version, created_at=created_at))
    lake.commit(replace(made, version="a" * 16, created_at="2046-01-01T00:00:00Z", as_of="2026-01-01T00:00:00Z"))
    assert next_week.live_recipe(job("evaluate")).version == "0" * 16


def run(lineage: Lineage) -> str:
    return run_step(job("recipe"), lineage, no_session)


def no_session():
    raise AssertionError("Spark was asked for")


def test_code_and_schema_are_part_of_the_version(lake, monkeypatch):
    before = versions(lake)
    with monkeypatch.context() as patched:
        patched.setattr(lineage_module, "code_version", lambda: "other code")
        assert changed(before, versions(lake)) == set(STEPS)
    monkeypatch.setattr(lineage_module, "SCHEMA_VERSION", lineage_module.SCHEMA_VERSION + 1)
    assert changed(before, versions(lake)) == set(STEPS)


def test_the_code_version_is_that_of_the_code_that_computes(tmp_path, monkeypatch):
    for part in ("jobs", "schemas", "conf"):
        (tmp_path / part).mkdir()
    module, unread = tmp_path / "jobs/x.py", tmp_path / "conf/x.toml"
    monkeypatch.setattr(lineage_module, "CODE_ROOT", tmp_path)
    seen = []
    for path, text in ((module, "a = 1"), (module, "a = 2"), (unread, "a = 3"), (module, "a = 1")):
        path.write_text(text)
        seen.append(code_version.__wrapped__())
    assert seen[0] != seen[1] == seen[2]
    assert seen[3] == seen[0]


def test_what_was_committed_is_found_by_its_version_alone(lake):
    mine = Lineage(lake, lake_settings(lake.store.root.parent), NIGHT)
    assert mine.find("slates") is None
    with pytest.raises(TemporaryError) as missing:
        mine.resolve("user_factors")
    told = "run `nightshelf run fit --as-of 2026-01-11T00:00:00Z --snapshot 1` first"
    assert told in str(missing.value)
    assert mine.version("fit") in str(missing.value)


def test_the_version_does_not_hang_on_the_order_of_a_dictionary():
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1}) != content_hash({"a": 2, "b": 1})


def test_an_empty_lake_says_what_to_do(tmp_path):
    settings = lake_settings(tmp_path)
    with pytest.raises(UsageError, match="lake is empty: run `nightshelf ingest`"):
        Lineage(Lake.open(settings.lake), settings, NIGHT)


def test_the_newest_batch_of_a_source_decides_what_events_weigh(lake):
    add_batch(lake, weights=[{"kind": "rating", "value": 5.0, "weight_micro": 7}], source="films")
    add_batch(lake, weights=[{"kind": "view", "value": None, "weight_micro": 3}], source="shop")
    found = {(r["source"], r["kind"], r["value"], r["weight_micro"]) for r in event_weights(lake.batches()).to_pylist()}
    assert found == {("films", "rating", 5.0, 7), ("shop", "view", None, 3)}
