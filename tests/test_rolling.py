"""Rolling days: truth and lists against plain loops, no leak, and whom a spoiled recipe is told from."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pytest

from conf.settings import load_settings
from jobs.kernels import rolling
from jobs.kernels.recipe import sources
from jobs.kernels.recipe.choose import Choice
from jobs.kernels.recipe.grid import Setting
from jobs.kernels.recipe.labels import Events
from jobs.kernels.recipe.model import fit_model
from jobs.kernels.recipe.past import Past
from jobs.kernels.recipe.people import DAY_S
from jobs.kernels.recipe.recommend import Recipe, rank
from jobs.kernels.rolling import LIVE, POPULAR, RECIPE, SOURCE, cuts, events_before, roll
from jobs.kernels.segments import NAMES
from jobs.kernels.standings import standings
from jobs.sources.load import load_description
from jobs.sources.positives import read_positives

SEED = 5
COSINE = Recipe({"cosine": Setting(sources.fit_cosine)}, Choice("single", "score_cosine", ()), [])

#        user  item  day
WORLD = (
    *((0, 0, 1), (0, 1, 2), (1, 0, 1), (1, 2, 3), (2, 1, 3), (2, 3, 4)),
    *((0, 2, 10.5), (0, 0, 10.6), (1, 9, 10.1), (3, 1, 10.2)),  # 0 has item 0, item 9 is cold, user 3 too
    *((0, 3, 11.5), (2, 0, 11.0), (3, 2, 11.9), (3, 2, 11.95)),
    *((1, 1, 12.0), (1, 3, 13.0)),  # from the end on
)


def events_of(rows, n_users: int | None = None, n_items: int | None = None) -> Events:
    user, item, day = np.array(rows, float).T
    user, item = user.astype(np.int32), item.astype(np.int32)
    return Events(user, item, day * DAY_S, n_users or user.max() + 1, n_items or item.max() + 1)


def rolled(rows, recipe=COSINE, live=None, end_day=12.0, days=2, max_users=1_000, **more):
    return roll(events_of(rows), recipe, live, end_day * DAY_S, days, max_users, SEED, **more)


def value_of(rows: list[dict], **wanted) -> dict:
    """The one row that has all the wanted cells."""
    wanted = {"cut": "pooled", "against": None, "segment": "all"} | wanted
    (found,) = (row for row in rows if all(row[name] == value for name, value in wanted.items()))
    return found


def truth_of(tested) -> dict[int, list[int]]:
    return {user: sorted(tested.truth[row].indices) for row, user in enumerate(tested.users.tolist())}


def test_truth_is_what_warm_users_took_first_that_day_of_items_somebody_had():
    first, second = rolled(WORLD)
    assert [first.cut_s / DAY_S, second.cut_s / DAY_S] == [10, 11]
    assert (truth_of(first.warm), truth_of(first.cold)) == ({0: [2]}, {3: [1]})
    assert (truth_of(second.warm), truth_of(second.cold)) == ({0: [3], 2: [0], 3: [2]}, {})
    assert [NAMES[k] for k in second.warm.segment] == ["new", "new", "new"]  # 3, 2 and 1 items
    assert first.n_train.tolist() == [2, 2, 1, 1, 0, 0, 0, 0, 0, 0]
    assert np.flatnonzero(first.is_new).tolist() == [0, 1, 2, 3]
    # popularity at day 10, half-life 30, now = day 4: item 1 (days 2, 3) > 0 (1, 1) > 3 (4) > 2 (3)
    assert first.warm.lists[POPULAR][0, :3].tolist() == [3, 2, -1]
    assert first.cold.lists[POPULAR][0, :5].tolist() == [1, 0, 3, 2, -1]
    assert set(first.cold.lists) == {POPULAR}
    assert set(first.warm.lists) == {RECIPE, POPULAR, "source:cosine"}


def test_two_days_measured_by_hand():
    rows = standings(rolled(WORLD), SEED)
    # Day 10: user 0 is shown 3, 2 and takes 2. Day 11 (popular: 1, 0, 2, 9, 3): 0 is shown 9, 3 and takes 3; 2 is shown
    # 0 and more and takes it; 3 is shown 0, 2 and more and takes 2.
    second = 1 / np.log2(3)
    assert value_of(rows, cut="1970-01-11", method=POPULAR, measure="ndcg@10")["value"] == pytest.approx(second)
    pooled = value_of(rows, method=POPULAR, measure="ndcg@10")
    assert pooled["value"] == pytest.approx((second + 1 + second) / 3)
    assert pooled["n_users"] == 3
    cold = value_of(rows, method=POPULAR, measure="ndcg@10", segment="cold")
    assert (cold["value"], cold["n_users"]) == (1, 1)
    shares = {
        row["segment"]: row["value"] for row in rows if row["measure"] == "truth_share" and row["cut"] == "pooled"
    }
    assert shares == {"cold": 1 / 5, "new": 4 / 5, "light": 0, "heavy": 0}
    assert not [row for row in rows if row["segment"] == "cold" and row["method"] == RECIPE]


def crowds(n_users: int = 60, n_items: int = 40, n_days: int = 60, each: int = 12, seed: int = 0) -> list[tuple]:
    """Two crowds with a half of the catalogue each; each user takes some of theirs in random order."""
    chance, rows = np.random.default_rng(seed), []
    for user in range(n_users):
        own = chance.permutation(np.arange(user % 2, n_items, 2))[:each]
        rows += [(user, item, day) for item, day in zip(own, np.sort(chance.uniform(0, n_days, each)), strict=True)]
    return rows


def naive_days(rows, end: float, days: int):
    """Popularity's day in plain loops: for each cut, truth and list of every warm and every cold user."""
    for cut in np.arange(end - days, end):
        past = [row for row in rows if row[2] < cut]
        now = max(day for *_, day in past)
        score = {}
        for _, item, day in past:
            score[item] = score.get(item, 0) + 2 ** (-(now - day) / 30)
        ranked = sorted(score, key=lambda item: (-score[item], item))
        owned = {user: {i for u, i, _ in past if u == user} for user in {u for u, *_ in rows}}
        truth = {}
        for user, item, day in rows:
            if cut <= day < cut + 1 and item in score and item not in owned[user]:
                truth.setdefault(user, set()).add(item)
        lists = {user: [item for item in ranked if item not in owned[user]][:20] for user in truth}
        yield truth, lists, {user for user in truth if owned[user]}


