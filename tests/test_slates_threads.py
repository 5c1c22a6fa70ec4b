"""Slates of many users at once are those of one user after another, and where they are made goes by what there is."""

import numpy as np
import pyarrow as pa
import pytest
from lake_fixtures import NIGHT, at, rows

from conf.rules import load_rules
from conf.settings import load_settings
from jobs import candidates, slates
from jobs.kernels.rules.context import Catalogue, build_context
from jobs.kernels.rules.slate import Night
from jobs.kernels.slates_threads import Merger
from jobs.rim.side_by_side import in_turn
from schemas.tables import SOURCES

N_ITEMS, N_USERS, N_SHOWN, N_SEEN = 60, 40, 8, 5
PROMOTED = SOURCES.index("promotion")


def shop(seed: int) -> tuple[pa.Table, pa.Table]:
    """What users dealt with, and what is proposed to them: ties, the same item by two sources, rows in any order."""
    chance, taken, proposed = np.random.default_rng(seed), [], []
    for user in range(N_USERS):
        if user % 7:
            for item in chance.choice(N_ITEMS, chance.integers(1, 15), replace=False):
                bought = {"last_purchase_time": at(days=-int(chance.integers(0, 60)))} if chance.random() < 0.5 else {}
                last = {"last_time": at(days=-int(chance.integers(0, 9)))}
                taken.append({"user_id": f"u{user}", "item_idx": int(item)} | last | bought)
        if user % 5:
            for source in chance.choice(["als", "bm25", "popular"], chance.integers(1, 4), replace=False):
                n = int(chance.integers(1, 25))
                scores = np.sort(chance.integers(1, 9, n) / 8)[::-1]
                lists = {"items": chance.choice(N_ITEMS, n, replace=False).tolist(), "scores": scores.tolist()}
                proposed.append({"user_id": f"u{user}", "source": source, "because_of": list(range(n))} | lists)
    chance.shuffle(proposed)
    return rows("interactions", *taken), rows("candidates", *proposed)


def night(**rules) -> Night:
    nowhen = np.full(N_ITEMS, np.datetime64("NaT", "us"))
    items = Catalogue({}, np.arange(N_ITEMS) % 6 > 0, np.arange(N_ITEMS) // 20, ("a", "b", "c"), nowhen)
    wanted = load_rules().model_copy(update=rules)
    return Night(build_context(wanted, items, NIGHT, N_SHOWN, PROMOTED), NIGHT, N_SEEN)


def again(days: int):
    return load_rules().rebuy.model_copy(update={"categories": ("*",), "after_days": days})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rules", [{}, {"rebuy": again(0)}, {"rebuy": again(30)}], ids=["none", "at once", "30 days"])
def test_all_at_once_are_those_of_one_after_another(seed, rules, monkeypatch):
    interactions, proposed = shop(seed)
    tonight = night(**rules)
    assert tonight.plain
    at_once = Merger(interactions, rows("users"), tonight).merge(proposed).to_pylist()
    monkeypatch.setattr(Night, "plain", False)
    one_by_one = Merger(interactions, rows("users"), tonight).merge(proposed).to_pylist()
    assert sum(len(row["items"]) for row in at_once) > 100
    assert sum(len(row["seen"]) for row in at_once) > 50
    assert at_once == one_by_one


def test_rows_of_one_user_in_two_files_are_refused():
    interactions, proposed = shop(1)
    merger = Merger(interactions, rows("users"), night())
    merger.merge(proposed.slice(0, 30))
    with pytest.raises(ValueError, match="rows of one user stand in two files"):
        merger.merge(proposed.slice(30))


@pytest.mark.parametrize(
    ("changes", "needed", "engine", "why"),
    [
        ({}, 100 << 20, "threads", "it fits memory"),
        ({}, 2 << 30, "spark", "1,024 MiB are there"),
        ({"spark": {"master": "spark://host:7077"}}, 0, "spark", "spark.master is a cluster"),
        ({"candidates": {"engine": "threads"}}, 2 << 30, "threads", "candidates.engine says so"),
        ({"candidates": {"engine": "spark"}}, 0, "spark", "candidates.engine says so"),
    ],
)
def test_where_candidates_are_ranked(changes, needed, engine, why):
    assert candidates.engine(needed, 1 << 30, load_settings(**changes)) == {"engine": engine, "why": why}


class Said:
    """As much of a stored table as the choice goes by."""

    alone_bytes = 1 << 30

    def __init__(self, num_rows: int, num_bytes: int = 0):
        self.num_rows, self.num_bytes = num_rows, num_bytes

    def parts(self) -> list["Said"]:
        return [self]


CAP = {"diversity": load_rules().diversity.model_copy(update={"max_per_category": 3})}


@pytest.mark.parametrize(
    ("changes", "rules", "n_rows", "n_bytes", "engine", "why"),
    [
        ({}, {}, 10_000_000, 1 << 20, "threads", "it fits memory"),
        ({}, {}, 20_000_000, 1 << 20, "spark", "1,024 MiB are there"),
        ({}, {}, 0, 1 << 30, "spark", "1,024 MiB are there"),
        ({}, CAP, 100_000, 0, "threads", "it fits memory"),
        ({}, CAP, 100_001, 0, "spark", "tonight's rules take many users one by one"),
        ({"spark": {"master": "yarn"}}, {}, 0, 0, "spark", "spark.master is a cluster"),
        ({"slates": {"engine": "threads"}}, CAP, 20_000_000, 0, "threads", "slates.engine says so"),
    ],
)
def test_where_slates_are_made(changes, rules, n_rows, n_bytes, engine, why):
    table = Said(n_rows, n_bytes)
    inputs = {"interactions": table, "candidates": table, "means": table}
    found = slates.engine(inputs, night(**rules), load_settings(**changes))
    assert (found["engine"], found["why"]) == (engine, why)


def test_what_is_made_side_by_side_comes_in_turn_and_not_far_ahead():
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        return item * item

    found = in_turn(work, range(100), 2)
    assert next(found) == 0
    assert len(begun) <= 5
    assert list(found) == [item * item for item in range(1, 100)]


def test_what_goes_wrong_side_by_side_is_raised():
    def work(item: int) -> float:
        return 1 / (3 - item)

    with pytest.raises(ZeroDivisionError):
        list(in_turn(work, range(10), 2))
