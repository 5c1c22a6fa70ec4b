"""ALS: a checkerboard is learnt, equal inputs give equal vectors, and nobody at all is no error."""

import numpy as np
import pyarrow as pa
import pytest
from lake_fixtures import NIGHT, rows

from conf.settings import load_settings
from jobs.als import transform
from schemas.arrow import arrow_schema
from schemas.tables import ITEM_FACTORS, USER_FACTORS

N = 20


def fitted(interactions: pa.Table, **als) -> dict[str, pa.Table]:
    settings = load_settings(als={"factors": 4, "iterations": 15, "regularization": 1.0, "alpha": 1.0} | als)
    return transform({"interactions": interactions}, NIGHT, settings)


def matrix(table: pa.Table) -> np.ndarray:
    return np.array(table["vector"].to_pylist(), np.float32)


def checkerboard() -> pa.Table:
    """User u likes item i where u + i is even, the diagonal left out: what ``implicit`` tests its models with."""
    cells = [(u, i) for u in range(N) for i in range(N) if (u + i) % 2 == 0 and u != i]
    return rows("interactions", *({"user_id": f"u{u:02}", "item_idx": i} for u, i in cells))


def test_a_checkerboard_is_completed():
    result = fitted(checkerboard())
    users, items = result["user_factors"]["user_id"].to_pylist(), result["item_factors"]["item_idx"].to_pylist()
    assert users == [f"u{u:02}" for u in range(N)]
    assert items == list(range(N))
    assert result["measured"] == {"n_users": N, "n_items": N, "n_cells": N * (N // 2 - 1)}
    scores = matrix(result["user_factors"]) @ matrix(result["item_factors"]).T
    even = (np.arange(N)[:, None] + np.arange(N)) % 2 == 0
    assert scores[even].min() > 0.7  # the left-out diagonal included
    assert np.abs(scores[~even]).max() < 0.1
    unseen = np.where(even & ~np.eye(N, dtype=bool), -1, scores)
    assert unseen.argmax(axis=1).tolist() == list(range(N))  # what was left out comes first


def test_equal_inputs_give_equal_vectors_in_any_row_order():
    board = checkerboard()
    shuffled = board.take(np.random.default_rng(0).permutation(board.num_rows))
    first, again, other = fitted(board), fitted(shuffled), fitted(board, seed=8)
    for table in ("user_factors", "item_factors"):
        assert first[table] == again[table]
    assert first["item_factors"] != other["item_factors"]


def test_other_pseudonyms_of_the_same_people_give_the_same_vectors():
    """Under another secret everybody has another name: their lists must not move by a rounding."""
    random = np.random.default_rng(1)
    cells = [(u, i) for u in range(60) for i in range(30) if random.random() < 0.2]
    names = [f"u{name:02}" for name in random.permutation(60)]

    def people(name_of) -> pa.Table:
        weights = [1_000_000 + 37_000 * ((7 * u + i) % 50) for u, i in cells]
        named = zip(cells, weights, strict=True)
        return rows("interactions", *({"user_id": name_of(u), "item_idx": i, "weight_micro": w} for (u, i), w in named))

    first, second = fitted(people(lambda u: f"u{u:02}")), fitted(people(lambda u: names[u]))
    assert first["item_factors"] == second["item_factors"]
    vector = dict(zip(second["user_factors"]["user_id"].to_pylist(), matrix(second["user_factors"]), strict=True))
    for u, row in enumerate(matrix(first["user_factors"])):
        if f"u{u:02}" in vector:
            assert np.array_equal(row, vector[names[u]])


def test_a_strong_sign_weighs_more_than_a_weak_one():
    """Both a and b come with either of two items; who did more with a scores a's companion higher than b's."""
    cells = [(f"a{k}", i) for k in range(6) for i in (0, 1)] + [(f"b{k}", i) for k in range(6) for i in (2, 3)]
    table = rows(
        "interactions",
        *({"user_id": user, "item_idx": item} for user, item in cells),
        {"user_id": "me", "item_idx": 0, "weight_micro": 5_000_000},
        {"user_id": "me", "item_idx": 2, "weight_micro": 100_000},
    )
    result = fitted(table)
    me = matrix(result["user_factors"])[result["user_factors"]["user_id"].to_pylist().index("me")]
    scores = matrix(result["item_factors"]) @ me
    assert scores[1] > 1.3 * scores[3] > 0  # equal, were weights left out


def test_what_nobody_likes_has_no_vector():
    result = fitted(rows("interactions", {}, {"item_idx": 1}, {"user_id": "u2", "item_idx": 2, "weight_micro": 0}))
    assert result["user_factors"]["user_id"].to_pylist() == ["u1"]
    assert result["item_factors"]["item_idx"].to_pylist() == [0, 1]


@pytest.mark.parametrize("content", [(), ({"weight_micro": 0},)])
def test_nobody_gives_empty_tables(content):
    result = fitted(rows("interactions", *content))
    assert result["user_factors"] == arrow_schema(USER_FACTORS).empty_table()
    assert result["item_factors"] == arrow_schema(ITEM_FACTORS).empty_table()


@pytest.mark.parametrize("content", [({},), ({}, {"item_idx": 5}), ({}, {"user_id": "u2"})])
def test_one_user_or_one_item_is_enough(content):
    result = fitted(rows("interactions", *content))
    users, items = matrix(result["user_factors"]), matrix(result["item_factors"])
    assert users.shape[1] == items.shape[1] == 1
    assert (len(users), len(items)) == tuple(len({r[k] for r in content_of(content)}) for k in ("user_id", "item_idx"))
    assert np.isfinite(users).all()
    assert np.isfinite(items).all()


def content_of(overrides: tuple[dict, ...]) -> list[dict]:
    return rows("interactions", *overrides).to_pylist()


def test_vectors_fit_their_tables():
    result = fitted(checkerboard())
    for table in (USER_FACTORS, ITEM_FACTORS):
        result[table.name].cast(arrow_schema(table)).validate(full=True)