def naive_measures(shown: list, taken: set, k: int) -> dict[str, float]:
    hits = [item in taken for item in shown[:k]]
    gained = sum(hit / np.log2(rank + 2) for rank, hit in enumerate(hits))
    best = sum(1 / np.log2(rank + 2) for rank in range(min(k, len(taken))))
    precisions = [sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits) if hit]
    return {
        f"ndcg@{k}": gained / best,
        f"recall@{k}": sum(hits) / len(taken),
        f"precision@{k}": sum(hits) / k,
        f"average_precision@{k}": sum(precisions) / min(k, len(taken)),
        f"hit@{k}": float(any(hits)),
    }


def test_measures_equal_plain_loops():
    """A user's mean over the days they came, then the mean of users; the cold by themselves."""
    world = crowds(n_days=20)
    rows = standings(rolled(world, end_day=19.0, days=4), SEED)
    of_user: dict[tuple, dict] = {}
    for truth, lists, warm in naive_days(world, 19.0, 4):
        for user, taken in truth.items():
            for k in (10, 20):
                for measure, value in naive_measures(lists[user], taken, k).items():
                    segment = "all" if user in warm else "cold"
                    of_user.setdefault((segment, measure), {}).setdefault(user, []).append(value)
    assert max(len(values) for values in of_user["all", "ndcg@10"].values()) > 1
    for (segment, measure), users in of_user.items():
        found = value_of(rows, method=POPULAR, measure=measure, segment=segment)
        assert found["value"] == pytest.approx(np.mean([np.mean(values) for values in users.values()]))
        assert found["n_users"] == len(users)
        assert found["low"] <= found["value"] <= found["high"]


def test_the_recipe_ranks_by_what_was_known_before_each_day():
    world = crowds(n_days=20)
    for day in rolled(world, end_day=19.0, days=3):
        known = events_of([row for row in world if row[2] * DAY_S < day.cut_s], 60, 40)
        past = Past(known.user, known.item, known.time_s, 60, 40)
        expected, _ = rank(COSINE, fit_model(COSINE.chosen, past, day.cut_s), past, day.warm.users, 20)
        assert day.warm.lists[RECIPE].tolist() == expected.tolist()
        assert len(day.warm.users)


PAIR = Recipe(
    {"cosine": Setting(sources.fit_cosine), "als": Setting(sources.fit_als, {"factors": 4, "alpha": 10})},
    COSINE.choice,
    [],
)


