"""candidates and slates: a small world through both transforms, judged by a dense oracle and by what was promised."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from lake_fixtures import NIGHT, at, dictionary, rows
from spark_fixture import as_frame, quick_spark  # noqa: F401

from conf.rules import load_rules
from conf.settings import load_settings
from jobs import als, candidates, slates
from jobs.kernels.fuse import fuse
from jobs.kernels.rules.night import rebuy_tonight
from schemas.arrow import arrow_schema
from schemas.tables import CANDIDATES, SLATES, SOURCES

N_USERS, N_ITEMS, N_PROPOSED = 36, 30, 12
RARE = N_ITEMS + 5
GONE = {3, 7, 11}  # items that are not available
SETTINGS = load_settings(
    als={"factors": 5, "iterations": 4, "regularization": 0.5, "alpha": 3.0},
    candidates={"n_per_source": N_PROPOSED, "block_users": 16, "max_history": 4},
    slates={"n_items": 10, "n_seen": 5, "rank_constant": 20},
)


def known_cells() -> list[dict]:
    """Who dealt with what: a fifth of the cells, some without any sign of liking."""
    random = np.random.default_rng(5)
    return [
        {
            "user_id": f"u{user:02}",
            "item_idx": item,
            "weight_micro": int(random.integers(0, 5)) * 700_000,
            "last_time": at(int(random.integers(0, 24))),
        }
        for user in range(N_USERS)
        for item in range(N_ITEMS)
        if random.random() < 0.2
    ]


CELLS = [
    *known_cells(),
    *(
        {"user_id": "glutton", "item_idx": item, "last_time": at(item / 2)} for item in (*range(N_ITEMS), RARE)
    ),  # has seen all
    {"user_id": "sour", "item_idx": 0, "weight_micro": 0},  # likes nothing
    {"user_id": "lone", "item_idx": RARE},  # likes what has no neighbor
]
OWN, LIKED = defaultdict(set), defaultdict(dict)
for cell in CELLS:
    OWN[cell["user_id"]].add(cell["item_idx"])
    if cell.get("weight_micro", 1):
        LIKED[cell["user_id"]][cell["item_idx"]] = cell.get("weight_micro", 1_000_000) / 1e6


def known_neighbors() -> list[dict]:
    random = np.random.default_rng(6)
    return [
        {"item_idx": item, "neighbor_idx": int(other), "rank": rank, "kind": kind, "score": 1 / (1 + rank)}
        for kind in ("viewed_together", "bought_together")
        for item in range(0, N_ITEMS, 1 if kind == "viewed_together" else 3)
        for rank, other in enumerate(random.choice([k for k in range(N_ITEMS) if k != item], 6, replace=False), 1)
    ]


NEIGHBORS = known_neighbors()


@pytest.fixture(scope="module")
def world(quick):
    """The tables of a night: Arrow for what is read locally, and both transforms' rows, also from shuffled input."""
    interactions = rows("interactions", *CELLS)
    factors = als.transform({"interactions": interactions}, NIGHT, SETTINGS)
    tables = {name: factors[name].cast(rows(name).schema) for name in ("user_factors", "item_factors")}
    tables |= {"interactions": interactions, "item_neighbors": rows("item_neighbors", *NEIGHBORS)}
    tables["items"] = rows("items", *({"item_id": name_of(item), "available": item not in GONE} for item in range(20)))
    tables["item_dictionary"] = dictionary(*(name_of(item) for item in range(N_ITEMS + 6)))
    tables["users"] = rows("users", *({"user_id": user, "country": "FR"} for user in ("u00", "u01", "stranger")))
    proposed = propose(quick, tables)
    return tables | {"candidates": proposed, "slates": merge(quick, tables, proposed)}


def name_of(item: int) -> str:
    return f"i{(item * 7) % 100:02}"  # so that ids do not sort as indices do


def propose(session, tables, shuffled=False):
    interactions = as_frame(
        session, "interactions", mixed(tables["interactions"]) if shuffled else tables["interactions"]
    )
    inputs = tables | {
        "interactions": interactions.repartition(7) if shuffled else interactions,
        "user_factors": as_frame(session, "user_factors", tables["user_factors"]),
        "rules": load_rules(),
    }
    return candidates.transform(inputs, NIGHT, SETTINGS)["candidates"].toArrow().cast(arrow_schema(CANDIDATES))


def merge(session, tables, proposed, shuffled=False):
    inputs = tables | {
        "candidates": as_frame(session, "candidates", mixed(proposed) if shuffled else proposed),
        "interactions": as_frame(session, "interactions", tables["interactions"]),
        "users": as_frame(session, "users", tables["users"]),
        "rules": load_rules(),
    }
    return slates.transform(inputs, NIGHT, SETTINGS)["slates"].toArrow().cast(arrow_schema(SLATES))


def mixed(table):
    return table.take(np.random.default_rng(1).permutation(table.num_rows))


