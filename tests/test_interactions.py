"""interactions: capped, decayed, integer weights of each user and item, by hand."""

from datetime import datetime

import pytest
from either_engine import made, told
from lake_fixtures import NIGHT, at, backwards, dictionary, rows
from spark_fixture import quick_spark  # noqa: F401

from conf.settings import load_settings
from jobs.interactions import transform
from jobs.rim.base import Base, midnight

VIEW, PURCHASE = 1_000_000, 4_000_000


def weight(kind: str, micro: int, value: float | None = None, source: str = "shop") -> dict:
    return {"source": source, "kind": kind, "value": value, "weight_micro": micro}


WEIGHTS = (
    weight("view", VIEW),
    weight("purchase", PURCHASE),
    weight("return", -PURCHASE),
    weight("rating", 500_000),
    weight("rating", 3_000_000, 5.0),
    weight("rating", 0, 1.0),
    weight("view", 250_000, source="app"),
)


@pytest.fixture(params=["compiled", "spark"])
def run(quick, request):
    """Transform these events by either engine; gives (user, item_idx) → row."""

    def transformed(*events: dict, as_of: datetime = NIGHT, mixed: bool = False, **wanted: int) -> dict:
        content = rows("events", *events)
        start = midnight(min(content["event_time"].to_pylist()))
        limits = {"window_days": 365, "half_life_days": 2, "max_per_user_day": 100, "engine": request.param}
        settings = load_settings(interactions=limits | wanted)
        happened = backwards(content) if mixed else content
        given = {"events": happened, "event_weights": rows("event_weights", *WEIGHTS)}
        given |= {"item_dictionary": dictionary(*"abcdefgh")}
        given = told(quick, given, n_parts=5 if mixed else 1) | {"base": Base(start)}
        found = made(transform(given, as_of, settings)["interactions"], "interactions").to_pylist()
        assert len({(row["user_id"], row["item_idx"]) for row in found}) == len(found)
        return {(row["user_id"], row["item_idx"]): row for row in found}

    return transformed


def micros(found: dict) -> dict:
    return {key: row["weight_micro"] for key, row in found.items()}


def test_weights_by_kind_value_and_source_add_up(run):
    found = run(
        {"item_id": "a"},  # 1
        {"item_id": "a", "kind": "purchase", "event_time": at(13)},  # + 4
        {"item_id": "b", "kind": "rating", "value": 5.0},  # 3: the very value
        {"item_id": "c", "kind": "rating", "value": 4.0},  # 0.5: any value
        {"item_id": "d", "kind": "rating", "value": 1.0},  # 0: known, no sign of liking
        {"item_id": "e", "source": "app"},  # 0.25: that source's weight
        {"item_id": "f", "kind": "return"},  # -4, kept as 0
        {"item_id": "g", "kind": "purchase"},
        {"item_id": "g", "kind": "return", "event_time": at(14)},  # 4 - 4
        # these say nothing: no weight for the kind, nobody, nothing, not in the dictionary, a source unheard of
        {"item_id": "h", "kind": "impression"},
        {"item_id": "h", "user_id": None, "session_id": "s1"},
        {"item_id": None, "kind": "search"},
        {"item_id": "z"},
        {"item_id": "h", "source": "rumour"},
        {"user_id": "u2", "item_id": "a"},
    )
    assert micros(found) == {
        ("u1", 0): 5_000_000,
        ("u1", 1): 3_000_000,
        ("u1", 2): 500_000,
        ("u1", 3): 0,
        ("u1", 4): 250_000,
        ("u1", 5): 0,
        ("u1", 6): 0,
        ("u2", 0): 1_000_000,
    }
    assert found["u1", 0] == {
        "user_id": "u1",
        "item_idx": 0,
        "weight_micro": 5_000_000,
        "total_micro": 905_096_680,  # day 20,463 is the 16th of 32: 5,000,000 · 2^(15/2)
        "n_events": 2,
        "n_purchases": 1,
        "first_time": at(12),
        "last_time": at(13),
        "last_purchase_time": at(13),
    }


def test_the_last_purchase_is_that_whatever_came_later(run):
    found = run(
        {"kind": "purchase", "event_time": at(days=-3)},
        {"kind": "purchase", "event_time": at(days=-2)},
        {"event_time": at(5)},
        {"kind": "return", "event_time": at(6)},
        {"item_id": "b"},
    )
    assert [found["u1", item]["last_purchase_time"] for item in (0, 1)] == [at(days=-2), None]