def test_each_source_alone_shows_the_new_items_it_scores_highest():
    """Against a sort of its scores, user by user; of a vector model some scores are below 0 and never shown."""
    world, short = crowds(n_days=20), 0
    for day in rolled(world, PAIR, COSINE, end_day=19.0, days=3):
        assert [name for name in day.warm.lists if name.startswith(SOURCE)] == ["source:cosine", "source:als"]
        assert set(day.panel) == {RECIPE, LIVE, POPULAR}
        known = events_of([row for row in world if row[2] * DAY_S < day.cut_s], 60, 40)
        past = Past(known.user, known.item, known.time_s, 60, 40)
        for name, setting in PAIR.chosen.items():
            scores = setting.on(past).score(past, day.warm.users)
            for user, own, shown in zip(day.warm.users, scores, day.warm.lists[SOURCE + name], strict=True):
                new = [item for item in range(40) if own[item] > 0 and past.user_items[user, item] == 0]
                best = sorted(new, key=lambda item: (-own[item], item))[:20]
                assert shown.tolist() == best + [-1] * (20 - len(best))
                short += len(best) < 20
    assert short


def test_sources_alone_are_measured_by_their_quality_over_all_and_compared_with_nothing():
    days = rolled(crowds(n_days=20), PAIR, end_day=19.0, days=3)
    rows = standings(days, SEED)
    alone = [row for row in rows if row["method"].startswith(SOURCE)]
    whole = [row for row in rows if row["method"] == RECIPE and row["segment"] == "all" and row["against"] is None]
    quality = {row["measure"] for row in whole if row["low"] is not None}
    assert len(quality) == 12
    assert {(row["segment"], row["against"]) for row in alone} == {("all", None)}
    cells = [(row["cut"], row["method"], row["measure"]) for row in alone]
    made = {row["cut"] for row in whole}
    assert set(cells) == {
        (cut, f"source:{name}", measure) for cut in made for name in PAIR.chosen for measure in quality
    }
    assert len(cells) == len(set(cells))
    values = {}
    for day in days:
        for user, shown, taken in zip(day.warm.users, day.warm.lists["source:als"], day.warm.truth, strict=True):
            items = [item for item in shown.tolist() if item >= 0]
            values.setdefault(user, []).append(naive_measures(items, set(taken.indices), 10)["ndcg@10"])
    found = value_of(rows, method="source:als", measure="ndcg@10")
    assert found["value"] == pytest.approx(np.mean([np.mean(of_user) for of_user in values.values()]))
    assert found["low"] < found["value"] < found["high"]
    assert found["n_users"] == len(values)


def test_the_size_of_blocks_changes_no_list(monkeypatch):
    world = crowds(n_days=20)
    (whole,) = rolled(world, PAIR, end_day=19.0, days=1)
    monkeypatch.setattr(rolling, "BLOCK_USERS", 2)
    (parts,) = rolled(world, PAIR, end_day=19.0, days=1)
    assert len(whole.warm.users) > 4
    for name, lists in whole.warm.lists.items():
        assert lists.tolist() == parts.warm.lists[name].tolist()


def test_what_the_panel_is_shown_is_counted_item_by_item():
    before, day = rolled(crowds(n_days=20), end_day=19.0, days=2)
    rows = standings([before, day], SEED)
    cut = {"cut": "1970-01-19", "method": RECIPE}
    lists = [set(row[:10].tolist()) - {-1} for row in day.panel[RECIPE]]
    earlier = [set(row[:10].tolist()) - {-1} for row in before.panel[RECIPE]]
    assert len(lists) == 60
    n_known = (day.n_train > 0).sum()
    assert value_of(rows, **cut, measure="coverage@10")["value"] == pytest.approx(len(set.union(*lists)) / n_known)
    overlap = [len(a & b) / max(len(a), len(b)) for a, b in zip(earlier, lists, strict=True)]
    assert value_of(rows, **cut, measure="churn@10")["value"] == pytest.approx(1 - np.mean(overlap))
    bits = [-np.log2(day.n_train[item] / day.n_train.sum()) for shown in lists for item in shown]
    assert value_of(rows, **cut, measure="novelty@10")["value"] == pytest.approx(np.mean(bits))
    both = [value_of(rows, cut=f"1970-01-{d}", method=RECIPE, measure="gini@10")["value"] for d in (18, 19)]
    assert value_of(rows, method=RECIPE, measure="gini@10")["value"] == pytest.approx(np.mean(both))
    assert value_of(rows, method=RECIPE, measure="empty_rate")["value"] == 0
    assert not [row for row in rows if row["cut"] == "1970-01-18" and row["measure"] == "churn@10"]


