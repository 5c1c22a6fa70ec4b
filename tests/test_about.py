"""The gate's numbers beside the release: those of what is live or kept, from the lake, and never a failed publish."""

from dataclasses import asdict, replace

import orjson
import pytest
from redis_fixture import empty_client, module_server  # noqa: F401
from shelves import KEYS, LATER, NOON, SMALL, generation, publisher, shelf

from conf.settings import load_settings
from jobs.judging.about import leave_about
from jobs.rim.history import History, Origin, Run
from jobs.rim.lake import Lake
from jobs.rim.redis_release import read_release
from jobs.rim.verdict import Verdict
from schemas.about import pack_about, read_about

STATISTICS = {"n_for_all": 7.0, "n_gaps": 0.0, "n_rows": 12.0}


@pytest.fixture
def settings(server, tmp_path):
    lake = {"uri": str(tmp_path / "lake"), "min_free_mb": 0}
    return load_settings(redis={"url": server.url, "namespace": "test"}, publish=SMALL | {"keep": 2}, lake=lake)


@pytest.fixture
def history(settings):
    return History(Lake.open(settings.lake), "test")


def judged(history, as_of=NOON, seed=0, **verdict):
    """A generation of trending the lake knows, whose table the gate has judged: by other rules, too, which refused."""
    run = Run("trending", as_of, f"v{seed}")
    made = generation("trending", as_of, seed, n_users=2)
    stamp = as_of.replace("-", "").replace(":", "")
    for place, passed in enumerate((False, True)):
        told = Verdict("trending", run.version, passed, STATISTICS, [], ["late"])
        key = f"gate/trending/as_of={stamp}/v={seed}{place}.json"
        history.lake.store.put_if_absent(key, orjson.dumps(asdict(told) | verdict))
    return replace(made, origin=Origin(made.name, "trending", as_of, as_of, 100, 1, 1, {"trending": run}))


def about(client):
    return read_about(client.get(KEYS.about))


def test_a_publish_leaves_what_the_gate_saw_and_allows(client, settings, history):
    made, said = judged(history), []
    publisher(client, settings, said, history=history).publish(shelf(made))
    statistics = {"n_for_all": [7, 1, None], "n_gaps": [0, 0, 0], "n_rows": [12, None, None]}
    told = {"trending": {"run": "v0", "statistics": statistics, "warnings": ["late"]}}
    assert about(client) == {made.name: told}
    assert not [line for line in said if "gate" in line]
    assert read_release(client, KEYS).kept() == {made.name}


def test_only_what_is_live_or_kept_has_numbers_and_a_lost_value_is_written_again(client, settings, history):
    names = []
    for seed, as_of in enumerate((NOON, LATER, "2026-01-02T14:00:00Z")):
        made = judged(history, as_of, seed)
        names.append(made.name)
        publisher(client, settings, history=history).publish(shelf(made, as_of=as_of))
    assert set(about(client)) == set(names[1:])  # two are kept
    client.delete(KEYS.about)
    publisher(client, settings, history=history).publish(shelf(made, as_of=as_of))
    assert set(about(client)) == set(names[1:])


@pytest.mark.parametrize("verdict", [{"version": "of another run"}, {"passed": False}])
def test_a_generation_nobody_let_pass_has_none(client, settings, history, verdict):
    publisher(client, settings, history=history).publish(shelf(judged(history, **verdict)))
    assert client.get(KEYS.about) is None


def test_trouble_with_the_numbers_is_a_line_and_the_release_is_live(client, settings, history):
    said = []
    client.lpush(KEYS.about, "no text at all")
    made = judged(history)
    release = publisher(client, settings, said, history=history).publish(shelf(made))
    assert release.live("trending").base == made.name
    assert "warning: the gate's numbers are not beside the release: WRONGTYPE" in said[-1]


def test_a_generation_this_lake_does_not_know_keeps_the_numbers_it_has(client, settings, history):
    publisher(client, settings).publish(shelf(generation("trending")))
    release = read_release(client, KEYS)
    before = {"t": {"run": "a", "statistics": {}, "warnings": []}}
    client.set(KEYS.about, pack_about({generation("trending").name: before, "gone": before}))
    assert leave_about(client, KEYS, history, release, settings) == ""
    assert about(client) == {generation("trending").name: before}