def lists(world) -> dict[tuple[str, str], dict]:
    return {(row["user_id"], row["source"]): row for row in world["candidates"].to_pylist()}


def test_nobody_is_proposed_what_they_have_and_reasons_are_their_own(world):
    found = world["candidates"].to_pylist()
    assert len({(row["user_id"], row["source"]) for row in found}) == len(found)
    for row in found:
        assert len(row["items"]) == len(row["scores"]) == len(row["because_of"]) == len(set(row["items"]))
        assert not OWN[row["user_id"]] & set(row["items"])
        assert set(row["because_of"]) <= set(LIKED[row["user_id"]])
        assert row["scores"] == sorted(row["scores"], reverse=True)
        assert 0 < len(row["items"]) <= N_PROPOSED
    assert {row["source"] for row in found} == set(SOURCES[:3])


def test_who_has_seen_all_or_likes_nothing_gets_nothing(world):
    found = lists(world)
    assert not {user for user, _ in found} & {"glutton", "sour"}
    assert {source for user, source in found if user == "lone"} == {"als"}  # its only item has no neighbor


def matrix(table) -> np.ndarray:
    return np.array(table["vector"].to_pylist(), np.float32)


def test_als_proposes_the_best_of_the_dense_product(world):
    users, items = world["user_factors"]["user_id"].to_pylist(), world["item_factors"]["item_idx"].to_pylist()
    scores = matrix(world["user_factors"]) @ matrix(world["item_factors"]).T
    found = lists(world)
    for user, values in zip(users, scores, strict=True):
        fresh = {item: value for item, value in zip(items, values, strict=True) if item not in OWN[user]}
        row = found.get((user, "als"), {"items": [], "scores": []})
        np.testing.assert_allclose(
            row["scores"], sorted(fresh.values(), reverse=True)[:N_PROPOSED], rtol=1e-3, atol=1e-5
        )
        np.testing.assert_allclose(row["scores"], [fresh[item] for item in row["items"]], rtol=1e-3, atol=1e-5)


def test_als_reasons_are_the_greatest_terms_of_the_closed_form(world):
    """Hu et al. eq. 7, solved for each user as a dense system over all items."""
    factors = {
        i: v.astype(float)
        for i, v in zip(world["item_factors"]["item_idx"].to_pylist(), matrix(world["item_factors"]), strict=True)
    }
    for user in ("u00", "u07", "u35"):
        row = lists(world)[user, "als"]
        system = 0.5 * np.eye(5)
        for item, vector in factors.items():
            system += (1 + 3.0 * LIKED[user].get(item, 0)) * np.outer(vector, vector)
        inverse = np.linalg.inv(system)
        for item, reason in zip(row["items"], row["because_of"], strict=True):
            terms = {own: factors[item] @ inverse @ factors[own] * (1 + 3.0 * w) for own, w in LIKED[user].items()}
            assert terms[reason] == pytest.approx(max(terms.values()))


@pytest.mark.parametrize("kind", ["viewed_together", "bought_together"])
def test_neighbors_are_proposed_by_the_strongest_of_ones_own(world, kind):
    """Σ weight · score over the 4 strongest liked items; ties: score descending, then item ascending."""
    scores = {(row["item_idx"], row["neighbor_idx"]): row["score"] for row in NEIGHBORS if row["kind"] == kind}
    for user in (f"u{k:02}" for k in range(N_USERS)):
        history = sorted(LIKED[user].items(), key=lambda cell: (-cell[1], cell[0]))[:4]
        total = defaultdict(float)
        for own, weight in history:
            for item in range(N_ITEMS):
                total[item] += weight * scores.get((own, item), 0)
        fresh = {item: value for item, value in total.items() if value > 0 and item not in OWN[user]}
        wanted = sorted(fresh, key=lambda item: (-round(fresh[item], 9), item))[:N_PROPOSED]
        row = lists(world).get((user, kind), {"items": [], "scores": [], "because_of": []})
        assert row["items"] == wanted
        np.testing.assert_allclose(row["scores"], [fresh[item] for item in wanted], rtol=1e-6)
        for item, reason in zip(row["items"], row["because_of"], strict=True):
            shares = {own: weight * scores.get((own, item), 0) for own, weight in history}
            assert shares[reason] == pytest.approx(max(shares.values()))


def comparable(table) -> list[tuple]:
    """Rows in one order; scores to the precision that does not hang on who shares a block."""
    return sorted(
        (row["user_id"], row.get("source"), row["items"], row["because_of"], np.round(row["scores"], 4).tolist())
        for row in table.to_pylist()
    )


def test_row_order_partitions_and_blocks_change_nothing(world, quick):
    assert comparable(propose(quick, world, shuffled=True)) == comparable(world["candidates"])
    assert comparable(merge(quick, world, world["candidates"], shuffled=True)) == comparable(world["slates"])