def test_churn_is_from_one_day_to_the_next():
    quiet = [row for row in crowds(n_days=20) if not 17 <= row[2] < 18]
    days = rolled(quiet, end_day=19.0, days=3)
    assert [day.cut_s / DAY_S for day in days] == [15, 16, 18]
    rows = standings(days, SEED)
    assert {row["cut"] for row in rows if row["measure"] == "churn@10"} == {"1970-01-17", "pooled"}
    pair = [value_of(rows, cut=cut, method=POPULAR, measure="churn@10")["value"] for cut in ("pooled", "1970-01-17")]
    assert pair[0] == pair[1]


def test_new_items_are_judged_by_themselves():
    """Item 3 is 29 days old when user 0 takes it, item 2 is 30: popular are 3 (once, fresh) and then 2."""
    world = [(0, 0, 1), (1, 0, 1), (1, 2, 30), (2, 3, 31.5), (0, 2, 61.2), (0, 3, 61.3), (1, 3, 61.4), (2, 2, 61.5)]
    (day,) = rolled(world, end_day=62.0, days=1)
    assert np.flatnonzero(day.is_new).tolist() == [3]
    rows = standings([day], SEED)
    found = value_of(rows, method=POPULAR, measure="precision@10", segment="new_items")
    assert (found["value"], found["n_users"]) == (pytest.approx(1 / 10), 2)  # users 0 and 1 found item 3
    found = value_of(rows, method=POPULAR, measure="precision@10")
    assert (found["value"], found["n_users"]) == (pytest.approx((2 + 1 + 1) / 30), 3)


def as_bytes(days) -> bytes:
    return json.dumps(standings(days, SEED)).encode()


def test_nothing_from_the_end_on_leaks():
    """Rows from the end on get random users and items, new ones too, and there are more of them: not a byte changes."""
    world, chance = crowds(n_days=20), np.random.default_rng(1)
    later = [(chance.integers(0, 90), chance.integers(0, 70), day) for day in chance.uniform(15, 30, 500)]
    until = [row for row in world if row[2] < 15]
    assert len(until) < len(world)
    assert as_bytes(rolled(world, end_day=15.0)) == as_bytes(rolled([*until, *later], end_day=15.0))


def test_no_day_sees_itself():
    """The last day's items, redrawn among all: what anybody was shown on it and before stays the same."""
    world, chance = crowds(n_days=20), np.random.default_rng(1)
    other = [(u, chance.integers(0, 90) if day >= 14 else i, day) for u, i, day in world]
    for one, two in zip(rolled(world, end_day=15.0), rolled(other, end_day=15.0), strict=True):
        assert {name: lists.tolist() for name, lists in one.panel.items()} == {
            name: lists.tolist() for name, lists in two.panel.items()
        }
    found = events_before(events_of(other), 14 * DAY_S)
    expected = events_before(events_of(world), 14 * DAY_S)
    assert all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in found.__dataclass_fields__)


def test_rows_in_any_order_give_the_same_bytes():
    world = crowds(n_days=20)
    shuffled = [world[k] for k in np.random.default_rng(2).permutation(len(world))]
    first = as_bytes(rolled(world, end_day=19.0, live=COSINE))
    assert first == as_bytes(rolled(shuffled, end_day=19.0, live=COSINE))


def test_quiet_days_are_passed_over_as_far_as_four_weeks():
    sparse = [(*row[:2], 5 * row[2]) for row in WORLD]  # days 5 to 65
    events = events_of(sparse)
    assert (cuts(events, 66 * DAY_S, 7) / DAY_S).tolist() == [52, 55, 57, 59, 60, 65]
    assert (cuts(events, 66 * DAY_S, 3) / DAY_S).tolist() == [59, 60, 65]
    assert (cuts(events, 85 * DAY_S, 7) / DAY_S).tolist() == [57, 59, 60, 65]
    assert cuts(events, 300 * DAY_S, 7).tolist() == []
    assert roll(events, COSINE, None, 300 * DAY_S, 7, 10, SEED) == []
    assert standings([], SEED) == []


