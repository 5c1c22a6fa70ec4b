"""item_neighbors: who is counted, the four counts, the scores by hand, and the properties of a neighbor list."""

import math
from functools import partial

import pytest
from either_engine import made, told
from lake_fixtures import NIGHT, at, backwards, dictionary, rows
from spark_fixture import quick_spark  # noqa: F401

from conf.settings import load_settings
from jobs.cooccurrence import transform

NAMES = "abcdefgh"


def transformed(session, engine: str, events=(), interactions=(), mixed=False, **wanted) -> list[dict]:
    """All rows by one of the two engines."""
    tables = {"events": rows("events", *events), "interactions": rows("interactions", *interactions)}
    if mixed:
        tables = {name: backwards(table) for name, table in tables.items()}
    inputs = told(session, tables | {"item_dictionary": dictionary(*NAMES)}, 5 if mixed else 1)
    local = {"sparse": 1_000_000, "spark": 0}[engine]
    settings = load_settings(cooccurrence={"min_pair": 1, "shrink": 0.0, "max_local_rows": local} | wanted)
    result = transform(inputs, NIGHT, settings)
    assert result["measured"]["engine"] == engine
    found = made(result["item_neighbors"], "item_neighbors").to_pylist()
    return sorted(found, key=lambda row: (row["kind"], row["item_idx"], row["rank"]))


@pytest.fixture
def run(quick):
    """Who contributes what is decided before either engine counts: one of them is enough."""
    return partial(transformed, quick, "sparse")


@pytest.fixture(params=["sparse", "spark"])
def count(quick, request):
    return partial(transformed, quick, request.param)


def likes(user: str, *items: int, **fields) -> list[dict]:
    return [{"user_id": user, "item_idx": item} | fields for item in items]


def basket(name: str, items: str, **fields) -> list[dict]:
    return [{"kind": "purchase", "basket_id": name, "item_id": item} | fields for item in items]


def pairs(found: list[dict], kind: str = "viewed_together") -> dict[tuple[int, int], int]:
    return {(row["item_idx"], row["neighbor_idx"]): row["n_pair"] for row in found if row["kind"] == kind}


# four people: 0 and 1 together three times, 0 and 2 once, 3 alone
PEOPLE = [*likes("u1", 0, 1), *likes("u2", 0, 1, 2), *likes("u3", 0, 1), *likes("u4", 3)]


def test_counts_and_scores_by_hand(count):
    found = {(row["item_idx"], row["neighbor_idx"]): row for row in count(interactions=PEOPLE, shrink=1.0)}
    assert {pair: row["n_pair"] for pair, row in found.items()} == {
        (0, 1): 3, (1, 0): 3, (0, 2): 1, (2, 0): 1, (1, 2): 1, (2, 1): 1}  # fmt: skip
    # n_item: 3, 3, 1; n = 4 contributors, the one with a single item included
    assert found[0, 1]["score"] == pytest.approx(3 / (math.sqrt(3 * 3) + 1))  # cosine, shrunk by 1
    assert found[0, 2]["score"] == pytest.approx(1 / (math.sqrt(3 * 1) + 1))
    assert found[0, 1]["lift"] == pytest.approx(3 * 4 / (3 * 3))
    assert found[0, 2]["lift"] == pytest.approx(1 * 4 / (3 * 1))
    # 2 Σ observed ln(observed / expected) over both 3, neither 1 (of 4: 3 have 0, 3 have 1)
    assert found[0, 1]["llr"] == pytest.approx(2 * (3 * math.log(3 * 4 / 9) + 1 * math.log(1 * 4 / 1)))
    # cells 1, 2, 0, 1 against rows 3, 1 and columns 1, 3
    wanted = 2 * (1 * math.log(1 * 4 / 3) + 2 * math.log(2 * 4 / 9) + 1 * math.log(1 * 4 / 3))
    assert found[0, 2]["llr"] == pytest.approx(wanted)
    assert [(row["neighbor_idx"], row["rank"]) for row in found.values() if row["item_idx"] == 0] == [(1, 1), (2, 2)]


def test_the_rank_goes_by_the_score_asked_for(run):
    found = run(interactions=PEOPLE, score="lift")
    assert all(row["score"] == row["lift"] for row in found)
    assert properties_hold(found)


