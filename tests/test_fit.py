"""The fit: a checkerboard is learnt, equal people give equal tables, nobody is no error, and probes stay unseen."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from lake_fixtures import NIGHT, at, dictionary, rows

from conf.settings import load_settings
from jobs import fit, recipe
from jobs.kernels.recipe.choose import UNLEARNED, Choice
from jobs.kernels.recipe.describe import ITEM_NAMES
from jobs.kernels.recipe.grid import NARROW, Setting
from jobs.kernels.recipe.recommend import Recipe
from jobs.kernels.recipe.sources import fit_als, fit_cosine
from jobs.kernels.recipe.stored import to_row
from jobs.rim.lineage import MAKERS
from schemas.arrow import arrow_schema
from schemas.tables import RECIPE, TABLES

N = 20
EVERYBODY = load_settings(fit={"probe_share": 0, "min_probes": 0})
ALS = {"als": Setting(fit_als, {"factors": 4, "alpha": 1})}
COSINE = {"cosine": Setting(fit_cosine)}


def row_of(**chosen: Setting) -> pa.Table:
    """A recipe of these sources alone."""
    row = to_row(Recipe(chosen, Choice("fused", UNLEARNED, ()), []))
    return pa.Table.from_pylist([row], arrow_schema(RECIPE))


def fitted(events: pa.Table, using: pa.Table, settings=EVERYBODY, as_of: datetime = NIGHT) -> dict:
    known = sorted(set(events["item_id"].to_pylist()), reverse=True)  # so that indices do not rise with ids
    inputs = {"events": events, **BESIDE, "item_dictionary": dictionary("unheard of", *known)}
    return fit.transform(inputs | {"recipe": using}, as_of, settings)


WEIGHTS = rows("event_weights", {}, {"kind": "dislike", "weight_micro": -1_000_000})
BESIDE = {"event_weights": WEIGHTS} | {name: arrow_schema(TABLES[name]).empty_table() for name in ("items", "users")}


def learned(events: pa.Table) -> pa.Table:
    """What the weekly job makes of these events: of few, every source of the grid, untuned."""
    return recipe.transform({"events": events, **BESIDE}, NIGHT, load_settings())["recipe"]


def matrix(table: pa.Table) -> np.ndarray:
    return np.array(table["vector"].to_pylist(), np.float32)


def of_als(table: pa.Table) -> pa.Table:
    return table.filter(pc.equal(table["source"], "als"))


def shuffled(table: pa.Table) -> pa.Table:
    return table.take(np.random.default_rng(0).permutation(table.num_rows))


# what is learnt


def checkerboard() -> pa.Table:
    """User u takes item i where u + i is even, the diagonal left out: what ``implicit`` tests its models with."""
    cells = [(u, i) for u in range(N) for i in range(N) if (u + i) % 2 == 0 and u != i]
    told = ({"user_id": f"u{u:02}", "item_id": f"i{i:02}", "event_time": at((7 * u + 3 * i) % 24)} for u, i in cells)
    return rows("events", *told)


def test_a_checkerboard_is_completed():
    result = fitted(checkerboard(), row_of(**ALS))
    users, items = (of_als(result[table]) for table in ("user_factors", "item_factors"))
    assert sorted(users["user_id"].to_pylist()) == [f"u{u:02}" for u in range(N)]
    assert items["item_idx"].to_pylist() == list(range(1, N + 1))  # 0 is nobody's, 1 is i19
    counts = {"n_users": N, "n_items": N, "n_events": N * (N // 2 - 1)}
    assert counts | {"engine": "implicit"} == {name: result["measured"][name] for name in (*counts, "engine")}
    by_name = users.sort_by("user_id")
    scores = matrix(by_name) @ matrix(items)[::-1].T
    even = (np.arange(N)[:, None] + np.arange(N)) % 2 == 0
    assert scores[even].min() > 0.7  # the left-out diagonal included
    assert np.abs(scores[~even]).max() < 0.1
    unseen = np.where(even & ~np.eye(N, dtype=bool), -1, scores)
    assert unseen.argmax(axis=1).tolist() == list(range(N))  # what was left out comes first


def test_weights_are_the_cosines_of_the_items_columns():
    """Items 1, 2 and 3 are c, b and a: a and b share u1 and u2 of 2 and 3 users, a and c u2 of 2 and 1, b and c u2."""
    cells = [("u1", "a"), ("u1", "b"), ("u2", "a"), ("u2", "b"), ("u2", "c"), ("u3", "b")]
    told = rows("events", *({"user_id": user, "item_id": item} for user, item in cells))
    result = fitted(told, row_of(**COSINE))
    found = {
        (row["item_idx"], other): weight
        for row in result["item_weights"].to_pylist()
        for other, weight in zip(row["others"], row["weights"], strict=True)
    }
    half = {(3, 2): 2 / 6**0.5, (3, 1): 1 / 2**0.5, (2, 1): 1 / 3**0.5}
    assert found == pytest.approx(half | {(other, item): weight for (item, other), weight in half.items()})
    assert result["user_factors"].num_rows == result["item_factors"].num_rows == 0


def test_items_stand_beside_as_the_ranker_sees_them():
    told = rows("events", {}, {"user_id": "u2", "event_time": at(days=-3)}, {"item_id": "b", "event_time": at(days=-1)})
    features = fitted(told, row_of(**ALS))["item_features"]
    assert features["item_idx"].to_pylist() == [1, 2]  # b, a
    assert set(features["known_until"].to_pylist()) == {at(12)}
    age, idle = (matrix(features)[:, ITEM_NAMES.index(name)] for name in ("item_age", "item_idle"))
    assert age == pytest.approx(np.log1p([1.5, 3.5]))
    assert idle == pytest.approx(np.log1p([1.5, 0]))


# sameness


def bustle(name_of=lambda user: f"u{user:02}") -> pa.Table:
    """Sixty people and thirty items over ten days."""
    random = np.random.default_rng(1)
    cells = [(u, i) for u in range(60) for i in range(30) if random.random() < 0.2]
    hours = random.integers(0, 240, len(cells))
    told = zip(cells, hours.tolist(), strict=True)
    return rows(
        "events",
        *({"user_id": name_of(u), "item_id": f"i{i:02}", "event_time": at(h, days=-9)} for (u, i), h in told),
    )


PROBED = load_settings(fit={"probe_share": 0, "min_probes": 7})


def test_equal_events_in_any_order_give_equal_tables():
    using = learned(checkerboard().slice(0, 40))
    first, again = fitted(bustle(), using, PROBED), fitted(shuffled(bustle()), using, PROBED)
    for table in fit.OUTPUTS:
        assert first[table].num_rows
        assert first[table] == again[table], table


def test_other_pseudonyms_of_the_same_people_give_the_same_vectors_and_weights():
    """Under another secret everybody has another name: their lists must not move by a rounding."""
    names = {f"u{u:02}": f"u{name:02}" for u, name in enumerate(np.random.default_rng(2).permutation(60))}
    using = learned(checkerboard().slice(0, 40))
    first = fitted(bustle(), using, PROBED)
    second = fitted(bustle(lambda user: names[f"u{user:02}"]), using, PROBED)
    for table in ("item_factors", "item_weights", "item_features"):
        assert first[table] == second[table], table
    for table in ("user_factors", "probes"):
        renamed = first[table].drop_columns("user_id")
        assert renamed == second[table].drop_columns("user_id"), table
        assert [names[user] for user in first[table]["user_id"].to_pylist()] == second[table]["user_id"].to_pylist()


def test_tables_are_as_their_schemas_say():
    using = learned(checkerboard().slice(0, 40))
    result = fitted(bustle(), using, PROBED)
    assert set(fit.OUTPUTS) == {table for table, maker in MAKERS.items() if maker == "fit"}
    for name in fit.OUTPUTS:
        assert result[name].schema.equals(arrow_schema(TABLES[name]))
        result[name].validate(full=True)
        keys = result[name].select(list(TABLES[name].key)).to_pylist()
        assert len({tuple(key.values()) for key in keys}) == len(keys), name
    by_factors = set(result["user_factors"]["source"].to_pylist())
    by_neighbors = set(result["item_weights"]["source"].to_pylist())
    assert by_factors | by_neighbors == {*NARROW, "hour"}
    assert by_factors == {"als", "als_fading", "hour"} == set(result["item_factors"]["source"].to_pylist())


# hardly anything


@pytest.mark.parametrize("content", [(), ({"kind": "dislike"},), ({"user_id": None},), ({"item_id": None},)])
def test_nobody_gives_empty_tables(content):
    told = rows("events", *content)
    inputs = {"events": told, **BESIDE, "item_dictionary": dictionary("a"), "recipe": learned(told)}
    result = fit.transform(inputs, NIGHT, load_settings())
    assert set(result) == set(fit.OUTPUTS)
    for name in fit.OUTPUTS:
        assert result[name] == arrow_schema(TABLES[name]).empty_table()


@pytest.mark.parametrize("content", [({},), ({}, {}), ({}, {"item_id": "b"}), ({}, {"user_id": "u2"})])
def test_one_user_or_one_item_is_enough(content):
    told = rows("events", *content)
    n_users, n_items = (len(set(told[name].to_pylist())) for name in ("user_id", "item_id"))
    result = fitted(told, learned(told), load_settings())
    assert result["user_factors"].num_rows == 2 * n_users
    assert result["item_factors"].num_rows == 2 * n_items
    assert result["item_features"].num_rows == n_items
    for name in ("user_factors", "item_factors", "item_features"):
        assert np.isfinite(matrix(result[name])).all()
    weights = [weight for row in result["item_weights"]["weights"].to_pylist() for weight in row]
    assert np.isfinite(weights).all()
    assert result["probes"].num_rows == 0  # nobody has a day to withhold


# probes


def days_of(n_users: int) -> pa.Table:
    """Everybody takes a and b long ago, a again later, and an item of their own on their last day, with a again."""
    told = [
        {"user_id": f"u{user:02}", "item_id": item, "event_time": at(hours, days=days)}
        for user in range(n_users)
        for item, days, hours in (
            *(("a", -9, 1), ("b", -9, 2), ("a", -4, 3)),
            *((f"own{user:02}", -(user % 3), 4), ("a", -(user % 3), 5)),
        )
    ]
    return rows("events", *told)


def probing(n: int, share: float = 0.0):
    return load_settings(fit={"probe_share": share, "min_probes": n})


def test_what_is_withheld_never_stands_in_what_was_fitted():
    told = days_of(12)
    result = fitted(told, learned(told.slice(0, 40)), probing(4))
    index = {name: idx for idx, name in enumerate(["unheard of", *sorted(set(told["item_id"].to_pylist()))[::-1]])}
    probed = result["probes"].to_pylist()
    assert len({row["user_id"] for row in probed}) == 4
    for row in probed:
        assert [index[f"own{row['user_id'][1:]}"]] == row["withheld"]  # a was theirs before
        assert row["items"] == sorted((index["a"], index["b"]))
        last = {index["a"]: at(3, days=-4), index["b"]: at(2, days=-9)}  # not the a of the withheld day
        assert row["last_us"] == [round(last[item].timestamp() * 1e6) for item in row["items"]]
    withheld = {row["withheld"][0] for row in probed}
    for table in ("item_factors", "item_weights", "item_features"):
        assert set(result[table]["item_idx"].to_pylist()) == set(index.values()) - withheld - {0}
    others = {item for row in result["item_weights"]["others"].to_pylist() for item in row}
    assert not others & withheld
    assert set(result["user_factors"]["user_id"].to_pylist()) == {f"u{user:02}" for user in range(12)}
    unprobed = fitted(told, learned(told.slice(0, 40)), EVERYBODY)
    assert unprobed["probes"].num_rows == 0
    assert set(unprobed["item_features"]["item_idx"].to_pylist()) == set(index.values()) - {0}


@pytest.mark.parametrize(
    ("n", "share", "wanted"),
    [(4, 0.0, 4), (4, 0.2, 8), (0, 0.1, 4), (10, 0.1, 10), (300, 0.01, 40)],  # the last: all there are
)
def test_as_many_are_probed_as_are_asked_for(n, share, wanted):
    found = fitted(days_of(40), row_of(**COSINE), probing(n, share))["probes"]
    assert found.num_rows == wanted


def test_others_are_probed_every_day_and_the_same_on_one():
    """Twenty nights draw four of forty: by chance somebody is left out, but never the same four again and again."""

    def probed(as_of: datetime) -> tuple:
        return tuple(fitted(days_of(40), row_of(**COSINE), probing(4), as_of)["probes"]["user_id"].to_pylist())

    nights = [probed(NIGHT + timedelta(days=k)) for k in range(20)]
    assert nights[0] == probed(NIGHT) == probed(NIGHT + timedelta(hours=5))
    assert len(set(nights)) == 20
    assert len({user for night in nights for user in night}) > 20


def test_only_who_has_something_new_and_something_before_is_probed():
    told = rows(
        "events",
        *({"user_id": "able", "item_id": item, "event_time": at(days=-k)} for k, item in enumerate("ab")),
        *({"user_id": "again", "item_id": "a", "event_time": at(days=-k)} for k in range(2)),
        *({"user_id": "once", "item_id": item, "event_time": at(k)} for k, item in enumerate("ab")),
        {"user_id": "sour", "item_id": "a", "event_time": at(days=-1)},
        {"user_id": "sour", "item_id": "b", "kind": "dislike"},
    )
    result = fitted(told, row_of(**ALS), probing(300))
    assert result["probes"]["user_id"].to_pylist() == ["able"]
    assert pc.list_flatten(result["probes"]["withheld"]).to_pylist() == [2]  # a; items are b, a from 1 on
