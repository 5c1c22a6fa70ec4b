"""cold: lists for newcomers by what is known of them, likenesses of items hardly anybody took, and empty worlds."""

from datetime import timedelta

import numpy as np
import pytest
from lake_fixtures import NIGHT, rows

from conf.settings import load_settings
from jobs.cold import transform
from schemas.arrow import arrow_schema
from schemas.tables import CONTENT_NEIGHBORS, SEGMENT_LISTS

N_ITEMS = 12
TOYS = range(6)  # items 0 to 5, the others are tools; 10 and 11 are new, a toy and a tool
NEW = {10: 0, 11: 7}


def kind_of(item: int) -> str:
    return "toys" if item in TOYS or item == 10 else "tools"


def world(users=(), interactions=(), **items) -> dict:
    """Thirty French people who take toys, thirty Germans who take tools."""
    french, german = ([f"{country}{k:02}" for k in range(30)] for country in "fg")
    accounts = [{"user_id": u, "country": "France"} for u in french] + [
        {"user_id": u, "country": "Germany"} for u in german
    ]
    taken = [(u, (k * 5 + j) % 6) for k, u in enumerate(french) for j in range(3)]
    taken += [(u, 6 + (k * 3 + j) % 4) for k, u in enumerate(german) for j in range(3)]
    described = [
        {"item_id": f"i{k:02}", "title": f"{kind_of(k)} number {k}", "category": kind_of(k)} | items.get(f"i{k:02}", {})
        for k in range(N_ITEMS)
    ]
    return {
        "interactions": rows(
            "interactions",
            *({"user_id": u, "item_idx": i, "last_time": NIGHT - timedelta(days=1 + i)} for u, i in taken),
            *interactions,
        ),
        "items": rows("items", *described),
        "users": rows("users", *accounts, *users),
        "item_dictionary": rows("item_dictionary", *({"item_id": f"i{k:02}", "item_idx": k} for k in range(N_ITEMS))),
    }


def made(inputs: dict, **cold) -> dict:
    found = transform(inputs, NIGHT, load_settings(cold={"max_people": 5, "n_items": 10} | cold))
    return {name: found[name].cast(arrow_schema(table)) for name, table in TABLES.items()}


TABLES = {"content_neighbors": CONTENT_NEIGHBORS, "segment_lists": SEGMENT_LISTS}


def lists(found: dict) -> dict[tuple, dict]:
    return {tuple(row[name] for name in SEGMENT_LISTS.key): row for row in found["segment_lists"].to_pylist()}


def test_newcomers_get_what_people_like_them_take():
    newcomer = {"user_id": "new", "country": "France", "gender": "f"}
    found = lists(made(world(users=[newcomer])))
    assert set(found) == {("France", None, None, None), ("Germany", None, None, None), ("France", None, "f", None)}
    assert set(found["France", None, None, None]["items"][:6]) == set(TOYS)
    assert set(found["Germany", None, None, None]["items"][:4]) == {6, 7, 8, 9}
    assert found["France", None, "f", None]["items"] == found["France", None, None, None]["items"]  # nobody is known so
    for row in found.values():
        assert row["scores"][0] == 1
        assert (np.diff(row["scores"]) <= 0).all()


def test_what_is_gone_stands_behind_everything():
    found = lists(made(world(i02={"available": False})))
    row = found["France", None, None, None]
    assert 2 not in row["items"][:9]
    assert dict(zip(row["items"], row["scores"], strict=True)).get(2, 0) == 0


def test_people_of_whom_nothing_is_known_have_no_list_of_their_own():
    found = lists(made(world(users=[{"user_id": "blank"}])))
    assert (None, None, None, None) not in found


def test_new_items_are_likened_to_known_ones_of_their_kind():
    twin = {"title": "toys number 10"}  # as the new item is called
    found = {row["item_idx"]: row for row in made(world(i03=twin))["content_neighbors"].to_pylist()}
    assert set(found) == set(NEW)
    assert found[10]["others"][0] == 3
    assert set(found[10]["others"][:6]) == set(TOYS)
    assert set(found[11]["others"][:4]) == {6, 7, 8, 9}
    for row in found.values():
        assert not set(row["others"]) & set(NEW)  # of two new items neither speaks for the other
        assert (np.diff(row["weights"]) <= 0).all()


def test_an_item_enough_people_took_is_not_new():
    taken = [{"user_id": f"f{k:02}", "item_idx": 10} for k in range(5)]
    assert [row["item_idx"] for row in made(world(interactions=taken))["content_neighbors"].to_pylist()] == [11]
    assert [row["item_idx"] for row in made(world(interactions=taken[:4]))["content_neighbors"].to_pylist()] == [10, 11]


@pytest.mark.parametrize("absent", ["interactions", "users", "items"])
def test_where_something_is_absent_there_are_no_lists_but_no_error_either(absent):
    inputs = world()
    inputs[absent] = inputs[absent].slice(0, 0)
    found = made(inputs)
    assert len(found["segment_lists"]) == (2 if absent == "items" else 0)
    assert len(found["content_neighbors"]) == (2 if absent == "users" else 0)