def test_users_of_a_day_are_drawn_by_the_seed_and_the_shares_are_of_all():
    world = crowds(n_days=20)
    whole, some, again = (rolled(world, end_day=10.0, max_users=most) for most in (1_000, 3, 3))
    for one, two, three in zip(whole, some, again, strict=True):
        assert len(two.warm.users) == 3 < len(one.warm.users)
        assert set(two.warm.users) < set(one.warm.users)
        assert two.warm.users.tolist() == three.warm.users.tolist()
        assert two.truth_user.tolist() == one.truth_user.tolist()


def test_the_live_recipe_is_asked_only_for_days_it_has_not_seen():
    days = rolled(crowds(n_days=20), end_day=19.0, days=4, live=COSINE, live_from_s=17 * DAY_S)
    assert [LIVE in day.warm.lists for day in days] == [False, False, True, True]
    rows = standings(days, SEED)
    pair = value_of(rows, method=RECIPE, against=LIVE, measure="ndcg@10")
    assert pair["n_users"] == value_of(rows, method=LIVE, measure="ndcg@10")["n_users"]
    assert pair["n_users"] < value_of(rows, method=RECIPE, against=POPULAR, measure="ndcg@10")["n_users"]
    assert (pair["value"], pair["low"], pair["high"]) == (0, 0, 0)


def test_sources_in_common_are_fitted_once():
    fits = []

    def counted(past: Past):
        fits.append(past.n_items)
        return sources.fit_cosine(past)

    recipe = Recipe({"cosine": Setting(counted)}, COSINE.choice, [])
    walking = Recipe({"walk": Setting(sources.fit_walk, {"beta": 0.2}), "cosine": Setting(counted)}, COSINE.choice, [])
    rolled(crowds(n_days=20), recipe=recipe, live=walking, end_day=19.0, days=3)
    assert len(fits) == 3


# spoiled


@dataclass(frozen=True)
class Noise:
    """A ranker that ranks at random."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        return np.random.default_rng(len(features)).random(len(features))


def fit_shuffled(past: Past):
    """Weights of some items under the names of others."""
    fitted = sources.fit_cosine(past)
    mixed = np.random.default_rng(0).permutation(past.n_items)
    return replace(fitted, weights=fitted.weights[:, mixed])


SPOILED = {
    "a random ranker": Recipe(COSINE.chosen, Choice("model", "score_cosine", ()), [Noise()]),
    "shuffled weights": Recipe({"cosine": Setting(fit_shuffled)}, COSINE.choice, []),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_recipe_is_significantly_worse_than_the_live_one(name):
    rows = standings(rolled(crowds(), SPOILED[name], COSINE, end_day=50.0, days=7), SEED)
    pair = value_of(rows, method=RECIPE, against=LIVE, measure="ndcg@10")
    assert pair["high"] < 0
    means = [value_of(rows, method=method, measure="ndcg@10")["value"] for method in (RECIPE, LIVE)]
    assert pair["value"] == pytest.approx(means[0] - means[1])


def test_a_clean_one_is_not_and_it_beats_popularity_where_there_are_tastes():
    rows = standings(rolled(crowds(), COSINE, COSINE, end_day=50.0, days=7), SEED)
    assert value_of(rows, method=RECIPE, against=LIVE, measure="ndcg@10")["high"] == 0
    assert value_of(rows, method=RECIPE, against=POPULAR, measure="ndcg@10")["low"] > 0


@pytest.fixture(scope="module")
def movielens(data_dir) -> Events:
    found = read_positives(load_description("movielens-100k"), str(data_dir / "movielens-100k"), load_settings())
    return Events(found.user, found.item, found.time_s, len(found.user_ids), len(found.item_ids))


@pytest.mark.data("movielens-100k")
def test_on_films_the_noise_is_worse_than_recent_popularity_and_a_walk_is_not(movielens):
    end_s = datetime(1998, 4, 1, tzinfo=UTC).timestamp()
    walk = {"walk": Setting(sources.fit_walk, {"beta": 0.2, "days": 7})}
    clean = Recipe(walk, Choice("single", "score_walk", ()), [])
    noisy = Recipe(walk, Choice("model", "score_walk", ()), [Noise()])
    found = {}
    for name, recipe in {"clean": clean, "noisy": noisy}.items():
        rows = standings(roll(movielens, recipe, None, end_s, 7, 1_000, SEED), SEED)
        found[name] = value_of(rows, method=RECIPE, against=POPULAR, measure="ndcg@10")
    assert found["clean"]["n_users"] >= 30
    assert found["clean"]["high"] > 0 > found["noisy"]["high"]
