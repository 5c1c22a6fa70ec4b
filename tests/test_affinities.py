"""What a ranker sees beside the sources: category, price, circumstances, searches; each beside a slow count."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from lake_fixtures import at, rows

from jobs.kernels.positives import positive_events
from jobs.kernels.recipe.affinities import (
    AFFINITY_NAMES,
    FADING_DAYS,
    N_SLOTS,
    SEARCHED_DAYS,
    SMOOTHING,
    affinities,
    slots,
)
from jobs.kernels.recipe.context import N_WORDS, UNKNOWN, Context, Searches
from jobs.kernels.recipe.labels import Events, split
from jobs.kernels.recipe.people import DAY_S
from jobs.kernels.surroundings import context_of

N_USERS, N_ITEMS, N = 12, 9, 300
DEVICES = np.array(["desktop", "mobile", None])


def world(seed: int = 0) -> Events:
    chance = np.random.default_rng(seed)
    item = chance.integers(0, N_ITEMS, N)
    words = sp.csr_matrix(np.eye(N_ITEMS, N_WORDS))
    searches = Searches(np.array([0, 0, 5]), np.array([1.0, 50.0, 20.0]) * DAY_S, words[[2, 3, 4]])
    context = Context(
        {"device": chance.integers(-1, 3, N)},
        np.where(item == 4, np.nan, 2.0 ** (item + chance.integers(0, 2, N))),
        np.array([0, 0, 1, 1, 1, 2, 2, 2, UNKNOWN]),
        words,
        searches,
    )
    time_s = chance.uniform(0, 40, N) * DAY_S
    return Events(chance.integers(0, N_USERS, N), item, time_s, N_USERS, N_ITEMS, context)


def columns(events: Events) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Of every user and item by name, and who and what the rows are."""
    past, users = events.past(), np.arange(events.n_users)
    user, item = (index.ravel() for index in np.indices((events.n_users, events.n_items)))
    found = affinities(past.affinities, past, users, user, item)
    assert found.dtype == np.float32
    return dict(zip(AFFINITY_NAMES, found.T, strict=True)), user, item


def test_a_users_category_is_what_more_of_theirs_is_than_of_everybodys():
    events = world()
    found, user, item = columns(events)
    cells = {(int(u), int(i)) for u, i in zip(events.user, events.item, strict=True)}
    category = events.context.category
    usual = np.array([sum(category[i] == k for _, i in cells if category[i] >= 0) for k in range(3)])
    usual = usual / usual.sum()
    for u, i, value in zip(user, item, found["category_affinity"], strict=True):
        own = [category[j] for who, j in cells if who == u and category[j] >= 0]
        share = usual[category[i]]
        wanted = np.log((own.count(category[i]) + SMOOTHING * share) / ((len(own) + SMOOTHING) * share))
        assert value == pytest.approx(wanted, abs=1e-5) if category[i] >= 0 else np.isnan(value)
    lately = found["category_lately"].reshape(N_USERS, N_ITEMS)
    assert np.allclose(lately[:, [0, 2, 5]].sum(axis=1), 1, atol=1e-6)  # one item of each category


def test_a_price_is_compared_with_what_the_user_usually_pays():
    events = world()
    found, user, item = columns(events)
    logs = {i: np.log(events.context.price[events.item == i]).mean() for i in range(N_ITEMS)}
    for u, i, value in zip(user, item, found["price_above_usual"], strict=True):
        own = [logs[j] for j in set(events.item[events.user == u].tolist()) if j != 4]
        assert np.isnan(value) if i == 4 else value == pytest.approx(logs[i] - np.mean(own), abs=1e-4)