def test_weights_halve_by_whole_utc_days_before_the_last_full_day(run):
    """Half-life of 2 days: 2^(-age/2), rounded to micro-units each day."""
    found = run(
        {"item_id": "a", "event_time": at(0)},
        {"item_id": "b", "event_time": at(23.999)},  # the same day, the same age: 0
        {"item_id": "c", "event_time": at(-0.001)},  # yesterday: 1 / √2 = 0.70710678
        {"item_id": "d", "event_time": at(days=-2)},  # 0.5
        {"item_id": "e", "event_time": at(days=-4)},  # 0.25
        {"item_id": "f", "event_time": at(days=-1)},  # 0.70710678
        {"item_id": "f", "event_time": at(days=-3)},  # + 0.35355339
    )
    assert micros(found) == {
        ("u1", 0): 1_000_000,
        ("u1", 1): 1_000_000,
        ("u1", 2): 707_107,
        ("u1", 3): 500_000,
        ("u1", 4): 250_000,
        ("u1", 5): 707_107 + 353_553,
    }
    assert (found["u1", 5]["first_time"], found["u1", 5]["last_time"]) == (at(days=-3), at(days=-1))


def test_an_as_of_within_a_day_counts_that_day_as_the_newest(run):
    assert micros(run({"event_time": at(1)}, {"event_time": at(-1), "item_id": "b"}, as_of=at(2))) == {
        ("u1", 0): 1_000_000,
        ("u1", 1): 707_107,
    }


def test_beyond_the_caps_further_events_add_nothing(run):
    """At most 3 of a kind on an item and day; beyond 8 events a day, all of that day's are scaled by 8 / n."""
    events = [
        *({"item_id": "a", "event_time": at(k)} for k in range(5)),  # min(5, 3) = 3
        *({"item_id": "a", "event_time": at(k, days=-2)} for k in range(2)),  # another day: 2 · 0.5
        {"item_id": "a", "kind": "purchase"},  # another kind: + 4
        *({"user_id": "bot", "item_id": item} for item in "abcdefgh" for _ in range(2)),  # 16 a day: 2 · 8 / 16
        *({"user_id": "twelve", "item_id": item} for item in "abcd" for _ in range(3)),  # 12 a day: 3 · 8 / 12
        {"user_id": "bot", "item_id": "a", "event_time": at(days=-2)},  # a day within the cap: + 0.5
    ]
    found = run(*events, max_per_user_day=8)
    assert found["u1", 0]["weight_micro"] == 3_000_000 + 1_000_000 + 4_000_000
    assert found["u1", 0]["n_events"] == 8
    assert found["bot", 0]["weight_micro"] == 1_000_000 + 500_000
    assert {found["bot", item]["weight_micro"] for item in range(1, 8)} == {1_000_000}
    assert {found["twelve", item]["weight_micro"] for item in range(4)} == {2_000_000}
    assert run(*events, max_per_user_day=8, mixed=True) == found  # row order and partitions change nothing


def test_a_pair_is_forgotten_after_so_many_days_without_an_event(run):
    """Three days: an event at their very beginning keeps what came before, one a moment earlier does not."""
    found = run(
        {"item_id": "a", "event_time": at(days=-2)},  # the oldest of three days
        {"item_id": "b", "event_time": at(-0.001, days=-2)},  # forgotten
        {"item_id": "c", "event_time": at(days=-5)},  # three days before the next: + 2^-2.5
        {"item_id": "c", "event_time": at(23, days=-2)},  # 0.5
        {"item_id": "d", "event_time": at(23.9, days=-5), "kind": "purchase"},  # four before the next: begun anew
        {"item_id": "d", "event_time": at(days=-1)},  # 0.70710678
        window_days=3,
    )
    assert micros(found) == {("u1", 0): 500_000, ("u1", 2): 500_000 + 176_777, ("u1", 3): 707_107}
    anew = found["u1", 3]
    assert (anew["n_events"], anew["n_purchases"], anew["last_purchase_time"]) == (1, 0, None)
    assert anew["first_time"] == at(days=-1)
    assert found["u1", 2]["first_time"] == at(days=-5)
