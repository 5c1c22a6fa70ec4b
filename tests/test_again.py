"""The next basket: habits, personal frequency and truth against arithmetic, and a ranking that is never below them."""

from dataclasses import replace

import numpy as np
import pytest
from cheap_slates import CHEAP, cheap_slates, events_of

from conf.settings import load_settings
from jobs.kernels.basket_contest import basket_trial, compete_again, frequency, next_baskets
from jobs.kernels.peers import Method, popularity
from jobs.kernels.protocol import lists_of, quality_of
from jobs.kernels.recipe.again import FEWEST_TAKEN, again, by_habit, chosen_form, labeled, woven
from jobs.kernels.recipe.habits import CELL_NAMES, OF_ITEM_NAMES, OF_USER_NAMES, baskets_of, habits, medians
from jobs.kernels.recipe.labels import Events, Labels
from jobs.kernels.recipe.past import Past
from jobs.kernels.recipe.people import DAY_S
from jobs.kernels.recipe.ranker import Labeled
from jobs.kernels.resample import compare
from jobs.sources.load import load_description
from jobs.sources.positives import read_positives

#          user  item  day; user 0 takes item 0 on days 1, 3 and 7 (twice), item 1 on 3; user 1 takes 1 and 2 on 9
EVENTS = ((0, 0, 1), (0, 0, 3), (0, 1, 3), (0, 0, 7), (0, 0, 7), (1, 1, 9), (1, 2, 9))
LATE = ((0, 0, 12), (0, 2, 12), (0, 1, 13), (1, 3, 12), (1, 1, 14), (2, 0, 12))  # user 2 and item 3 are cold


def arrays(rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    user, item, day = np.array(rows).T
    return user, item, day * DAY_S


def past_of(rows=EVENTS, n_users: int = 3, n_items: int = 4) -> Past:
    return Past(*arrays(rows), n_users, n_items)


def test_a_basket_is_a_users_day():
    found = baskets_of(past_of())  # cells: (0, 0), (0, 1), (1, 1), (1, 2)
    assert found.cell.tolist() == [0, 0, 0, 1, 2, 3]
    assert found.day.tolist() == [0, 2, 6, 2, 8, 8]  # since the first event's
    assert found.age.tolist() == [2, 1, 0, 1, 0, 0]
    assert found.n.tolist() == [3, 1, 0]
    assert found.gap.tolist() == pytest.approx([3, np.nan, np.nan], nan_ok=True)
    assert found.since_first.tolist() == [3, 2, 1, 1]


def test_habits_are_counts_gaps_and_shares():
    found = habits(past_of())
    cell = dict(zip(CELL_NAMES, found.cells.T.tolist(), strict=True))
    assert cell["n_baskets"] == [3, 1, 1, 1]
    assert cell["n_events"] == [4, 1, 1, 1]
    assert cell["since"] == [2, 6, 0, 0]
    assert cell["gap"] == pytest.approx([3, np.nan, np.nan, np.nan], nan_ok=True)
    assert cell["overdue"][0] == pytest.approx(2 / 3)
    assert cell["overdue_for_item"][0] == pytest.approx(2 / 4)  # gaps of item 0 are 2 and 4, the upper median is 4
    assert cell["share"] == pytest.approx([1, 1 / 3, 1, 1])
    assert cell["share_since_first"] == pytest.approx([1, 1 / 2, 1, 1])
    assert cell["baskets_since"] == [0, 1, 0, 0]
    assert cell["fading_7"][0] == pytest.approx(2 ** (-8 / 7) + 2 ** (-6 / 7) + 2 ** (-2 / 7))
    assert cell["fading_baskets"][0] == pytest.approx(2 ** (-2 / 3) + 2 ** (-1 / 3) + 1)
    item = dict(zip(OF_ITEM_NAMES, found.items.T.tolist(), strict=True))
    assert item["again_of_item"] == pytest.approx([1.5 / 3, 0.5 / 4, 0.5 / 3, 0.5 / 2])
    assert item["baskets_of_item"] == [3, 1, 1, 0]
    assert item["gap_of_item"] == pytest.approx([4, np.nan, np.nan, np.nan], nan_ok=True)
    user = dict(zip(OF_USER_NAMES, found.users[:2].T.tolist(), strict=True))
    assert user["again_of_user"] == [0.5, 0]
    assert user["overdue_of_user"] == pytest.approx([2 / 3, np.nan], nan_ok=True)


def test_medians_are_upper_and_unknown_without_values():
    found = medians(np.array([2, 0, 2, 2, 2, 0]), np.array([9, 5, 1, 3, 7, 6]), 4)
    assert found == pytest.approx([6, np.nan, 7, np.nan], nan_ok=True)


def test_personal_frequency_counts_baskets_and_fills_up_with_what_is_popular():
    scores = frequency(past_of())(np.array([0, 1]))
    assert scores == pytest.approx(np.array([[3, 1, 0, 0], [0, 1, 1, 0]]), abs=1e-6)
    assert np.argsort(-scores[0])[:3].tolist() == [0, 1, 2]
    assert scores[1, 1] > scores[1, 2]  # equals: item 1 was taken by two
    assert scores[1, 0] > scores[1, 3]  # not owned: item 0 was taken, item 3 was not
    by_days = frequency(past_of(), days=2)(np.array([0]))[0]
    assert by_days[:2] == pytest.approx([2**-4 + 2**-3 + 2**-1, 2**-3], abs=1e-6)
    by_baskets = frequency(past_of(), baskets=1)(np.array([0]))[0]
    assert by_baskets[:2] == pytest.approx([2**-2 + 2**-1 + 1, 2**-1], abs=1e-6)


def test_what_people_have_stays_in_truth_and_lists():
    user, item, time_s = arrays((*EVENTS, *LATE))
    found = basket_trial(user, item, time_s, 10 * DAY_S)
    assert found.truth.toarray().tolist() == [[1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    day_1 = next_baskets(user, item, time_s, 10 * DAY_S, found.truth)
    assert day_1.toarray().tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]  # (1, 3) is cold: day 14 is the first
    method = Method("own", frequency)
    lists = lists_of(method.scorer(found.known), found.known, found.users, 4, again=True)
    assert lists.tolist() == [[0, 1, 2, -1], [1, 2, 0, -1]]
    assert quality_of(method, found) == pytest.approx(1)


def test_places_that_are_not_owned_go_to_the_slates_in_their_order():
    lists, new = np.array([[4, 9, 2], [9, 5, -1], [9, 9, 7]]), np.array([[1, 6, 8], [3, 1, 6], [6, -1, -1]])
    owned = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 1]], bool)
    assert woven(lists, owned, new).tolist() == [[4, 1, 2], [3, 5, 1], [6, 7, -1]]


