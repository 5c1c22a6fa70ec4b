"""Versions: equal inputs are a no-op, and a change reaches exactly what it touches."""

from datetime import timedelta

import pytest
from lake_fixtures import NIGHT, WEIGHTS, add_batch, at, lake_settings, small_lake

from conf.settings import SettingsError
from jobs.rim import lineage as lineage_module
from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.lake import Lake
from jobs.rim.lineage import MAKERS, RAW, Lineage, code_version, content_hash, job
from jobs.rim.runner import event_weights

STEPS = ("interactions", "cooccurrence", "als", "candidates", "slates", "trending")
NIGHTLY = set(STEPS) - {"trending"}


@pytest.fixture
def lake(tmp_path):
    return small_lake(tmp_path, events=[{}], items=[{}], users=[{}])


def versions(lake: Lake, as_of=NIGHT, snapshot=None, **sections) -> dict[str, str]:
    settings = lake_settings(lake.store.root.parent, **sections)
    found = Lineage(lake, settings, as_of, snapshot)
    return {name: found.version(name) for name in STEPS}


def changed(before: dict, after: dict) -> set[str]:
    return {name for name in STEPS if before[name] != after[name]}


def test_steps_are_those_that_make_tables():
    assert set(STEPS) == set(MAKERS.values())
    for name in STEPS:
        of = job(name)
        assert of.name == name
        assert set(of.outputs) == {table for table, maker in MAKERS.items() if maker == name}
        assert set(of.inputs) <= {*RAW, *MAKERS}
        assert set(of.arrow_inputs) <= set(of.inputs)
        assert (of.window is not None) == ("events" in of.inputs)
    with pytest.raises(UsageError, match="no step 'magic'; steps are interactions, cooccurrence, als"):
        job("magic")


def test_the_same_inputs_have_the_same_version(lake, tmp_path):
    again = small_lake(tmp_path / "elsewhere", events=[{}], items=[{}], users=[{}])
    assert versions(lake) == versions(lake) == versions(again)
    assert len(set(versions(lake).values())) == len(STEPS)
    assert all(len(version) == 16 and int(version, 16) >= 0 for version in versions(lake).values())


@pytest.mark.parametrize(
    ("section", "key", "value", "touched"),
    [
        ("interactions", "half_life_days", 7, NIGHTLY),
        ("cooccurrence", "min_pair", 3, {"cooccurrence", "candidates", "slates"}),
        ("als", "seed", 8, {"als", "candidates", "slates"}),
        ("candidates", "n_per_source", 50, {"candidates", "slates"}),
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
        ("[rebuy]\nafter_days = 7\n", {"candidates", "slates"}),
    ],
)
def test_business_rules_are_part_of_the_versions_that_use_them(lake, tmp_path, content, touched):
    mine = tmp_path / "mine.toml"
    mine.write_text(content)
    assert changed(versions(lake), versions(lake, slates={"rules_file": str(mine)})) == touched


def test_wrong_rules_stop_only_what_uses_them(lake):
    found = Lineage(lake, lake_settings(lake.store.root.parent, slates={"rules_file": "/nowhere.toml"}), NIGHT)
    assert len({found.version(name) for name in ("interactions", "cooccurrence", "als", "trending")}) == 4
    with pytest.raises(SettingsError, match=r"rules '/nowhere\.toml' cannot be read"):
        found.version("candidates")


@pytest.mark.parametrize(
    ("moment", "touched"),
    [
        (at(12), set(STEPS)),
        (at(23.99), set(STEPS)),
        (at(24), set()),  # as_of itself is no part of the night
        (at(24.5), set()),
        (at(days=-30), NIGHTLY),  # trending looks back 7 days
        (at(days=-400), set()),  # interactions look back 365
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
    assert changed(before, versions(lake, as_of=at(24.5))) == set(STEPS)


def test_each_raw_table_touches_its_readers(lake):
    start = versions(lake)
    add_batch(lake, users=[{"country": "FR"}])
    with_users = versions(lake)
    assert changed(start, with_users) == {"slates", "trending"}
    add_batch(lake, items=[{"title": "A"}])
    with_items = versions(lake)
    assert changed(with_users, with_items) == {"candidates", "slates", "trending"}
    add_batch(lake)
    assert versions(lake) == with_items  # an empty hour
    add_batch(lake, weights=WEIGHTS[:1])
    assert changed(with_items, versions(lake)) == NIGHTLY


def test_another_as_of_is_another_run(lake):
    assert changed(versions(lake), versions(lake, as_of=NIGHT + timedelta(days=1))) == set(STEPS)


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
    told = "run `nightshelf run als --as-of 2026-01-11T00:00:00Z --snapshot 1` first"
    assert told in str(missing.value)
    assert mine.version("als") in str(missing.value)


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