def properties_hold(found: list[dict]) -> bool:
    """Symmetric counts and scores, never one's own neighbor, ranks without gaps, falling, ties by neighbor_idx."""
    by_pair = {(r["kind"], r["item_idx"], r["neighbor_idx"]): r for r in found}
    assert len(by_pair) == len(found)
    for (kind, item, other), row in by_pair.items():
        assert item != other
        back = by_pair[kind, other, item]
        assert all(row[name] == back[name] for name in ("n_pair", "lift", "llr", "score"))
    lists: dict[tuple, list[dict]] = {}
    for row in found:
        lists.setdefault((row["kind"], row["item_idx"]), []).append(row)
    for listed in lists.values():
        assert [row["rank"] for row in listed] == list(range(1, len(listed) + 1))
        order = [(-row["score"], row["neighbor_idx"]) for row in listed]
        assert order == sorted(order)
    return True


def crowd() -> tuple[list[dict], list[dict]]:
    """Thirty people and ten baskets over eight items, with many ties."""
    people = [row for u in range(30) for row in likes(f"u{u:02}", *{u % 8, (u * 3 + 1) % 8, (u * u) % 8, u % 5})]
    bought = [row for b in range(10) for row in basket(f"o{b}", {NAMES[b % 8], NAMES[b * b % 7], NAMES[b % 3]})]
    return bought, people


def test_properties_hold_in_any_order_and_shorter_lists_are_heads_of_longer_ones(count):
    bought, people = crowd()
    whole = count(bought, people, score="llr")
    assert properties_hold(whole)
    assert {row["kind"] for row in whole} == {"viewed_together", "bought_together"}
    assert all(row["score"] == row["llr"] for row in whole)
    heads = count(bought, people, mixed=True, n_neighbors=2, score="llr")
    assert heads == [row for row in whole if row["rank"] <= 2]


def test_a_contributor_counts_a_pair_once(run):
    anonymous = {"user_id": None, "session_id": "s1"}
    events = [
        *({**anonymous, "item_id": item, "event_time": at(k)} for k in range(3) for item in "ab"),  # reloads
        {**anonymous, "item_id": "c", "kind": "impression"},  # shown, not touched
        {**anonymous, "item_id": "d", "kind": "return"},
        {**anonymous, "item_id": "e", "kind": "dislike"},
        {**anonymous, "item_id": None, "kind": "search"},
        {**anonymous, "item_id": "z"},  # not in the dictionary
        {"user_id": "u1", "session_id": "s2", "item_id": "f"},  # a known user's: counted by interactions
        {"user_id": "u1", "session_id": "s2", "item_id": "g"},
        {"user_id": None, "session_id": None, "item_id": "h"},
        {"user_id": None, "session_id": None, "item_id": "a"},
    ]
    liked = [*likes("u2", 0, 1), *likes("u2", 7, weight_micro=0)]  # 7 only returned or disliked
    assert pairs(run(events, liked)) == {(0, 1): 2, (1, 0): 2}


def test_bought_together_goes_by_basket_else_by_session(run):
    events = [
        *basket("o1", "ab"),
        *basket("o1", "a", event_time=at(13)),  # the same item twice in an order
        *basket("o2", "bc", user_id=None),
        *basket(None, "cd", session_id="s1"),
        *basket(None, "ef"),  # neither
        {"basket_id": "o1", "item_id": "h"},  # only viewed
    ]
    assert pairs(run(events), "bought_together") == {
        (0, 1): 1, (1, 0): 1, (1, 2): 1, (2, 1): 1, (2, 3): 1, (3, 2): 1}  # fmt: skip


def test_rare_pairs_and_old_items_are_left_out(count):
    bots = [{"user_id": f"bot{b}", "item_idx": i, "last_time": at(i)} for b in range(2) for i in range(2, 8)]
    found = pairs(count(interactions=[*PEOPLE, *bots], min_pair=2, max_items=3))
    assert found == {(0, 1): 3, (1, 0): 3, **{(i, j): 2 for i in (5, 6, 7) for j in (5, 6, 7) if i != j}}


def test_one_item_has_no_neighbor(count):
    assert count(interactions=likes("u1", 0)) == []


def test_the_engine_goes_by_the_number_of_contributions(quick):
    for max_local_rows, engine in ((9, "sparse"), (8, "spark"), (7, "spark")):
        tables = {"events": rows("events", *basket("o1", "a")), "interactions": rows("interactions", *PEOPLE)}
        inputs = told(quick, tables | {"item_dictionary": dictionary(*NAMES)})
        settings = load_settings(cooccurrence={"max_local_rows": max_local_rows})
        assert transform(inputs, NIGHT, settings)["measured"]["engine"] == engine
