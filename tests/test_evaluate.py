"""The job ``evaluate``: last week's recipe on this week's days, in a real lake; what it warns of; nothing to judge."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from lake_fixtures import WEIGHTS, add_batch, rows

from conf.settings import Settings, load_settings
from jobs.evaluate import transform
from jobs.judging.standing import standing
from jobs.kernels.positives import TOLD, positive_events
from jobs.kernels.recipe.grid import NARROW
from jobs.kernels.recipe.recommend import learn
from jobs.kernels.recipe.stored import to_row
from jobs.kernels.rolling import events_before, roll
from jobs.kernels.standings import standings
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage
from jobs.rim.runner import run_steps
from schemas.arrow import arrow_schema
from schemas.tables import METRICS, RECIPE, TABLES

BEGIN = datetime(2026, 1, 15, tzinfo=UTC)  # of a period of seven days, counted from 1970
EVENT_WEIGHTS = rows("event_weights", *({"source": "shop"} | weight for weight in WEIGHTS))
ALONE = {f"source:{name}" for name in NARROW}


def crowds(end: datetime, n_users: int = 60, n_days: int = 50) -> list[dict]:
    """Two crowds with 20 items each, of which each person views 12 in random order; what is returned is not liked."""
    chance, found = np.random.default_rng(0), []
    for user in range(n_users):
        own = chance.permutation(np.arange(user % 2, 40, 2))[:12]
        for item, day in zip(own, np.sort(chance.uniform(0, n_days, 12)), strict=True):
            moment = end - timedelta(days=n_days) + timedelta(seconds=round(day * 86_400))
            found.append({"user_id": f"u{user:02d}", "item_id": f"i{item:02d}", "event_time": moment})
    return [*found, *(event | {"item_id": "i98", "kind": "return"} for event in found[::9])]


def small(folder: Path = Path(), **sections: dict) -> Settings:
    lake = {"uri": str(folder / "lake"), "min_free_mb": 0}
    return load_settings(lake=lake, identity={"secret": "a secret of the tests"}, **sections)


def inputs_of(events: list[dict], live: list[dict] = ()) -> dict[str, pa.Table]:
    recipe = pa.Table.from_pylist([stored()], arrow_schema(RECIPE))
    return {
        "events": rows("events", *events),
        "event_weights": EVENT_WEIGHTS,
        "items": arrow_schema(TABLES["items"]).empty_table(),
        "users": arrow_schema(TABLES["users"]).empty_table(),
        "recipe": recipe,
        "live_recipe": pa.Table.from_pylist(list(live), arrow_schema(RECIPE)),
    }


def stored() -> dict:
    """A recipe of too few events to choose by."""
    few = positive_events(rows("events", *crowds(BEGIN, n_users=3)), EVENT_WEIGHTS)
    return to_row(learn(few.events, seed=0))


def keys(found: pa.Table) -> list[tuple]:
    return list(zip(*(found[name].to_pylist() for name in METRICS.key), strict=True))


@pytest.fixture(scope="module")
def weeks(tmp_path_factory) -> tuple[Settings, list[str]]:
    """A lake with events of two more days than the period begins with; the recipe of the period before, then this."""
    settings, said = small(tmp_path_factory.mktemp("weeks")), []
    lake = Lake.open(settings.lake)
    assert add_batch(lake, crowds(BEGIN + timedelta(days=2), n_users=40))
    run_steps(["recipe"], BEGIN - timedelta(days=6), None, settings, said.append)
    run_steps(["recipe", "evaluate"], BEGIN + timedelta(days=1), None, settings, said.append)
    return settings, said


def test_a_week_is_judged_in_the_lake(weeks):
    settings, _ = weeks
    lineage = Lineage(Lake.open(settings.lake), settings, BEGIN + timedelta(days=1))
    manifest = lineage.resolve("metrics")
    assert manifest.as_of == "2026-01-15T00:00:00Z"
    assert manifest.measured["days"] == 7
    assert manifest.measured["warnings"] == []
    assert manifest.measured["learned_before"] == "2026-01-08T00:00:00+00:00"
    assert manifest.measured["judged"].startswith("ranked by ")
    found = lineage.lake.read("metrics", manifest.files["metrics"])
    assert len(set(keys(found))) == found.num_rows
    assert set(found["cut"].to_pylist()) == {"pooled", *(f"2026-01-{day:02d}" for day in range(8, 15))}
    pairs = {
        (row["against"], row["measure"]): row
        for row in found.to_pylist()
        if row["against"] is not None and row["segment"] == "all"
    }
    assert set(pairs) == {(a, m) for a in ("popularity_30", "live") for m in ("ndcg@10", "recall@20")}
    assert pairs["popularity_30", "ndcg@10"]["low"] > 0  # each crowd has its taste
    assert pairs["live", "ndcg@10"]["high"] >= 0  # learned from the same events but for a day
    assert {row["n_users"] for row in pairs.values()} == {pairs["live", "ndcg@10"]["n_users"]}


def test_the_gate_looks_past_sources_alone(weeks):
    settings, _ = weeks
    lineage = Lineage(Lake.open(settings.lake), settings, BEGIN + timedelta(days=1))
    found = lineage.lake.read("metrics", lineage.resolve("metrics").files["metrics"])
    methods = [row for row in found.to_pylist() if row["method"] not in ALONE]
    assert {row["method"] for row in methods} == {"recipe", "live", "popularity_30"}
    assert len(methods) < found.num_rows
    told = standing(found)
    assert told == standing(pa.Table.from_pylist(methods, found.schema))
    assert set(told) == {f"gain{part}_on_{name}" for part in ("", "_high") for name in ("live", "popularity_30")}


def test_a_period_is_judged_once(weeks):
    settings, said = weeks
    assert [line.partition(":")[0] for line in said] == ["recipe", "recipe", "evaluate"]
    again = []
    run_steps(["recipe", "evaluate"], BEGIN + timedelta(days=1, hours=20), None, settings, again.append)
    assert [": already committed as " in line for line in again] == [True, True]


def test_the_judged_recipe_is_learned_before_the_days_it_is_tested_on():
    """As its parts say, on the same events."""
    settings = small(evaluate={"days": 3})
    inputs = inputs_of(crowds(BEGIN, n_users=12), [stored()])
    found = transform(inputs, BEGIN, settings)
    events = positive_events(*(inputs[table] for table in TOLD)).events
    assert events.n_items == 40 == len(set(inputs["events"]["item_id"].to_pylist())) - 1  # not what came back
    recipe = learn(events_before(events, BEGIN.timestamp() - 3 * 86_400), 0)
    expected = roll(events, recipe, None, BEGIN.timestamp(), 3, 1_000, 0)
    rows_of = dict(zip(keys(found["metrics"]), found["metrics"].to_pylist(), strict=True))
    for row in standings(expected, 0):
        assert rows_of[tuple(row[name] for name in METRICS.key)] == row
    assert {key[1] for key in rows_of} == {"recipe", "live", "popularity_30"} | ALONE
    assert found["measured"]["judged"] == str(recipe)


def test_the_first_recipe_has_none_to_be_compared_with():
    found = transform(inputs_of(crowds(BEGIN, n_users=4)), BEGIN, small())
    assert set(found["metrics"]["method"].to_pylist()) == {"recipe", "popularity_30"} | ALONE
    assert set(found["metrics"]["against"].to_pylist()) == {None, "popularity_30"}


def test_days_before_the_live_recipe_was_learned_are_not_its():
    settings = small(recipe={"every_days": 2})
    found = transform(inputs_of(crowds(BEGIN, n_users=12), [stored()]), BEGIN, settings)["metrics"].to_pylist()
    assert {row["cut"] for row in found if row["method"] == "live"} == {"pooled", "2026-01-13", "2026-01-14"}
    assert len({row["cut"] for row in found if row["method"] == "recipe"}) == 1 + 7


@pytest.mark.parametrize(
    ("events", "days"),
    [
        ([], 0),
        (crowds(BEGIN, n_users=1), 0),  # nobody had it before
        (crowds(BEGIN - timedelta(days=29)), 0),
        ([e for e in crowds(BEGIN, n_users=12) if e["event_time"] < BEGIN - timedelta(days=26)], 2),
    ],
)
def test_too_little_to_judge_is_said(events, days):
    found = transform(inputs_of(events), BEGIN, small())
    assert found["metrics"].schema == arrow_schema(METRICS)
    assert (found["metrics"].num_rows > 0) == (days > 0)
    assert found["measured"]["days"] == days
    assert found["measured"]["warnings"] == [f"judged on {days} of 7 days"]


def test_users_of_a_day_are_bounded():
    """14 people with three items each, and on the last day all of them take a fourth."""
    days = [(user, (user + k) % 6, 10 - k) for user in range(14) for k in range(3)]
    days += [(user, (user + 3) % 6, 0.5) for user in range(14)]
    events = [
        {"user_id": f"u{user}", "item_id": f"i{item}", "event_time": BEGIN - timedelta(days=ago)}
        for user, item, ago in days
    ]
    found = transform(inputs_of(events), BEGIN, small(evaluate={"max_users": 10, "days": 1}))["metrics"].to_pylist()
    assert {r["n_users"] for r in found if r["measure"] == "hit@10" and r["segment"] == "all"} == {10}
    assert {r["n_users"] for r in found if r["measure"] == "truth_share" and r["segment"] == "new"} == {14}
