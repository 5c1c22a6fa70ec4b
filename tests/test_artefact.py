"""Signs of a broken fit and of a day not to be believed, by formula: on people of two crowds, and on small counts."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from jobs.kernels.arrivals import DAY_US, resent_statistics, traffic_statistics
from jobs.kernels.artefact import artefact_statistics, chance, ordered, popular_lists, signs_of
from jobs.kernels.recipe import sources
from jobs.kernels.recipe.choose import Choice
from jobs.kernels.recipe.grid import Setting
from jobs.kernels.recipe.labels import Events
from jobs.kernels.recipe.model import fit_model
from jobs.kernels.recipe.past import Past
from jobs.kernels.recipe.people import DAY_S
from jobs.kernels.recipe.probes import withhold
from jobs.kernels.recipe.recommend import Recipe

N_USERS, N_ITEMS = 120, 80
CHOSEN = {
    "als": Setting(sources.fit_als, {"factors": 8, "alpha": 4}),
    "bm25": Setting(sources.fit_bm25, {"k1": 1.2, "b": 0.8}),
}
RECIPE = Recipe(CHOSEN, Choice("fused", "popularity_30", ()), [])


@pytest.fixture(scope="module")
def crowds():
    """120 people take 14 of the 40 items of their own crowd over 60 days; the model, the people and the truth."""
    drawn = np.random.default_rng(3)
    rows = []
    for who in range(N_USERS):
        own = drawn.permutation(np.arange(who % 2, N_ITEMS, 2))[:14]
        rows += [(who, what, day * DAY_S) for what, day in zip(own, drawn.integers(0, 60, 14), strict=True)]
    user, item, time_s = np.array(rows).T
    events = Events(user.astype(int), item.astype(int), time_s, N_USERS, N_ITEMS)
    withheld = withhold(events, N_USERS, seed=0)
    past = Past(*(of[withheld.keep] for of in (events.user, events.item, events.time_s)), N_USERS, N_ITEMS)
    truth = sp.csr_matrix((np.ones(len(withheld.user)), (withheld.user, withheld.item)), (N_USERS, N_ITEMS))
    return fit_model(CHOSEN, past, past.now), past, truth


def with_source(model, name: str, **changes):
    return replace(model, sources={**model.sources, name: replace(model.sources[name], **changes)})


def test_a_sound_fit_is_above_popularity_and_knows_whose_is_whose(crowds):
    found = artefact_statistics(RECIPE, *crowds, seed=1)
    assert found["n_probes"] == N_USERS
    assert min(found["order_als"], found["order_bm25"]) > 0.85
    assert found["level_als"] < 0.5
    assert "level_bm25" not in found  # of vectors only
    assert found["ndcg_recipe"] > found["ndcg_popularity"]
    assert min(value for name, value in found.items() if name.startswith("gain_high_")) > 0
    assert artefact_statistics(RECIPE, *crowds, seed=1) == found


def test_of_shuffled_vectors_only_their_own_source_is_out_of_order(crowds):
    model, past, truth = crowds
    dealt = np.random.default_rng(0).permutation(N_USERS)
    broken = with_source(model, "als", users=model.sources["als"].users[dealt])
    found, sound = (artefact_statistics(RECIPE, of, past, truth, seed=1) for of in (broken, model))
    assert found["order_als"] == pytest.approx(0.5, abs=0.06)
    assert found["order_bm25"] == sound["order_bm25"]


def test_a_ranking_turned_round_is_significantly_worse_than_popularity_and_than_chance(crowds):
    model, past, truth = crowds
    turned = with_source(model, "als", users=-model.sources["als"].users)
    turned = with_source(turned, "bm25", weights=-model.sources["bm25"].weights)
    single = replace(RECIPE, choice=Choice("single", "score_als", ()))
    found = artefact_statistics(single, turned, past, truth, seed=1)
    assert found["gain_high_recipe"] < 0
    assert max(found["gain_high_als"], found["gain_high_bm25"]) < 0
    assert found["order_als"] < 0.1
    assert found["level_als"] == 1  # no score above 0


def test_scores_that_are_no_numbers_are_out_of_order(crowds):
    model, past, truth = crowds
    broken = with_source(model, "als", users=np.full_like(model.sources["als"].users, np.nan))
    found = artefact_statistics(RECIPE, broken, past, truth, seed=1)
    assert (found["order_als"], found["level_als"]) == (0, 1)
    assert all(np.isfinite(value) for value in found.values())


def test_popularity_and_loudness_are_no_order():
    """Two users, two items each; user 1 scores all eight times as high, items 2 and 3 are liked more by both."""
    own = sp.csr_matrix(np.array([[1, 1, 0, 0], [0, 0, 1, 1]]))
    alike = np.array([[1.0, 2, 3, 4], [8, 16, 24, 32]])
    pairs = np.array([0, 0, 1, 1]), np.array([0, 1, 2, 3])  # (0, 0) with (1, 2), (0, 1) with (1, 3)
    warm = np.ones(4, bool)
    assert ordered(alike, own, warm, *pairs).tolist() == [0.5, 0.5]
    mine = alike + np.array([[2, 0, 0, 0], [0, 0, 0, 0]])
    assert ordered(mine, own, warm, *pairs)[0] == 1
    shared = sp.csr_matrix(np.array([[1, 1, 1, 0], [0, 0, 1, 1]]))
    assert len(ordered(alike, shared, warm, *pairs)) == 1  # item 2 is both's


def test_users_with_one_item_are_not_asked_for_their_order():
    past = Past(np.array([0, 1, 2]), np.array([0, 1, 2]), np.arange(3.0), 3, 3)
    signs = signs_of(sources.ByFactors(np.eye(3), np.eye(3), {}), past.item_users > 0, past, seed=0)
    assert sum(map(len, signs.right)) == sum(n for _, n in signs.own) == 0
    assert signs.other == [(0, 6)]  # each scores the two others' items 0
    assert signs.lists[0].shape == (3, 3)


def test_with_few_probes_nothing_is_compared(crowds):
    model, past, truth = crowds
    few = truth.multiply(np.arange(N_USERS)[:, None] < 29).tocsr()
    few.eliminate_zeros()
    found = artefact_statistics(RECIPE, model, past, few, seed=1)
    assert found["n_probes"] == 29
    assert {name.partition("_")[0] for name in found} == {"n", "order", "level"}


def test_chance_is_the_mean_of_random_orders():
    """One user has item 0; of the four others two are relevant: 2/4 · Σ discounts of 4 places … over the best two."""
    past = Past(np.array([0, 1, 1, 1, 1]), np.arange(5), np.arange(5.0), 2, 5)
    truth = sp.csr_matrix(([1, 1], ([0, 0], [2, 3])), (2, 5))
    drawn = np.random.default_rng(0)
    discounts = 1 / np.log2(np.arange(2, 12))
    hits = np.array([np.isin(drawn.permutation([1, 2, 3, 4]), [2, 3]) for _ in range(20_000)])
    seen = (hits * discounts[:4]).sum(axis=1).mean() / discounts[:2].sum()
    expected = chance(past, np.ones(5, bool), truth)
    assert np.isnan(expected[1])
    assert expected[0] == pytest.approx(seen, rel=0.01)


def test_popular_lists_leave_out_what_is_owned(crowds):
    model, past, _ = crowds
    lists = popular_lists(model, past)
    assert lists.shape == (N_USERS, 10)
    assert not np.asarray(past.user_items[np.repeat(np.arange(N_USERS), 10), lists.ravel()]).any()


# what came in


def hourly(n_days: int, *hours: int, each: int = 10) -> np.ndarray:
    counted = np.zeros((n_days, 24), int)
    counted[:, list(hours)] = each
    return counted


def test_what_is_usual_is_told_by_the_days_before():
    counted = hourly(29, 9, 21)
    counted[3, [9, 21]] = 10, 0  # the least of them: 10 events, the last at 9
    found = traffic_statistics(counted)
    assert found == {
        "last_day_events": 20,
        "last_hour": 21,
        "fewest_expected": 10 * 10 / 20 / 2,
        "earliest_expected": 9 - (21 - 9) - 1,
    }


def test_too_few_days_tell_nothing_and_empty_days_do_not_count():
    assert traffic_statistics(hourly(14, 9)) == {"last_day_events": 10, "last_hour": 9}
    assert "fewest_expected" in traffic_statistics(hourly(15, 9))
    with_gaps = np.vstack([hourly(14, 9), np.zeros((14, 24), int), hourly(1, 3)])
    assert traffic_statistics(with_gaps)["earliest_expected"] == 8
    assert traffic_statistics(np.vstack([hourly(28, 9), np.zeros((1, 24), int)]))["last_day_events"] == 0
    long_ago = np.vstack([hourly(14, 9), np.zeros((28, 24), int), hourly(1, 3)])
    assert "fewest_expected" not in traffic_statistics(long_ago)


END_US = 100 * DAY_US


def of_days(*n_events: int) -> tuple[np.ndarray, np.ndarray]:
    """Content and time of as many different events, the last day first."""
    days = np.repeat(np.arange(len(n_events)), n_events)
    return np.arange(len(days), dtype=np.uint64) + np.uint64(1000), END_US - 1 - days * DAY_US - np.arange(len(days))


def test_events_at_the_same_moment_again_are_a_share_of_their_day():
    content, time_us = of_days(100, 100, 100, 100)
    assert resent_statistics(content, time_us, END_US) == {"resent_share": 0, "moved_share": 0}
    twice = np.r_[np.arange(400), np.arange(100, 200)]
    found = resent_statistics(content[twice], time_us[twice], END_US)
    assert found == {"resent_share": 0.5, "moved_share": 0}


def test_a_source_that_always_repeats_itself_is_judged_by_its_own_past():
    content, time_us = of_days(100, 100, 100, 100)
    always = np.r_[np.arange(400), np.arange(400)]
    assert resent_statistics(content[always], time_us[always], END_US)["resent_share"] == 0


def test_yesterday_as_if_it_were_today_is_a_share_of_the_last_day():
    content, time_us = of_days(100, 100, 100, 100)
    content, time_us = np.r_[content, content[100:200]], np.r_[time_us, time_us[100:200] + DAY_US]
    assert resent_statistics(content, time_us, END_US) == {"resent_share": 0, "moved_share": 0.5}


def test_of_a_quiet_day_few_repeats_are_a_small_share():
    content, time_us = of_days(4, 100, 100, 100)
    some = np.r_[np.arange(304), np.arange(4)]
    assert resent_statistics(content[some], time_us[some], END_US)["resent_share"] == 4 / 50


def test_no_events_at_all_are_no_repeats():
    assert resent_statistics(np.empty(0, np.uint64), np.empty(0, np.int64), END_US)["resent_share"] == 0
