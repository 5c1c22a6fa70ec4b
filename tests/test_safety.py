"""What an answer may hold, by itself: properties over random ladders, then each rule by example."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from schemas.catalogue import ABSENT
from schemas.codec import Slate
from serving.ladder import PROMOTED, Rung, generations, tier_of
from serving.safety import Rules, select

N_ITEMS = 31
ITEMS = st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=12)
SETS = st.sets(st.integers(0, N_ITEMS - 1))
CAPS = st.integers(0, 3)
PROMOTIONS = st.lists(st.tuples(st.integers(1, 12), st.lists(st.integers(0, N_ITEMS - 1), max_size=3)), max_size=4)


def rung(tier, items):
    n = len(items)
    return Rung(tier, f"surface {tier}", "a generation", Slate(items, [1.0] * n, ["als"] * n, [-1] * n))


def category(item):
    return ABSENT if item % 7 == 0 else item % 3


@st.composite
def requests(draw, promotions=PROMOTIONS, caps=CAPS):
    """Rungs, leftovers, rules and the items that are eligible."""
    lists, leftovers = draw(st.lists(ITEMS, max_size=4)), draw(ITEMS)
    away, outside = draw(SETS), draw(st.none() | SETS)
    blocked = {reason: draw(SETS) for reason in draw(st.sets(st.sampled_from(["seen", "recent", "excluded", "own"])))}
    rules = Rules(
        n=draw(st.integers(1, 30)),
        available=lambda item: item not in away,
        blocked=blocked,
        allowed=None if outside is None else lambda item: item not in outside,
        promoted=draw(promotions),
        max_per_category=draw(caps),
        category=category,
    )
    eligible = set(range(N_ITEMS)) - away - (outside or set()) - set().union(*blocked.values())
    return [rung(f"tier{k}", items) for k, items in enumerate(lists)], leftovers, rules, eligible


@hypothesis_settings(deadline=None, max_examples=300)
@given(requests())
def test_nothing_blocked_nothing_twice_and_never_too_few(request):
    rungs, leftovers, rules, eligible = request
    told = []
    picks = select(iter(rungs), rules, lambda: leftovers, told)
    got = [item for item, _, _ in picks]
    listed = {item for one in rungs for item in one.slate.items} | set(leftovers)
    promotable = {item for place, items in rules.promoted if place <= rules.n for item in items}
    reachable = len(listed & eligible)
    assert set(got) <= eligible & (listed | promotable)
    assert len(got) == len(set(got)) <= rules.n
    assert len(got) >= min(rules.n, reachable)
    assert got == [item for item, _, _ in select(iter(rungs), rules, lambda: leftovers)]  # telling changes nothing
    for one in told:
        assert one.gave == sum(rung is one.rung for _, _, rung in picks)
        assert one.gave + sum(one.dropped.values()) <= len(one.rung.slate.items)


@hypothesis_settings(deadline=None, max_examples=200)
@given(requests(promotions=st.just([]), caps=st.just(0)))
def test_without_promotions_and_cap_the_order_is_that_of_the_rungs(request):
    rungs, leftovers, rules, eligible = request
    picks = select(iter(rungs), rules, lambda: leftovers)
    in_order = [item for items in (*(one.slate.items for one in rungs), leftovers) for item in items]
    assert [item for item, _, _ in picks] == [item for item in dict.fromkeys(in_order) if item in eligible][: rules.n]
    assert generations(picks) == {rung.surface: "a generation" for _, _, rung in picks if rung.generation}


@hypothesis_settings(deadline=None, max_examples=200)
@given(requests(caps=st.just(0)))
def test_promotions_stand_in_their_places_and_move_nothing_else(request):
    rungs, leftovers, rules, eligible = request
    picks = select(iter(rungs), rules, lambda: leftovers)
    promoted = {rank: item for rank, (item, _, rung) in enumerate(picks, 1) if rung is PROMOTED}
    wanted, used = {}, set()
    for place, items in rules.promoted:
        fit = [item for item in items if item in eligible and item not in used]
        if place <= rules.n and place not in wanted and fit:
            wanted[place] = fit[0]
            used.add(fit[0])
    assert list(promoted.values()) == [wanted[place] for place in sorted(wanted)]
    assert all(rank <= place for rank, place in zip(promoted, sorted(wanted), strict=True))  # never further down
    if len(picks) == rules.n:
        assert promoted == wanted
    plain = select(
        iter(rungs), rules._replace(promoted=(), blocked={**rules.blocked, "promoted": used}), lambda: leftovers
    )
    rest = [item for item, _, rung in picks if rung is not PROMOTED]
    assert rest == [item for item, _, _ in plain][: len(rest)]


@hypothesis_settings(deadline=None, max_examples=200)
@given(requests(promotions=st.just([]), caps=st.integers(1, 3)))
def test_the_cap_holds_while_others_remain(request):
    rungs, _, rules, eligible = request
    picks = select(iter(rungs), rules)
    firsts, counts = [], {}
    for item in dict.fromkeys(item for one in rungs for item in one.slate.items if item in eligible):
        counts[category(item)] = counts.get(category(item), 0) + 1
        if category(item) == ABSENT or counts[category(item)] <= rules.max_per_category:
            firsts.append(item)
    assert [item for item, _, _ in picks][: len(firsts)] == firsts[: rules.n]


def test_lower_rungs_are_not_looked_at_when_not_needed():
    def rungs():
        yield rung("personal", [1, 2])
        pytest.fail("looked further than needed")

    assert [item for item, _, _ in select(rungs(), Rules(2, lambda idx: True))] == [1, 2]


def test_it_tells_who_gave_what_and_why_the_rest_did_not_come():
    rules = Rules(
        n=5,
        available=lambda item: item != 2,
        blocked={"seen": {3}, "excluded": [4]},
        allowed=lambda item: item != 5,
        promoted=[(2, [3, 9]), (2, [8]), (7, [8])],
        max_per_category=1,
        category=lambda item: item // 10,
    )
    told = []
    picks = select([rung("personal", [1, 2, 3, 4, 5, 6, 9]), rung("global_trending", [1, 6, 11, 12])], rules, told=told)
    # 9 is promoted to place 2 and fills its category (0), so 1 and 6 are held back, and 12 behind 11
    assert [item for item, _, _ in picks] == [11, 9, 1, 6, 12]
    assert [(one.rung.tier, one.gave, dict(one.dropped)) for one in told] == [
        ("personal", 2, {"unavailable": 1, "seen": 1, "excluded": 1, "filtered": 1, "repeated": 1}),
        ("global_trending", 2, {"repeated": 2}),
    ]
    assert tier_of(picks) == "global_trending"
    assert tier_of(picks[1:2]) == "copy"
