"""Business rules: what each one does to a literal list, and what none of them may do to any list."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_settings import UNITS, documented

from conf.rules import SHIPPED, Promotion, Rules, laid_over, load_rules, read_toml
from conf.settings import SettingsError
from jobs.kernels.rules.apply import apply_rules, falling
from jobs.kernels.rules.context import Catalogue, Context, User, build_context
from jobs.kernels.rules.eligible import among, comes_back
from jobs.kernels.rules.explore import chances, draw, lot

AS_OF = datetime(2026, 1, 11, tzinfo=UTC)
MODEL, PROMOTION = 0, 4
N_ITEMS = 12  # 0 to 3 are of category a, 4 to 7 of b, 8 to 11 of c
JANUARY = {"from": datetime(2026, 1, 1, tzinfo=UTC), "until": datetime(2026, 2, 1, tzinfo=UTC)}


def indices(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def catalogue(new=(), unavailable=(), **override) -> Catalogue:
    created = np.full(N_ITEMS, np.datetime64("NaT", "us"))
    created[list(new)] = np.datetime64("2026-01-10")
    base = Catalogue(
        index_of={f"i{k}": k for k in range(N_ITEMS)},
        available=~np.isin(np.arange(N_ITEMS), list(unavailable)),
        category=np.repeat(indices(0, 1, 2), 4),
        category_names=("a", "b", "c"),
        created=created,
    )
    return replace(base, **override)


def context(n: int = 10, items: Catalogue | None = None, **rules) -> Context:
    checked = Rules(**laid_over(read_toml(SHIPPED), rules))
    return build_context(checked, items or catalogue(), AS_OF, n, PROMOTION)


def person(**lists) -> User:
    base = {"user_id": "u1"}
    return User(**base | {k: indices(*v) if isinstance(v, list) else v for k, v in lists.items()})


def slate(items: list[int], rules: Context, user: User | None = None, scores: list[float] | None = None) -> dict:
    """The slate as lists; scores fall from 1 by tenths when not given, because_of is the item + 100."""
    scores = scores or [1 - k / 10 for k in range(len(items))]
    columns = indices(*items), np.array(scores, np.float32), np.full(len(items), MODEL, np.int8), indices(*items) + 100
    parts = apply_rules(*columns, user or person(), rules)
    assert [part.dtype for part in parts] == [np.int32, np.float32, np.int8, np.int32, np.float32]
    names = ("items", "scores", "sources", "because_of", "propensities")
    return {name: part.tolist() for name, part in zip(names, parts, strict=True)}


def shown(*args, **more) -> list[int]:
    return slate(*args, **more)["items"]


# neutral


def test_neutral_rules_change_nothing():
    made = slate([5, 0, 9, 1], context(n=3), scores=[0.5, 0.25, 0.25, 0.125])
    assert made == {
        "items": [5, 0, 9],
        "scores": [0.5, 0.25, 0.25],
        "sources": [MODEL] * 3,
        "because_of": [105, 100, 109],
        "propensities": [1.0] * 3,
    }


@pytest.mark.parametrize("rules", [{}, {"diversity": {"max_per_category": 9}}])
def test_order_is_score_then_item_whatever_comes_in(rules):
    assert shown([9, 3, 5, 1], context(**rules), scores=[0.5, 0.5, 0.25, 1.0]) == [1, 3, 9, 5]
    assert shown([7, 2, 7], context(**rules), scores=[0.25, 0.5, 1.0]) == [7, 2]  # once, with its best score
    assert shown([], context(**rules)) == []


# who may be shown what


@pytest.mark.parametrize(
    ("items", "user", "left"),
    [
        (catalogue(unavailable=[5]), person(), [0, 9, 1]),
        (catalogue(), person(blocked=[0, 1]), [5, 9]),
        (catalogue(), person(seen=[9, 11], bought_days=[-1, -1]), [5, 0, 1]),
        (catalogue(owner=np.array([""] * 5 + ["u1", "u2"] + [""] * 5)), person(), [0, 9, 1]),
        (catalogue(owner=np.array([""] * 5 + ["u1", "u2"] + [""] * 5)), person(user_id="u2"), [5, 0, 9, 1]),
        (catalogue(unavailable=[5, 0]), person(blocked=[9], seen=[1], bought_days=[3]), []),
    ],
    ids=["unavailable", "blocked", "seen", "own", "another's", "all out"],
)
def test_what_may_not_be_shown_is_not(items, user, left):
    assert shown([5, 0, 9, 1], context(items=items), user) == left


@pytest.mark.parametrize(
    ("rebuy", "left"),
    [
        # item 0 (a) bought 29 days ago, 1 (a) 30 days ago, 2 (a) only viewed, 4 (b) bought 300 days ago; 9 is unknown
        ({"categories": []}, [9]),
        ({"categories": ["a"]}, [1, 9]),
        ({"categories": ["a"], "after_days": 29}, [0, 1, 9]),
        ({"categories": ["a"], "after_days": 0}, [0, 1, 9]),
        ({"categories": ["b"], "after_days": 301}, [9]),
        ({"categories": ["*"]}, [1, 4, 9]),
        ({"categories": ["A"]}, [9]),
    ],
)
def test_bought_items_come_back_where_the_category_allows(rebuy, left):
    user = person(seen=[0, 1, 2, 4], bought_days=[29, 30, -1, 300])
    rules = context(rebuy=rebuy)
    assert shown([0, 1, 2, 4, 9], rules, user) == left
    assert user.seen[comes_back(user, rules)].tolist() == left[:-1]  # what the published seen list must leave out


# diversity


@pytest.mark.parametrize(
    ("cap", "window", "candidates", "expected"),
    [
        # b: 4 5; a: 0 1 2 3; c: 8
        (1, 3, [0, 1, 4, 2, 5, 8], [0, 4, 8, 1, 2, 5]),
        (2, 3, [0, 1, 2, 4, 5, 8], [0, 1, 4, 2, 5, 8]),
        (1, 2, [0, 1, 4, 2, 5, 8], [0, 4, 1, 2, 5, 8]),
        (1, 6, [0, 1, 4, 2, 5], [0, 4, 1, 2, 5]),  # two categories for six places: the rest fills up in order
        (2, 20, [0, 1, 2, 3], [0, 1, 2, 3]),
        (0, 3, [0, 1, 2, 4], [0, 1, 2, 4]),
    ],
)
def test_no_category_fills_the_window(cap, window, candidates, expected):
    rules = context(diversity={"max_per_category": cap, "window": window})
    made = slate(candidates, rules)
    assert made["items"] == expected
    assert made["scores"] == slate(candidates, context())["scores"]  # handed out by place
    assert made["because_of"] == [item + 100 for item in expected]  # reasons move with their items


def test_items_without_a_category_are_not_capped():
    items = catalogue(category=np.full(N_ITEMS, -1, np.int32))
    assert shown([3, 1, 2], context(items=items, diversity={"max_per_category": 1})) == [3, 1, 2]
    items = catalogue(category=np.array([-1] * 4 + [1] * 8, np.int32))
    # stretched scores 1, .5, 0: 3 is like nothing, so 1 has .25 left against 0 for 4
    assert shown([3, 1, 4], context(items=items, diversity={"mmr_lambda": 0.5})) == [3, 1, 4]


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        # scores 1.0 .9 .8 .7 stretch to 1, 2/3, 1/3, 0; likeness is 1 within a category
        # 0.5: 0 first; 1: .333 - .5, 2: .167 - .5, 4: 0 → 4; then 1 before 2
        (0.5, [0, 4, 1, 2]),
        # 0.9: 1: .6 - .1, 2: .3 - .1, 4: 0
        (0.9, [0, 1, 2, 4]),
        # 0.55: 1: .367 - .45 < 0 → 4; 0.65: 1: .433 - .35 > 0 → 1; 2: .217 - .35 < 0 → 4
        (0.55, [0, 4, 1, 2]),
        (0.65, [0, 1, 4, 2]),
        (0.0, [0, 4, 1, 2]),
        (1.0, [0, 1, 2, 4]),
    ],
)
def test_mmr_by_category(weight, expected):
    assert shown([0, 1, 2, 4], context(diversity={"mmr_lambda": weight})) == expected


def test_mmr_remembers_all_that_is_above():
    # stretched scores 1, .75, .5, .25, 0; after 0 and 4: 1: .25 - .5, 5: .125 - .5, 8: 0
    assert shown([0, 4, 1, 5, 8], context(diversity={"mmr_lambda": 0.5})) == [0, 4, 8, 1, 5]


def test_mmr_by_cosine():
    vectors = np.zeros((N_ITEMS, 2), np.float32)
    vectors[[0, 1, 2]] = [[2, 0], [3, 3], [0, 5]]  # lengths do not count; 3 has no vector
    rules = context(diversity={"mmr_lambda": 0.5, "similarity": "cosine"}, items=catalogue(vectors=vectors), n=10)
    # stretched scores 1 (0), 2/3 (1), 1/3 (2), 0 (3); after 0: 1: .333 - .5 · .7071 = -.020; 2: .167; 3: 0 → 2
    # then 1: .333 - .5 · .7071 = -.020; 3: 0 → 3
    assert shown([0, 1, 2, 3], rules) == [0, 2, 3, 1]


def test_mmr_reorders_the_head_and_leaves_the_tail_to_the_cap():
    rules = {"mmr_lambda": 0.5, "max_per_category": 1, "window": 3}
    # MMR picks 0, 4 (b), then 1 as the first of a again; the cap holds 1 back for 8 (c)
    assert shown([0, 1, 4, 5, 8], context(n=3, diversity=rules), scores=[1, 0.99, 0.5, 0.4, 0.0]) == [0, 4, 8]


def test_equal_scores_keep_their_order_under_mmr():
    assert shown([0, 1, 4, 5], context(diversity={"mmr_lambda": 0.5}), scores=[1.0] * 4) == [0, 4, 1, 5]


def test_cosine_needs_vectors():
    with pytest.raises(ValueError, match="'cosine': no item vectors were given; allowed: 'category'"):
        context(diversity={"mmr_lambda": 0.5, "similarity": "cosine"})


# promotions


def promotion(**override) -> dict:
    base = JANUARY | {"items": ["i9"], "slot": 2}
    return {key: value for key, value in (base | override).items() if value is not None}


@pytest.mark.parametrize(
    ("promotions", "expected", "promoted"),
    [
        ([promotion()], [0, 9, 1, 4, 5], {9}),
        ([promotion(items=["i5"], slot=1)], [5, 0, 1, 4], {5}),
        ([promotion(items=["i8", "i4"])], [0, 4, 1, 5], {4}),  # a candidate goes before what is merely listed
        ([promotion(items=["i8", "i10"])], [0, 8, 1, 4, 5], {8}),
        ([promotion(items=None, category="b", slot=1)], [4, 0, 1, 5], {4}),
        ([promotion(items=None, category="c", slot=1)], [0, 1, 4, 5], set()),  # no candidate of c
        ([promotion(items=None, category="z", slot=1)], [0, 1, 4, 5], set()),
        ([promotion(items=["none"])], [0, 1, 4, 5], set()),
        ([promotion(slot=9)], [0, 1, 4, 5, 9], {9}),  # the list ends before its place
        ([promotion(slot=11)], [0, 1, 4, 5], set()),  # beyond n = 10
        ([promotion(), promotion(items=["i8"])], [0, 9, 1, 4, 5], {9}),  # the first gets the place
        ([promotion(items=["none"]), promotion(items=["i8"])], [0, 8, 1, 4, 5], {8}),
        ([promotion(), promotion(slot=3)], [0, 9, 1, 4, 5], {9}),  # an item is pinned once
        ([promotion(items=["i4"]), promotion(items=["i4", "i8"], slot=3)], [0, 4, 8, 1, 5], {4, 8}),
        # scores 1.0 .9 .8 .7; 0.7 · 1.5 = 1.05
        ([promotion(items=["i5"], slot=None, boost=1.5)], [5, 0, 1, 4], {5}),
        ([promotion(items=None, category="b", slot=None, boost=1.2)], [0, 4, 1, 5], {4, 5}),  # .96 and .84
        ([promotion(items=["i9"], slot=None, boost=1.5)], [0, 1, 4, 5], set()),  # no candidate, no score
        # the highest of several: 0.7 · 1.3 = .91, not .7 · 1.3 · 1.2 = 1.09
        ([promotion(items=["i5"], slot=None, boost=b) for b in (1.3, 1.2)], [0, 5, 1, 4], {5}),
        ([promotion(items=["i5"], slot=None, boost=1.5), promotion(items=["i1"], slot=1)], [1, 5, 0, 4], {1, 5}),
        ([promotion(country="FR")], [0, 9, 1, 4, 5], {9}),
        ([promotion(country="DE")], [0, 1, 4, 5], set()),
        ([promotion(until=AS_OF)], [0, 1, 4, 5], set()),
        ([promotion(**{"from": AS_OF})], [0, 9, 1, 4, 5], {9}),
        ([promotion(**{"from": datetime(2026, 1, 11, 0, 0, 1, tzinfo=UTC)})], [0, 1, 4, 5], set()),
    ],
)
def test_promotions(promotions, expected, promoted):
    made = slate([0, 1, 4, 5], context(promotion=promotions), person(country="FR"))
    assert made["items"] == expected
    assert {k for k, source in zip(made["items"], made["sources"], strict=True) if source == PROMOTION} == promoted
    reasons = {k: k + 100 if k in (0, 1, 4, 5) else -1 for k in expected}
    assert made["because_of"] == [reasons[k] for k in expected]


@pytest.mark.parametrize(
    ("items", "user"),
    [
        (catalogue(unavailable=[9, 1]), person()),
        (catalogue(), person(blocked=[9, 1])),
        (catalogue(), person(seen=[1, 9], bought_days=[-1, 40])),
        (catalogue(owner=np.array(["", "u1"] + [""] * 7 + ["u1", "", ""])), person()),
    ],
    ids=["unavailable", "blocked", "seen", "own"],
)
def test_a_promotion_shows_nobody_what_they_may_not_see(items, user):
    rules = [promotion(items=["i9", "i1"], slot=1), promotion(items=["i1"], slot=None, boost=9.0)]
    made = slate([0, 1, 4], context(items=items, promotion=rules), user)
    assert (made["items"], made["sources"]) == ([0, 4], [MODEL] * 2)


def test_a_pinned_item_takes_the_score_above_and_moves_nobodys_down():
    made = slate([0, 1, 4], context(promotion=[promotion()]), scores=[0.5, 0.25, 0.125])
    assert (made["items"], made["scores"]) == ([0, 9, 1, 4], [0.5, 0.5, 0.25, 0.125])
    made = slate([0, 1], context(promotion=[promotion(slot=1)]), scores=[0.5, 0.25])
    assert (made["items"], made["scores"]) == ([9, 0, 1], [0.5, 0.5, 0.25])
    assert slate([], context(promotion=[promotion()]))["scores"] == [0.0]
    # pinned from the end to the top: 0.125 is the last place's now
    made = slate([0, 1, 4], context(promotion=[promotion(items=["i4"], slot=1)]), scores=[0.5, 0.25, 0.125])
    assert (made["items"], made["scores"]) == ([4, 0, 1], [0.5, 0.25, 0.125])


def test_a_boost_lifts_scores_below_zero_too():
    boost = [promotion(items=["i1"], slot=None, boost=2.0)]
    made = slate([0, 1], context(promotion=boost), scores=[-0.5, -1.0])  # -1 + (2 - 1) · 1 = 0
    assert (made["items"], made["scores"]) == ([1, 0], [0.0, -0.5])


def test_pinned_items_count_for_the_cap_before_they_come():
    rules = context(promotion=[promotion(items=["i3"], slot=3)], diversity={"max_per_category": 1, "window": 3})
    assert shown([0, 1, 4, 8, 9], rules) == [4, 8, 3, 0, 1, 9]
    later = context(promotion=[promotion(items=["i3"], slot=4)], diversity={"max_per_category": 1, "window": 3})
    assert shown([0, 1, 4, 8, 9], later) == [0, 4, 8, 3, 1, 9]


def test_the_cap_does_not_move_a_pinned_item():
    both = [promotion(items=["i0"], slot=1), promotion(items=["i1"], slot=2)]
    rules = context(promotion=both, diversity={"max_per_category": 1, "window": 3})
    assert shown([2, 4, 0, 1], rules) == [0, 1, 4, 2]


def test_names_the_catalogue_lacks_are_told():
    rules = context(
        rebuy={"categories": ["b", "z"]},
        promotion=[promotion(items=["i1", "x"]), promotion(items=None, category="y"), promotion(until=AS_OF)],
    )
    assert rules.unknown == ("x", "y", "z")
    assert context(rebuy={"categories": ["*"]}).unknown == ()


# exploration


def exploring(n_slots=1, slots=(2,), **more) -> dict:
    return {"n_slots": n_slots, "slots": list(slots)} | more


@pytest.mark.parametrize(
    ("created", "days", "new"),
    [
        ("2026-01-11T00:00:00", 1, True),
        ("2026-01-10T00:00:00.000001", 1, True),
        ("2026-01-10T00:00:00", 1, False),
        ("2026-01-11T00:00:01", 1, False),  # not yet
        ("2026-01-01T00:00:00", 14, True),
        ("NaT", 365, False),
    ],
)
def test_what_is_new(created, days, new):
    dates = np.full(N_ITEMS, np.datetime64(created, "us"))
    rules = context(items=catalogue(created=dates), exploration=exploring(new_days=days))
    assert rules.new.tolist() == [new] * N_ITEMS


@pytest.mark.parametrize(
    ("scores", "temperature", "expected"),
    [
        ([0.6, 0.2], 0.0, [1 / 2, 1 / 2]),
        ([0.6, 0.2], 1.0, [3 / 4, 1 / 4]),
        ([0.6, 0.2], 2.0, [9 / 10, 1 / 10]),
        ([1.0, 0.0], 1.0, [1 / 1.001, 0.001 / 1.001]),  # the least weight
        ([1.0, -1.0], 1.0, [1 / 1.001, 0.001 / 1.001]),
        ([1.0, 0.0], 0.0, [1 / 2, 1 / 2]),
        ([-1.0, -2.0], 1.0, [1 / 2, 1 / 2]),
        ([0.3], 3.0, [1.0]),
    ],
)
def test_chances(scores, temperature, expected):
    np.testing.assert_allclose(chances(np.array(scores), temperature), expected, rtol=1e-12)


def test_the_number_falls_on_an_item():
    scores = np.array([0.6, 0.2, 0.2])  # 0 to .6, to .8, to 1
    numbers = [0.0, 0.599, 0.601, 0.799, 0.801, 1 - 2**-53]
    assert [draw(scores, 1.0, number)[0] for number in numbers] == [0, 0, 1, 1, 2, 2]
    assert draw(scores, 1.0, 0.7)[1] == pytest.approx(0.2)


def test_lots_are_even_and_repeat():
    lots = np.array([lot(f"u{k}", "2026-01-11", 5) for k in range(4000)])
    assert lots.min() >= 0
    assert lots.max() < 1
    assert np.histogram(lots, 10, (0, 1))[0].min() > 400 - 5 * 19  # sd √(4000 · .1 · .9) = 19
    assert lot("u1", "2026-01-11", 5) == lots[1]
    assert len({lots[1], lot("u1", "2026-01-12", 5), lot("u1", "2026-01-11", 6)}) == 3


def test_only_new_items_are_drawn_and_only_from_below_the_place():
    rules = context(items=catalogue(new=[0, 8, 9]), exploration=exploring(2, (2, 4)))
    for k in range(50):
        made = slate([0, 1, 4, 5, 8, 9], rules, person(user_id=f"u{k}"))
        first, second = made["items"][1], made["items"][3]
        assert {first, second} == {8, 9}  # 0 is first anyway: nobody draws it
        assert [k for k in made["items"] if k < 8] == [0, 1, 4, 5]
        # scores of 8 and 9 are .6 and .5
        assert made["propensities"][1] == pytest.approx({8: 6 / 11, 9: 5 / 11}[first])
        assert [p for k, p in enumerate(made["propensities"]) if k != 1] == [1.0] * 5  # who is left is sure to come


@pytest.mark.parametrize(
    "more",
    [
        {"items": catalogue(new=[])},
        {"items": catalogue(new=[8], unavailable=[8])},
        {"items": catalogue(new=[8]), "exploration": exploring(0)},
        {"items": catalogue(new=[0])},
        {"items": catalogue(new=[10])},  # no candidate
    ],
)
def test_without_new_items_the_place_is_an_ordinary_one(more):
    made = slate([0, 1, 4], context(**{"exploration": exploring()} | more))
    assert (made["items"], made["propensities"]) == ([0, 1, 4], [1.0] * 3)


def test_a_pinned_promotion_goes_before_exploration():
    rules = context(items=catalogue(new=[8]), exploration=exploring(), promotion=[promotion(items=["i4"])])
    assert shown([0, 1, 4, 8], rules) == [0, 4, 1, 8]


def test_exploration_heeds_the_cap():
    rules = context(
        n=4,
        items=catalogue(new=[1, 8]),
        exploration=exploring(),
        diversity={"max_per_category": 1, "window": 3},
    )
    for k in range(20):  # 1 is of a, as 0 is
        made = slate([0, 4, 1, 8], rules, person(user_id=f"u{k}"))
        assert (made["items"], made["propensities"]) == ([0, 8, 4, 1], [1.0] * 4)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
def test_draws_are_as_frequent_as_their_propensities_say(temperature):
    rules = context(items=catalogue(new=[4, 8, 9, 10]), exploration=exploring(2, (2, 3), temperature=temperature))
    candidates, n_users = [0, 1, 4, 8, 9, 10], 4000
    scores = dict(zip(candidates, (1 - k / 10 for k in range(6)), strict=True))
    weights = {k: scores[k] ** temperature for k in (4, 8, 9, 10)}
    drawn, told = Counter(), {}
    for k in range(n_users):
        made = slate(candidates, rules, person(user_id=f"u{k}"))
        first, second = made["items"][1:3]
        drawn[first] += 1
        drawn[first, second] += 1
        told[first], told[first, second] = made["propensities"][1:3]
    total = sum(weights.values())
    assert sum(told[k] for k in weights) == pytest.approx(1)
    for first in weights:
        assert told[first] == pytest.approx(weights[first] / total, rel=1e-5)
        rest = [k for k in weights if k != first]
        assert sum(told[first, k] for k in rest) == pytest.approx(1)  # given the place above
        for k in rest:
            assert told[first, k] == pytest.approx(weights[k] / (total - weights[first]), rel=1e-5)
            chance = told[first] * told[first, k]
            assert abs(drawn[first, k] - n_users * chance) < 5 * (n_users * chance * (1 - chance)) ** 0.5
        assert abs(drawn[first] - n_users * told[first]) < 5 * (n_users * told[first] * (1 - told[first])) ** 0.5


def test_a_night_draws_the_same_again_and_another_night_anew():
    rules = context(items=catalogue(new=[4, 8, 9, 10]), exploration=exploring())
    users = [person(user_id=f"u{k}") for k in range(50)]
    tonight = [slate([0, 1, 4, 8, 9, 10], rules, user) for user in users]
    assert tonight == [slate([0, 1, 4, 8, 9, 10], rules, user) for user in users]
    assert tonight != [slate([0, 1, 4, 8, 9, 10], replace(rules, as_of="another"), user) for user in users]


# properties

SOME = st.sets(st.integers(0, N_ITEMS - 1), max_size=5).map(sorted)
SHARES = st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0])


@st.composite
def campaigns(draw_from) -> dict:
    items = draw_from(st.lists(st.sampled_from([f"i{k}" for k in range(N_ITEMS)]), min_size=1, max_size=3))
    what = draw_from(st.sampled_from([{"items": items}, {"category": "a"}, {"category": "c"}]))
    slot = st.integers(1, 14).map(lambda k: {"slot": k})
    how = draw_from(slot | st.sampled_from([{"boost": 1.0}, {"boost": 3.0}]))
    return JANUARY | what | how


@st.composite
def rule_sets(draw_from, promotions: bool = True) -> dict:
    slots = draw_from(st.sets(st.integers(1, 14), max_size=4).map(sorted))
    return {
        "diversity": {
            "max_per_category": draw_from(st.integers(0, 3)),
            "window": draw_from(st.integers(1, 14)),
            "mmr_lambda": draw_from(SHARES),
            "similarity": draw_from(st.sampled_from(["category", "cosine"])),
        },
        "rebuy": {"categories": draw_from(st.sampled_from([[], ["a"], ["*"]]))},
        "exploration": exploring(len(slots), slots, temperature=draw_from(SHARES)),
        "promotion": draw_from(st.lists(campaigns(), max_size=3 if promotions else 0)),
    }


@st.composite
def nights(draw_from, rules=None) -> tuple[Context, User, list[int], list[float]]:
    """Rules, a user and candidates with scores, of which many are equal or below 0."""
    owner = np.array(draw_from(st.lists(st.sampled_from(["", "u1"]), min_size=N_ITEMS, max_size=N_ITEMS)))
    items = catalogue(
        new=draw_from(SOME),
        unavailable=draw_from(SOME),
        owner=owner if draw_from(st.booleans()) else None,
        vectors=np.random.default_rng(0).normal(size=(N_ITEMS, 3)).astype(np.float32),
        category=np.array(draw_from(st.lists(st.integers(-1, 2), min_size=N_ITEMS, max_size=N_ITEMS)), np.int32),
    )
    seen = draw_from(SOME)
    bought = draw_from(st.lists(st.sampled_from([-1, 3, 99]), min_size=len(seen), max_size=len(seen)))
    user = person(seen=seen, bought_days=bought, blocked=draw_from(SOME))
    candidates = draw_from(st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=N_ITEMS))
    scores = [draw_from(st.integers(-2, 8)) / 4 for _ in candidates]
    made = context(draw_from(st.integers(1, 14)), items, **draw_from(rule_sets() if rules is None else rules))
    return made, user, candidates, scores


def allowed(item: int, rules: Context, user: User) -> bool:
    """The oracle of who may be shown what."""
    bought = dict(zip(user.seen.tolist(), user.bought_days.tolist(), strict=True))
    again = rules.comes_back is not None and rules.comes_back[item] and bought.get(item, -1) >= 30
    own = rules.owner is not None and rules.owner[item] == user.user_id
    return bool(rules.available[item] and item not in user.blocked and not own and (item not in bought or again))


@settings(deadline=None, max_examples=500)
@given(nights())
def test_no_rule_breaks_a_promise(night):
    rules, user, candidates, scores = night
    made = slate(candidates, rules, user, scores)
    items = made["items"]
    assert all(allowed(item, rules, user) for item in items)
    assert len(set(items)) == len(items) <= rules.n
    eligible = {item for item in candidates if allowed(item, rules, user)}
    assert len(items) >= min(rules.n, len(eligible))
    for item, source, reason in zip(items, made["sources"], made["because_of"], strict=True):
        assert (reason == item + 100) if item in eligible else (reason, source) == (-1, PROMOTION)
    assert all(above >= below for above, below in pairwise(made["scores"]))
    explored = rules.rules.exploration.slots
    for place, (item, propensity) in enumerate(zip(items, made["propensities"], strict=True), 1):
        assert 0 < propensity <= 1
        assert propensity == 1 or (place in explored and rules.new[item])


@settings(deadline=None, max_examples=300)
@given(nights(), st.randoms())
def test_the_order_of_the_candidates_does_not_count(night, random):
    rules, user, candidates, scores = night
    pairs = random.sample(list(zip(candidates, scores, strict=True)), len(candidates))
    shuffled = slate([k for k, _ in pairs], rules, user, [s for _, s in pairs])
    assert shuffled == slate(candidates, rules, user, scores)


@settings(deadline=None)
@given(nights(rules=st.just({})))
def test_neutral_rules_are_the_model(night):
    rules, user, candidates, scores = night
    best = sorted(zip(candidates, scores, strict=True), key=lambda pair: (-pair[1], pair[0]))
    left = [(item, score) for item, score in best if allowed(item, rules, user)][: rules.n]
    made = slate(candidates, rules, user, scores)
    assert list(zip(made["items"], made["scores"], strict=True)) == left
    assert set(made["sources"]) <= {MODEL}
    assert set(made["propensities"]) <= {1.0}


@settings(deadline=None, max_examples=500)
@given(nights(rules=rule_sets(promotions=False)))
def test_the_cap_holds_while_there_are_categories_enough(night):
    rules, user, candidates, scores = night
    cap, window = rules.rules.diversity.max_per_category, rules.rules.diversity.window
    of = rules.category.tolist()
    there = Counter(of[item] for item in candidates if allowed(item, rules, user))
    head = slate(candidates, rules, user, scores)["items"][:window]
    within = sum(n if category == -1 or not cap else min(n, cap) for category, n in there.items())
    counts = Counter(of[item] for item in head if of[item] != -1)
    if cap and within >= len(head):
        assert max(counts.values(), default=0) <= cap


@settings(deadline=None, max_examples=300)
@given(nights(), st.integers(1, 14), st.integers(0, N_ITEMS - 1))
def test_a_pin_holds_its_place(night, slot, item):
    rules, user, candidates, scores = night
    pin = promotion(items=[f"i{item}"], slot=slot)
    first = context(promotion=[pin]).campaigns
    rules = replace(rules, campaigns=first + rules.campaigns)
    made = slate(candidates, rules, user, scores)
    if allowed(item, rules, user) and slot <= rules.n:
        place = made["items"].index(item) + 1
        assert place == slot or (place < slot and len(made["items"]) < slot)
        assert made["sources"][place - 1] == PROMOTION


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9)))
def test_membership(items, ids):
    assert among(indices(*items), indices(*ids)).tolist() == [item in ids for item in items]


@given(st.lists(st.integers(0, 9) | st.just(float("nan"))))
def test_scores_by_place_keep_the_scores_there_are(own):
    made = falling(np.array(own, np.float32)).tolist()
    assert made == sorted(made, reverse=True)
    assert set(made) == ({score for score in own if score == score} or set(own and [0.0]))


# configuration

FILE = SHIPPED.read_text()
EXAMPLE = "".join(line.removeprefix("# ") + "\n" for line in FILE[FILE.index("# [[promotion]]") :].splitlines())
DOCS = documented(FILE)
OPTIONS = [(name, key) for name in ("diversity", "rebuy", "exploration") for key in dict(getattr(load_rules(), name))]


@pytest.fixture
def rules_file(tmp_path):
    def write(content: str | bytes):
        path = tmp_path / "mine.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_the_file_names_every_option_and_nothing_else():
    assert set(DOCS) == set(OPTIONS)
    fields = {info.alias or name for name, info in Promotion.model_fields.items()}
    assert {key for _, key in documented(EXAMPLE)} == fields


@pytest.mark.parametrize(("section", "key"), OPTIONS)
def test_the_line_above_an_option_tells_its_meaning_unit_range_and_default(section, key):
    part = getattr(load_rules(), section)
    meaning, _, default = DOCS[section, key].rpartition(" Default: ")
    assert len(meaning) > 10
    value = getattr(part, key)
    assert {"none": (), "5, 10, 20": (5, 10, 20)}.get(default, default) == (
        value if type(value) is tuple else str(value)
    )
    bounds = {type(m).__name__: m for m in type(part).model_fields[key].metadata}
    if "Ge" in bounds:
        assert f" {bounds['Ge'].ge:g} to {bounds['Le'].le:g}." in DOCS[section, key]
    for suffix, unit in UNITS.items():
        if key.endswith(suffix):
            assert unit in meaning


def test_the_example_of_promotions_loads(rules_file):
    pin, boost = load_rules(rules_file(EXAMPLE)).promotion
    assert (pin.items, pin.slot, pin.country, pin.starts.isoformat()) == (
        ("A-1001", "A-1002"), 3, "FR", "2026-12-01T00:00:00+00:00")  # fmt: skip
    assert (boost.category, boost.boost, boost.slot, boost.country) == ("Coats", 1.5, None, None)


def test_a_file_overrides_what_it_repeats(rules_file):
    mine = load_rules(rules_file("[exploration]\nn_slots = 1\nslots = [4]\n[diversity]\nmmr_lambda = 0\n"))
    assert (mine.exploration.slots, mine.exploration.new_days, mine.diversity.mmr_lambda) == ((4,), 14, 0.0)
    assert mine.rebuy == load_rules().rebuy
    assert load_rules(rules_file("")) == load_rules()


def block(**override) -> str:
    base = {"items": "['a']", "from": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z", "slot": "1"} | override
    return "[[promotion]]\n" + "".join(f"{key} = {value}\n" for key, value in base.items() if value)


@pytest.mark.parametrize("until", ["2026-02-01T01:00:00+01:00", "'2026-02-01T01:00:00+01:00'", "'2026-02-01T00:00Z'"])
def test_times_are_toml_or_text(rules_file, until):
    assert load_rules(rules_file(block(until=until))).promotion[0].until == JANUARY["until"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[diversity]\nmax_per_category = -1\n", ["diversity.max_per_category = -1", "a whole number from 0 to 255"]),
        ("[diversity]\nmax_per_category = '3'\n", ["diversity.max_per_category = '3'", "a whole number from 0 to 255"]),
        ("[diversity]\nwindow = 0\n", ["diversity.window = 0", "a whole number from 1 to 255"]),
        ("[diversity]\nwindow = 2.0\n", ["diversity.window = 2.0", "a whole number from 1 to 255"]),
        ("[diversity]\nmmr_lambda = 1.5\n", ["diversity.mmr_lambda = 1.5", "a number from 0 to 1"]),
        ("[diversity]\nmmr_lambda = nan\n", ["diversity.mmr_lambda = nan", "a number from 0 to 1"]),
        ("[diversity]\nmmr_lambda = true\n", ["diversity.mmr_lambda = True", "a number from 0 to 1"]),
        ("[diversity]\nsimilarity = 'jaccard'\n", ["diversity.similarity = 'jaccard'", "category", "cosine"]),
        ("[diversity]\nwindows = 3\n", ["diversity.windows", "no such setting", "rules.toml"]),
        ("diversity = 3\n", ["diversity = 3", "rules.toml"]),
        ("[moon]\nphase = 1\n", ["moon", "no such setting", "rules.toml"]),
        ("[rebuy]\ncategories = 'coffee'\n", ["rebuy.categories = 'coffee'", "a list of category names"]),
        ("[rebuy]\ncategories = ['']\n", ["rebuy.categories.0 = ''", "a list of category names"]),
        ("[rebuy]\nafter_days = 3651\n", ["rebuy.after_days = 3651", "a whole number from 0 to 3650"]),
        ("[exploration]\nn_slots = 21\n", ["exploration.n_slots = 21", "a whole number from 0 to 20"]),
        ("[exploration]\nn_slots = 4\n", ["exploration", "n_slots = 4", "at most the 3 listed in slots"]),
        ("[exploration]\nslots = [0]\n", ["exploration.slots.0 = 0", "places from 1 to 255, rising"]),
        ("[exploration]\nslots = [5, 5]\n", ["exploration", "slots = [5, 5]", "places that rise"]),
        ("[exploration]\nslots = [6, 5]\n", ["exploration", "slots = [6, 5]", "places that rise"]),
        ("[exploration]\nnew_days = 0\n", ["exploration.new_days = 0", "a whole number from 1 to 365"]),
        ("[exploration]\ntemperature = 11\n", ["exploration.temperature = 11", "a number from 0 to 10"]),
        ("promotion = 3\n", ["promotion = 3", "rules.toml"]),
        ("promotion = [3]\n", ["promotion.0 = 3", "rules.toml"]),
        (block(until=""), ["promotion.0.until = (not given)", "an ISO time with its zone"]),
        (block(until="2026-02-01T00:00:00"), ["promotion.0.until", "an ISO time with its zone"]),
        (block(until="2026-02-01"), ["promotion.0.until", "an ISO time with its zone"]),
        (block(until="5"), ["promotion.0.until = 5", "an ISO time with its zone"]),
        (block(until="'soon'"), ["promotion.0.until = 'soon'", "an ISO time with its zone"]),
        (block(until="2026-01-01T00:00:00Z"), ["promotion.0", "until = 2026-01-01", "a time after from"]),
        (block(slot="0"), ["promotion.0.slot = 0", "from 1 to 255"]),
        (block(slot="", boost="0.5"), ["promotion.0.boost = 0.5", "from 1 to 100"]),
        (block(slot=""), ["promotion.0", "slot and boost", "exactly one"]),
        (block(boost="2.0"), ["promotion.0", "slot and boost", "exactly one"]),
        (block(category="'b'"), ["promotion.0", "items and category", "exactly one"]),
        (block(items=""), ["promotion.0", "items and category", "exactly one"]),
        (block(items="[3]"), ["promotion.0.items.0 = 3", "a list of item ids"]),
        (block(country="''"), ["promotion.0.country = ''"]),
        (block(starts="2026-01-01T00:00:00Z"), ["promotion.0.starts", "no such setting"]),
        (block() + block(slot="256"), ["promotion.1.slot = 256", "from 1 to 255"]),
        ("[diversity\n", ["not TOML", "line 1"]),
        (b"\xff\xfe", ["not TOML"]),
    ],
)
def test_wrong_rules_are_refused_with_key_value_and_what_is_allowed(rules_file, content, told):
    with pytest.raises(SettingsError) as refused:
        load_rules(rules_file(content))
    assert all(part in str(refused.value) for part in [*told, "mine.toml"]), str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.toml' cannot be read \(No such file or directory\); allowed"):
        load_rules(tmp_path / "none.toml")


def test_rules_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        load_rules().diversity.window = 3
