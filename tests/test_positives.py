"""What people took, out of events: whose weight is above 0, in an order that no pseudonym and no row order decides."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from lake_fixtures import at, backwards, rows

from jobs.kernels.positives import Known, positive_events, sampled


def weights(*overrides: dict) -> pa.Table:
    return rows("event_weights", *overrides)


def taken(known: Known) -> list[tuple]:
    """User, item and hour of each event, as the lake spells them."""
    events = known.events
    hours = [datetime.fromtimestamp(second, UTC).hour for second in events.time_s]
    return list(zip(known.user_ids[events.user].tolist(), known.item_ids[events.item].tolist(), hours, strict=True))


def test_only_events_that_weigh_more_than_nothing_are_taken():
    events = rows(
        "events",
        {"item_id": "viewed"},
        {"item_id": "returned", "kind": "return"},
        {"item_id": "free", "kind": "click"},
        {"item_id": "shown", "kind": "impression"},  # no weight is told
        {"item_id": "elsewhere", "source": "films"},  # nor for views of that source
    )
    told = ({}, {"kind": "return", "weight_micro": -1}, {"kind": "click", "weight_micro": 0})
    assert taken(positive_events(events, weights(*told))) == [("u1", "viewed", 12)]
    cheap = {"kind": "click", "weight_micro": 1}
    assert [row[1] for row in taken(positive_events(events, weights(*told[:2], cheap)))] == ["free", "viewed"]


@pytest.mark.parametrize("turned", [False, True])
def test_a_weight_for_the_very_value_wins_over_one_for_any(turned):
    """Whichever stands first: ratings of 3 count, 1 does not, 2 is as any, and one without a value is any, too."""
    rated = {"kind": "rating"}
    told = weights(
        rated | {"value": 1.0, "weight_micro": -1},
        rated | {"value": None, "weight_micro": 0},
        rated | {"value": 3.0, "weight_micro": 1},
    )
    events = rows("events", *(rated | {"item_id": f"i{value}", "value": value} for value in (1.0, 2.0, 3.0, None)))
    assert [row[1] for row in taken(positive_events(events, backwards(told) if turned else told))] == ["i3.0"]
    liked = weights(rated | {"value": 1.0, "weight_micro": -1}, rated | {"value": None, "weight_micro": 5})
    found = taken(positive_events(events, backwards(liked) if turned else liked))
    assert [row[1] for row in found] == ["i2.0", "i3.0", "iNone"]


def test_who_is_unknown_and_what_is_no_item_is_out():
    events = rows("events", {}, {"user_id": None, "session_id": "s"}, {"item_id": None, "kind": "view"})
    known = positive_events(events, weights({}))
    assert taken(known) == [("u1", "a", 12)]
    assert (known.events.n_users, known.events.n_items) == (1, 1)


def test_nothing_is_no_error():
    for events, told in ((rows("events"), weights({})), (rows("events", {}), weights())):
        known = positive_events(events, told)
        assert taken(known) == []
        assert (known.events.n_users, known.events.n_items) == (0, 0)
        assert sampled(known, 10) is known


def visits(name_of=lambda user: f"u{user:02}") -> pa.Table:
    """Forty people, who take 1 to 9 of twelve items, some twice, at hours of their own."""
    random = np.random.default_rng(3)
    told = (
        (user, f"i{random.integers(12):02}", random.random() * 24) for user in range(40) for _ in range(1 + user % 9)
    )
    named = ({"user_id": name_of(user), "item_id": item, "event_time": at(hours)} for user, item, hours in told)
    return rows("events", *named)


def test_events_stand_by_user_then_time_and_codes_are_dense():
    known = positive_events(visits(), weights({}))
    events = known.events
    assert sorted(taken(known)) == sorted(
        (row["user_id"], row["item_id"], row["event_time"].hour) for row in visits().to_pylist()
    )
    order = np.lexsort((events.item, events.time_s, events.user))
    assert order.tolist() == list(range(len(order)))
    assert np.unique(events.user).tolist() == list(range(events.n_users))
    assert known.item_ids.tolist() == sorted(known.item_ids)
    assert (events.user.dtype, events.item.dtype) == (np.int32, np.int32)


def test_neither_pseudonyms_nor_the_order_of_rows_decide_the_codes():
    """Under another secret everybody has another name: their events must stand where they stood."""
    names = [f"u{name:02}" for name in np.random.default_rng(4).permutation(40)]
    first = positive_events(visits(), weights({}))
    for other in (positive_events(visits(lambda user: names[user]), weights({})), shuffled()):
        for column in ("user", "item", "time_s"):
            assert np.array_equal(getattr(other.events, column), getattr(first.events, column))
        assert other.item_ids.tolist() == first.item_ids.tolist()
    renamed = positive_events(visits(lambda user: names[user]), weights({}))
    assert [names[int(user[1:])] for user in first.user_ids] == renamed.user_ids.tolist()
    assert first.user_ids.tolist() != sorted(first.user_ids)  # by what they took, not by name


def shuffled() -> Known:
    events = visits()
    return positive_events(events.take(np.random.default_rng(5).permutation(events.num_rows)), weights({}))


@pytest.mark.parametrize("most", [1, 7, 50, 120, 189, 190])
def test_a_sample_keeps_whole_users_and_as_many_as_fit(most):
    known = positive_events(visits(), weights({}))
    some, n_of = sampled(known, most), dict(zip(*np.unique(known.events.user, return_counts=True), strict=True))
    n_kept = some.events.n_users
    assert some.user_ids.tolist() == known.user_ids[:n_kept].tolist()
    assert sorted(taken(some)) == sorted(row for row in taken(known) if row[0] in set(some.user_ids))
    assert len(some.events.user) <= most or n_kept == 1  # one user there is, whatever they took
    assert n_kept == 40 or len(some.events.user) + n_of[n_kept] > most
    assert np.unique(some.events.item).tolist() == list(range(some.events.n_items))


def test_a_sample_is_drawn_by_what_was_taken_not_by_name():
    names = [f"u{name:02}" for name in np.random.default_rng(4).permutation(40)]
    some = sampled(positive_events(visits(), weights({})), 60)
    renamed = sampled(positive_events(visits(lambda user: names[user]), weights({})), 60)
    assert [names[int(user[1:])] for user in some.user_ids] == renamed.user_ids.tolist()
    assert sampled(positive_events(visits(), weights({})), 10_000).events.n_users == 40