@pytest.mark.parametrize("name", ["device", "hour"])
def test_an_item_fits_where_it_is_taken_more_than_elsewhere(name):
    events = world()
    found, user, item = columns(events)
    code = {"device": events.context.circumstances["device"], "hour": (events.time_s % DAY_S // (3 * 3600)).astype(int)}
    weight = np.exp2(-(events.time_s.max() - events.time_s) / (FADING_DAYS * DAY_S))
    known = code[name] >= 0

    def total(who=None, which=None, slot=None):
        keep = known.copy()
        for wanted, values in ((who, events.user), (which, events.item), (slot, code[name])):
            keep &= True if wanted is None else values == wanted
        return weight[keep].sum()

    for u, i, value in zip(user, item, found[f"{name}_fit"], strict=True):
        wanted = 0.0
        for slot in np.unique(code[name][known]):
            lift = (total(which=i, slot=slot) * total() / total(slot=slot) + SMOOTHING) / (total(which=i) + SMOOTHING)
            wanted += total(who=u, slot=slot) / total(who=u) * np.log(lift)
        assert value == pytest.approx(wanted, abs=1e-5)


def test_recent_searches_fit_the_titles_they_name_and_none_is_known_before_it_is_made():
    events = world()
    found, _, _ = columns(events)
    fit, now = found["search_fit"].reshape(N_USERS, N_ITEMS), events.time_s.max()
    assert fit[0, 2] == pytest.approx(np.exp2(-(now - DAY_S) / (SEARCHED_DAYS * DAY_S)))
    assert fit[5, 4] == pytest.approx(np.exp2(-(now - 20 * DAY_S) / (SEARCHED_DAYS * DAY_S)))
    assert np.count_nonzero(fit) == 2  # the search of day 50 comes later


def test_without_a_context_nothing_is_known():
    found, _, _ = columns(replace(world(), context=None))
    for name, values in found.items():
        assert np.isnan(values).all() if name[:5] in ("categ", "price") else not values.any()


def test_nothing_after_a_cut_says_anything_of_what_is_before_it():
    events, cut_s = world(), 30 * DAY_S
    late = events.time_s >= cut_s
    moved = replace(
        events,
        item=np.where(late, 0, events.item),
        context=replace(
            events.context,
            price=np.where(late, 99.0, events.context.price),
            circumstances={"device": np.where(late, 2, events.context.circumstances["device"])},
        ),
    )
    ours, theirs = (split(one, cut_s)[0] for one in (events, moved))
    for side in ("users", "items"):
        known, expected = (getattr(one.affinities, side) for one in (ours, theirs))
        assert set(known) == set(expected)
        for name, vectors in known.items():
            assert np.array_equal(vectors, expected[name], equal_nan=True), name


def test_the_most_frequent_values_have_slots_of_their_own_and_the_rest_share_the_last():
    codes = np.repeat(np.arange(12), np.arange(12, 0, -1))
    found = slots(np.append(codes[::-1], UNKNOWN))
    assert found[-1] == UNKNOWN
    assert [found[:-1][codes[::-1] == code][0] for code in range(12)] == [*range(N_SLOTS - 1), *[N_SLOTS - 1] * 5]
    assert slots(np.array([5, 3])).tolist() == [1, 0]  # of equals the lower first


def test_some_of_the_events_keep_what_stands_beside_them():
    events = world()
    keep = (events.user % 3 == 1) & (events.item > 2)
    dense, users, items = events.dense(keep)
    assert users[dense.user].tolist() == events.user[keep].tolist()
    assert items[dense.item].tolist() == events.item[keep].tolist()
    assert dense.context.price.tolist() == pytest.approx(events.context.price[keep].tolist(), nan_ok=True)
    assert dense.context.category.tolist() == events.context.category[items].tolist()
    assert dense.context.searches.user.tolist() == []
    kept, users, _ = events.dense(events.user != 2)
    assert users[kept.context.searches.user].tolist() == [0, 0, 5]


# out of tables


def test_a_context_is_read_off_events_items_and_users():
    told = [
        {"user_id": "a", "item_id": "i2", "device": "mobile", "country": None, "price": 3.5},
        {"user_id": "b", "item_id": "i1", "device": None, "country": None, "price": None},
        {"user_id": "a", "item_id": None, "kind": "search", "query": "Red TEA pot", "event_time": at(9)},
        {"user_id": None, "item_id": None, "kind": "search", "query": "red"},
        {"user_id": "zz", "item_id": None, "kind": "search", "query": "red"},
    ]
    items = rows(
        "items",
        {"item_id": "i1", "title": "A red teapot", "category": "tea", "price": 8.0},
        {"item_id": "i3", "title": "Nobody's", "category": "toys", "price": 1.0},
    )
    users = rows("users", {"user_id": "b", "age_band": "20-29"})
    known = positive_events(rows("events", *told), rows("event_weights", {}), items, users)
    context, events = known.events.context, known.events
    by_item = {known.item_ids[item]: place for place, item in enumerate(events.item)}
    assert context.price[[by_item["i1"], by_item["i2"]]].tolist() == [8.0, 3.5]
    assert context.category.tolist() == [0, UNKNOWN]
    assert {name: sorted(code.tolist()) for name, code in context.circumstances.items()} == {
        "device": [UNKNOWN, 0],
        "age_band": [UNKNOWN, 0],
    }
    assert known.user_ids[context.searches.user].tolist() == ["a"]
    assert context.searches.time_s.tolist() == [at(9).timestamp()]
    shared = (context.searches.words @ context.words.T).toarray()
    assert shared[0, 0] > 0.3  # red and tea
    assert shared[0, 1] == 0  # nothing is written of i2


def test_without_items_and_users_only_events_speak():
    taken = rows("events", {"price": 2.0}).select(["device", "country", "price"])
    searches = rows("events").select(["user_id", "event_time", "query"])
    context = context_of(taken, *np.zeros((2, 1), int), searches, np.array(["u1"]), np.array(["i1"]))
    assert (context.price.tolist(), context.category.tolist(), context.words.nnz) == ([2.0], [UNKNOWN], 0)
    assert isinstance(taken, pa.Table)