def test_fewer_asked_are_the_head_of_more(world):
    """Prefix stability of every source, in one block without Spark."""

    def proposals(n: int) -> dict[str, list]:
        wanted = load_settings(als={"alpha": 3.0}, candidates={"n_per_source": n, "max_history": 4})
        model = candidates.build_model(world["item_factors"], world["item_neighbors"], rebuy, wanted)
        batches = list(candidates.propose_block(block, model))
        return {batch["source"][0].as_py(): batch["items"].to_pylist() for batch in batches}

    rebuy = rebuy_tonight(load_rules(), world["items"], world["item_dictionary"], NIGHT)
    vectors = dict(
        zip(world["user_factors"]["user_id"].to_pylist(), world["user_factors"]["vector"].to_pylist(), strict=True)
    )
    people = [user for user in vectors if user.startswith("u")]
    ordered = {user: sorted(LIKED[user], key=lambda item: (-LIKED[user][item], item)) for user in people}
    block = pa.RecordBatch.from_pydict(
        {
            "user_id": people,
            "item_idx": pa.array([ordered[user] for user in people], pa.list_(pa.int32())),
            "bought_us": pa.array([[-1] * len(ordered[user]) for user in people], pa.list_(pa.int64())),
            "minus_micro": pa.array(
                [[int(-1e6 * LIKED[user][i]) for i in ordered[user]] for user in people], pa.list_(pa.int64())
            ),
            "vector": pa.array([vectors[user] for user in people], pa.list_(pa.float32())),
        }
    )
    short, long = proposals(10), proposals(25)
    assert set(short) == set(SOURCES[:3])
    assert {source: [items[:10] for items in found] for source, found in long.items()} == short


def test_slates_hold_every_promise(world):
    found = world["slates"].to_pylist()
    proposed = lists(world)
    assert len({row["user_id"] for row in found}) == len(found) == len({user for user, _ in proposed})
    for row in found:
        user, items = row["user_id"], row["items"]
        assert len(items) == len(set(items)) == len(row["scores"]) == len(row["sources"]) == len(row["because_of"])
        assert 0 < len(items) <= 10
        assert not set(items) & (OWN[user] | GONE)
        assert row["scores"] == sorted(row["scores"], reverse=True)
        for item, source, reason in zip(items, row["sources"], row["because_of"], strict=True):
            told = proposed[user, source]
            assert told["because_of"][told["items"].index(item)] == reason


def test_slates_are_the_reciprocal_ranks_added(world):
    """Weights 1, 0.7, 0.3 over 20 + rank among what is available; the first place everywhere would be 1."""
    for row in world["slates"].to_pylist():
        total = defaultdict(float)
        for source, weight in zip(SOURCES, (1.0, 0.7, 0.3), strict=False):
            told = lists(world).get((row["user_id"], source), {"items": []})["items"]
            for rank, item in enumerate((item for item in told if item not in GONE), 1):
                total[item] += weight / (20 + rank) / (2.0 / 21)
        wanted = sorted(total, key=lambda item: (-round(total[item], 9), item))[:10]
        assert row["items"] == wanted
        np.testing.assert_allclose(row["scores"], [total[item] for item in wanted], rtol=1e-5)


def test_neutral_rules_leave_the_fusion_as_it_is(world):
    """To the last bit: what is available, fused and cut, is the slate."""
    proposed = lists(world)
    for row in world["slates"].to_pylist():
        told = []
        for code, weight in enumerate((1.0, 0.7, 0.3)):
            found = proposed.get((row["user_id"], SOURCES[code]), {"items": [], "because_of": []})
            keep = [k for k, item in enumerate(found["items"]) if item not in GONE]
            columns = (np.array([found[name][k] for k in keep], np.int32) for name in ("items", "because_of"))
            told.append((code, weight, *columns))
        items, scores, sources, because = fuse(told, 20, 10)
        assert row["items"] == items.tolist()
        assert row["scores"] == scores.astype(np.float32).tolist()
        assert row["sources"] == [SOURCES[code] for code in sources]
        assert row["because_of"] == because.tolist()
        assert row["propensities"] == [1.0] * len(items)


def test_what_was_seen_stands_beside_the_slate_newest_first(world):
    times = {(cell["user_id"], cell["item_idx"]): cell.get("last_time", at()) for cell in CELLS}
    for row in world["slates"].to_pylist():
        user = row["user_id"]
        moments = [times[user, item] for item in row["seen"]]
        assert moments == sorted((times[user, item] for item in OWN[user]), reverse=True)[:5]


def test_a_user_whose_proposals_are_all_gone_has_no_slate(world, quick):
    only_gone = rows("candidates", {"user_id": "u00", "items": [3, 7], "scores": [2.0, 1.0], "because_of": [0, 0]})
    assert merge(quick, world, only_gone).num_rows == 0


def test_nothing_in_nothing_out(quick, world):
    empty = {name: table.slice(0, 0) for name, table in world.items()}
    assert propose(quick, empty).num_rows == 0
    assert merge(quick, empty, empty["candidates"]).num_rows == 0