# the whole


def staples(n_users: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each takes their three staples every week for half a year, changes them once, and tries something else each week.

    So what was taken most often is often over.
    """
    chance = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        own, change = chance.permutation(40)[:6], chance.integers(6, 24)
        for week in range(26):
            day = 7 * week + user % 7
            rows += [(user, one, day) for one in (own[:3] if week < change else own[3:])]
            rows += [(user, chance.integers(0, 40), day)]
    return arrays(rows)


def test_where_nobody_takes_again_the_slates_are_the_answer():
    rows = [(user, (user + day) % 40, day) for user in range(60) for day in range(0, 30, 2)]
    user, item, time_s = arrays(rows)
    slates = cheap_slates(events_of(user, item, time_s), np.arange(60))
    found = again(events_of(user, item, time_s), np.arange(60), slates)
    assert (found.form, found.judged) == ("new", {})
    assert found.items is slates.items
    assert "nobody takes again" in str(found)


def test_staples_of_today_come_first_and_codes_and_order_of_rows_change_nothing():
    user, item, time_s = staples()
    events, users = events_of(user, item, time_s), np.arange(0, 80, 2)
    found = again(events, users, cheap_slates(events, users))
    assert found.form == "model"
    assert found.judged["model"] > 1.1 * found.judged["habit"] > 1.1 * found.judged["new"]
    own = [set(item[(user == one) & (time_s == time_s[user == one].max())]) for one in users]
    assert np.mean([len(mine & set(row[:4].tolist())) for mine, row in zip(own, found.items, strict=True)]) > 2.5
    assert all(len(set(row)) == 20 and -1 not in row for row in found.items.tolist())
    shuffled = np.random.default_rng(1).permutation(len(user))
    coded = events_of(user[shuffled] + 7, item[shuffled] * 3, time_s[shuffled])
    other = again(coded, users + 7, cheap_slates(coded, users + 7))
    assert (other.items).tolist() == (found.items * 3).tolist()


def of_nine(labeled: Labeled) -> Labeled:
    """Only the first nine users."""
    part, told = labeled
    keep = part.user < 9
    rows = replace(part, users=part.users[:9], user=part.user[keep], item=part.item[keep], features=part.features[keep])
    return rows, Labels(told.taken[keep], told.first_s[keep], told.n_relevant[:9])


def test_the_habits_form_is_personal_frequency():
    user, item, time_s = staples(n_users=20)
    past = Past(user, item, time_s, 20, 40)
    users = np.arange(20)
    lists = by_habit(past, users, 8)
    assert (lists >= 0).all()
    assert lists.tolist() == lists_of(frequency(past), past, users, 8, again=True).tolist()


def test_what_is_too_little_to_learn_from_ships_what_is_simple():
    user, item, time_s = staples(n_users=20)
    events = Events(user, item, time_s, 20, 40)
    parts = [labeled(events, share, CHEAP, 0) for share in (0.7, 0.8, 0.9)]
    form, judged = chosen_form(parts[1:])
    assert (form, sorted(judged)) == ("habit", ["habit", "new"])  # nothing before the judges to learn from
    taught = chosen_form([parts[0], *map(of_nine, parts[1:])])
    assert (taught[0], sorted(taught[1])) == ("habit", ["habit", "model", "new"])  # 18 users say nothing
    few = Events(user[: FEWEST_TAKEN * 2], item[: FEWEST_TAKEN * 2], time_s[: FEWEST_TAKEN * 2], 20, 40)
    assert labeled(few, 0.9, CHEAP, 0) is None


@pytest.mark.slow
@pytest.mark.data("online-retail")
def test_in_a_shop_that_rebuys_ours_is_above_personal_frequency(data_dir, monkeypatch):
    """With three cheap sources; with all of them it is the README's figure."""
    monkeypatch.setenv("NIGHTSHELF_IDENTITY__SECRET", "a secret of the tests")
    rows = read_positives(load_description("online-retail"), str(data_dir / "online-retail"), load_settings())
    cut_s = rows.time_at(0.8)
    early = rows.time_s < cut_s
    known, users = rows.where(early), np.intersect1d(rows.user[early], rows.user[~early])
    ours = again(known.events, users, cheap_slates(known.events, users))
    best = Method("popularity, recent", popularity, {"days": 30})
    entries = compete_again(rows.user, rows.item, rows.time_s, cut_s, users, ours.items, best)
    nightshelf, *others = (entry.measures["ndcg@10"] for entry in entries)
    assert [entry.name for entry in entries[1:3]] == ["own frequency", "own frequency, fading"]
    assert min(compare(nightshelf, other, 7).ratio.low for other in others) > 1
    assert "owned and new ranked by model" in str(ours)
