"""Incremental nights: whatever a night goes on from, its rows are those of all events since ever."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from either_engine import ROOM, Held, made, told
from lake_fixtures import WEIGHTS, add_batch, at, dictionary, lake_settings, rows, small_lake
from rollup_oracle import known
from spark_fixture import quick_spark  # noqa: F401

import jobs.interactions as interactions
from conf.settings import load_settings
from jobs.kernels import pair_totals_spark
from jobs.rim.base import Base, find_base, settled
from jobs.rim.lineage import Lineage, job
from jobs.rim.means import Means
from jobs.rim.runner import read_inputs, run_step

MICRO = {weight["kind"]: weight["weight_micro"] for weight in WEIGHTS}
ITEMS = "abcdef"
# 16 half-lives are 32 days, and pairs come often, seldom, and after they were forgotten
WANTED = {"half_life_days": 2, "window_days": 9, "max_per_user_item_day": 2, "max_per_user_day": 6}
STOPS = (-95, -60, -41, -40, -2, 0)


def months(seed: int) -> list[dict]:
    """Three people and a bot on six items over a hundred days; views, purchases, and returns that outweigh them."""
    rng = np.random.default_rng(seed)
    days = rng.permutation(100)[:40]
    events = []
    for day in days:
        for user in rng.choice(["u1", "u2", "u3"], 2):
            for item in rng.choice(list(ITEMS), rng.integers(1, 6)):
                hour = at(rng.uniform(0, 24), days=float(day) - 100)
                events.append({"user_id": user, "item_id": item, "kind": rng.choice(list(MICRO)), "event_time": hour})
    bot = [{"user_id": "bot", "item_id": item, "kind": "view", "event_time": at(k, days=-41)}
           for k, item in enumerate(ITEMS * 3)]  # fmt: skip
    return events + bot


@pytest.fixture(params=["compiled", "spark"])
def night(quick, request):
    """The rows as of a midnight, from a base as of an earlier one (or none), as Arrow, by either engine."""

    def computed(events: list[dict], as_of: datetime, start: datetime, base=None):
        read = [event for event in events if start <= event["event_time"] < as_of]
        given = {"events": rows("events", *read), "event_weights": rows("event_weights", *WEIGHTS)}
        given = told(quick, given | {"item_dictionary": dictionary(*ITEMS)})
        given |= {"base": Base(start, None, None if base is None else Held("interactions", base))}
        settings = load_settings(interactions=WANTED | {"engine": request.param})
        return made(interactions.transform(given, as_of, settings)["interactions"], "interactions")

    return computed


def by_pair(table) -> dict:
    found = {(row.pop("user_id"), ITEMS[row.pop("item_idx")]): row for row in table.to_pylist()}
    assert len(found) == table.num_rows
    return found


def expected(events: list[dict], as_of: datetime) -> dict:
    return known(events, MICRO, as_of, load_settings(interactions=WANTED).interactions)


def test_night_by_night_from_any_base_and_from_scratch_are_one(night, monkeypatch):
    """In steps of a day, of weeks over two ends of a period, and of the gap in which pairs are forgotten."""
    events, begin, end = months(1), at(days=-100), at(days=0)
    carried, start, states = None, begin, {}
    for day in STOPS:
        carried = night(events, at(days=day), start, carried)
        assert by_pair(carried) == expected(events, at(days=day)), day
        start, states[day] = at(days=day), carried
    assert by_pair(night(events, end, begin)) == expected(events, end)
    assert by_pair(night(events, end, at(days=-60), states[-60])) == expected(events, end)
    monkeypatch.setattr(pair_totals_spark, "MAX_BROADCAST_ROWS", 0)  # more than a night brings
    assert by_pair(night(events, end, at(days=-41), states[-41])) == expected(events, end)
    found = expected(events, end).values()
    assert {row["weight_micro"] > 0 for row in found} == {row["n_purchases"] > 0 for row in found} == {True, False}
    anew = [pair for pair, row in expected(events, end).items() if row["first_time"] > at(days=-60)]
    assert set(anew) & set(by_pair(states[-60]))  # forgotten, and met again


def test_the_oracle_forgets_and_caps():
    events = months(1)
    assert expected(events, at(days=-40))["bot", "a"]["weight_micro"] == 2_000_000 * 6 // 18
    assert ("bot", "a") in expected(events, at(days=-32))
    assert ("bot", "a") not in expected(events, at(days=-31))


DAYS = tuple({"item_id": item, "event_time": at(days=day)} for item, day in zip("abcd", (-4, -3, -2, -1), strict=True))


@pytest.fixture
def shop(tmp_path):
    """A batch a day for four days; half-life and window are the defaults."""
    lake = small_lake(tmp_path, events=DAYS[:1])
    for event in DAYS[1:]:
        add_batch(lake, events=[event])
    return lake


def of_night(lake, days: float, snapshot=None, **sections) -> Lineage:
    return Lineage(lake, lake_settings(lake.store.root.parent, **sections), at(days=days), snapshot)


def run(lineage: Lineage, quick, of=None) -> dict:
    """Run interactions; what was measured but the time, with the rows."""
    run_step(of or job("interactions"), lineage, lambda: quick)
    made = lineage.committed("interactions")
    measured = {name: made.measured[name] for name in ("base", "n_events")}
    return measured | {"rows": sorted(lineage.read("interactions").to_pylist(), key=str)}


def scratch(lineage: Lineage, quick, monkeypatch) -> list[dict]:
    """The rows as a lake without earlier runs gets them."""
    with monkeypatch.context() as patched:
        patched.setattr("jobs.rim.base.MAX_RUNS", 0)
        inputs = read_inputs(job("interactions"), lineage, quick)
    assert inputs["base"].rows is None
    inputs["means"] = Means(ROOM, ROOM, None)
    found = interactions.transform(inputs, lineage.as_of, lineage.settings)["interactions"]
    return sorted(made(found, "interactions").to_pylist(), key=str)


def iso_day(days: int) -> str:
    return at(days=days).strftime("%Y-%m-%dT00:00:00Z")


def test_a_night_reads_the_nearest_untouched_run_and_the_events_since(shop, quick, monkeypatch):
    assert run(of_night(shop, -2), quick) | {"rows": 0} == {"base": None, "n_events": 2, "rows": 0}
    second = run(of_night(shop, -1), quick)
    assert (second["base"], second["n_events"]) == (iso_day(-2), 1)
    within = run(of_night(shop, -0.5), quick)  # in the middle of a day: no base for anybody
    assert (within["base"], within["n_events"]) == (iso_day(-1), 1)
    third = run(of_night(shop, 0), quick)
    assert (third["base"], third["n_events"], len(third["rows"])) == (iso_day(-1), 1, 4)
    add_batch(shop, events=[{"item_id": "late", "event_time": at(1, days=-2)}, {"item_id": "a", "event_time": at(2)}])
    late = of_night(shop, 1)
    found = run(late, quick)
    assert (found["base"], found["n_events"], len(found["rows"])) == (iso_day(-2), 4, 5)
    assert found["rows"] == scratch(late, quick, monkeypatch)
    add_batch(shop, events=[{"item_id": "b", "event_time": at(25)}])
    assert find_base(job("interactions"), of_night(shop, 2)).start == at(days=1)
    assert find_base(job("interactions"), of_night(shop, 1, snapshot=4)).start == at(days=0)  # pinned: what it knew


def test_settings_code_and_weights_begin_anew_and_the_version_is_the_same(shop, quick, monkeypatch):
    fresh = of_night(shop, 0).version("interactions")
    run(of_night(shop, -1), quick)
    of, begin = job("interactions"), at(days=-4)
    assert of_night(shop, 0).version("interactions") == fresh
    assert find_base(of, of_night(shop, 0)).start == at(days=-1)
    assert find_base(of, of_night(shop, 0, interactions={"half_life_days": 7})) == Base(begin)
    with monkeypatch.context() as patched:
        patched.setattr("jobs.rim.lineage.code_version", lambda: "other code")
        assert find_base(of, of_night(shop, 0)) == Base(begin)
    add_batch(shop, items=[{"item_id": "new"}])  # items are no event
    assert find_base(of, of_night(shop, 0)).start == at(days=-1)
    add_batch(shop, weights=WEIGHTS[:1])
    assert find_base(of, of_night(shop, 0)) == Base(begin)


def test_a_night_that_dies_half_way_leaves_no_base(shop, quick, monkeypatch):
    run(of_night(shop, -2), quick)

    def dies(inputs, as_of, settings):
        interactions.transform(inputs, as_of, settings)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run(of_night(shop, -1), quick, replace(job("interactions"), transform=dies))
    assert find_base(job("interactions"), of_night(shop, 0)).start == at(days=-2)
    assert run(of_night(shop, 0), quick)["rows"] == scratch(of_night(shop, 0), quick, monkeypatch)


def test_where_events_come_late_a_run_of_a_week_ago_is_made_to_last(tmp_path, quick, monkeypatch):
    """Each day brings an event of two days before: no night's own rows are good for the next."""
    lake = small_lake(tmp_path, events=[{"event_time": at(days=-20)}])
    of = job("interactions")
    assert settled(of, of_night(lake, 0)) is None  # nothing came late yet
    run(of_night(lake, 0), quick)
    assert settled(of, of_night(lake, 30)) is None  # nor when no night was for a month
    assert settled(of, of_night(lake, 1, interactions={"half_life_days": 7})) is None  # nor under other settings
    add_batch(lake, events=[{"event_time": at(days=-1), "item_id": "b"}, {"event_time": at(1)}])
    assert settled(of, of_night(lake, 1)).as_of == at(days=-6)
    found = run(of_night(lake, 1), quick)
    assert (found["base"], found["n_events"]) == (iso_day(-6), 2)
    assert found["rows"] == scratch(of_night(lake, 1), quick, monkeypatch)
    add_batch(lake, events=[{"event_time": at(days=0), "item_id": "b"}])
    assert settled(of, of_night(lake, 2)) is None  # that run is near enough
    assert find_base(of, of_night(lake, 2)).start == at(days=-6)


def test_without_events_there_is_a_beginning_all_the_same(tmp_path):
    lake = small_lake(tmp_path, items=[{}])
    assert find_base(job("interactions"), of_night(lake, 0.5)) == Base(at(days=0))
