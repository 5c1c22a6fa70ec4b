"""The ranking recipe: sources against dense oracles, candidates, labels, the choice of what is safe to ship."""

import numpy as np
import pytest
import scipy.sparse as sp
from cheap_slates import events_of as events_in

from jobs.kernels.recipe import choose, grid, ranker, sources
from jobs.kernels.recipe.candidates import Slice, candidates
from jobs.kernels.recipe.describe import ITEM_NAMES, USER_NAMES, describe_items, describe_users
from jobs.kernels.recipe.labels import Events, Future, Labels, from_afar, label, sample, split
from jobs.kernels.recipe.model import FAR, fit_model
from jobs.kernels.recipe.past import Past
from jobs.kernels.recipe.people import DAY_S
from jobs.kernels.recipe.recommend import FEWEST_EVENTS, learn, recommend

#          user  item  day
EVENTS = ((0, 0, 1), (0, 1, 2), (0, 1, 3), (1, 1, 2), (1, 2, 5), (2, 0, 5), (2, 2, 9), (2, 3, 9))


def past_of(rows=EVENTS, n_users: int = 3, n_items: int = 5) -> Past:
    user, item, day = np.array(rows).T
    return Past(user, item, day * DAY_S, n_users, n_items)


def test_a_cell_is_a_user_and_an_item_however_often():
    past = past_of()
    assert past.user_items.toarray().tolist() == [[1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [1, 0, 1, 1, 0]]
    assert past.cell_count.tolist() == [1, 2, 1, 1, 1, 1, 1]
    assert (past.cell_last / DAY_S).tolist() == [1, 3, 2, 5, 5, 9, 9]
    assert past.user_n.tolist() == [2, 2, 3]
    assert past.item_users.tolist() == [2, 2, 2, 1, 0]
    assert (past.user_first / DAY_S).tolist() == [1, 2, 5]
    assert (past.user_last / DAY_S).tolist() == [3, 5, 9]
    assert (past.item_first[:4] / DAY_S).tolist() == [1, 2, 5, 9]


def test_rows_in_any_order_are_the_same_past():
    shuffled = past_of(tuple(EVENTS[k] for k in (5, 2, 7, 0, 3, 6, 1, 4)))
    for name in ("user", "item", "time_s", "cell_key", "cell_last", "cell_count"):
        assert getattr(shuffled, name).tolist() == getattr(past_of(), name).tolist()


def test_popularity_fades_by_half_lives():
    # now is day 9; item 1 was taken on days 2, 3 and 2: 2^-7 + 2^-6 + 2^-7 at a half-life of a day
    assert past_of().popularity(1)[1] == pytest.approx(2**-7 + 2**-6 + 2**-7)
    assert past_of().popularity(None).tolist() == [2, 2, 2, 1, 0]


def test_histories_weigh_by_time():
    past = past_of()
    assert past.history("time")[0].toarray()[0, :2] == pytest.approx([2 ** (-2 / 7), 1])
    assert past.history("all") is past.user_items
    with pytest.raises(ValueError, match="history 'place'; allowed: all, time"):
        past.history("place")


def dense(source, past: Past) -> np.ndarray:
    return source.score(past, np.arange(past.n_users))


def without_diagonal(matrix: np.ndarray) -> np.ndarray:
    return matrix - np.diag(np.diag(matrix))


def test_lift_is_how_much_more_than_by_chance_two_items_share_users():
    past = split(events_of(), np.inf)[0]
    cells = past.user_items.toarray()
    pairs, n_item = cells.T @ cells, cells.sum(axis=0)
    lift = np.where(pairs >= 2, pairs * past.n_users / np.maximum(np.outer(n_item, n_item), 1), 0)
    np.fill_diagonal(lift, 0)
    assert np.allclose(sources.fit_pairs(past, "lift").weights.toarray(), lift)


def test_cosine_is_the_textbooks():
    past = past_of()
    cells = past.user_items.toarray()
    lengths = np.maximum(np.linalg.norm(cells, axis=0), 1)
    similar = without_diagonal(cells.T @ cells / np.outer(lengths, lengths))
    assert dense(sources.fit_cosine(past), past) == pytest.approx(cells @ similar, abs=1e-6)


def test_ease_is_the_closed_form():
    past = past_of()
    cells = past.user_items.toarray()[:, :4]  # item 4 is unknown
    inverse = np.linalg.inv(cells.T @ cells + 2 * np.eye(4))
    weights = without_diagonal(inverse / -np.diag(inverse))
    assert dense(sources.fit_ease(past, ridge=2), past)[:, :4] == pytest.approx(cells @ weights, abs=1e-5)


def test_ease_leaves_out_what_few_take_of_a_catalogue_it_cannot_afford(monkeypatch):
    past = past_of()
    monkeypatch.setattr(sources, "EASE_MAX_ITEMS", 3)
    kept = np.sort(np.argsort(-past.item_users, kind="stable")[:3])
    weights = sources.fit_ease(past, ridge=1.0).weights.toarray()
    assert set(np.flatnonzero(weights.any(axis=1)).tolist()) <= set(kept.tolist())
    assert weights[np.ix_(kept, kept)].any()


def test_walk_is_three_steps_with_popularity_held_down():
    past = past_of()
    cells = past.user_items.toarray().astype(float)
    n_item, n_user = np.maximum(cells.sum(axis=0), 1), cells.sum(axis=1)
    steps = (cells.T / n_item[:, None]) @ (cells / n_user[:, None]) / n_item**0.5
    assert dense(sources.fit_walk(past, beta=0.5), past) == pytest.approx(cells @ without_diagonal(steps), abs=1e-6)


def test_a_fading_walk_ends_at_what_is_fresh():
    """Users 0 and 1 both have item 1; user 0's other item is old, user 1's is new: from 1 the walk goes on to 2."""
    past = past_of(((0, 0, 1), (0, 1, 1), (1, 1, 30), (1, 2, 30), (2, 1, 30)))
    fading = sources.fit_walk(past, beta=0.0, days=7).weights[1].toarray()[0]
    alike = sources.fit_walk(past, beta=0.0).weights[1].toarray()[0]
    assert alike[0] == pytest.approx(alike[2])
    assert fading[2] > 10 * fading[0]


def test_a_days_items_go_together():
    weights = sources.fit_baskets(past_of()).weights.toarray()
    assert weights[2, 3] > 0  # user 2 took both on day 9
    assert weights[0, 2] == 0  # days 5 and 9
    assert weights[2, 3] == pytest.approx(weights[3, 2], rel=1e-6)


def test_factors_tell_two_crowds_apart():
    """A checkerboard: even users take even items, odd users odd ones; the one missing cell comes first."""
    rows = [(u, i, 1) for u in range(12) for i in range(12) if (u + i) % 2 == 0 and (u, i) != (4, 6)]
    past = past_of(rows, 12, 12)
    for fitted in (sources.fit_als(past, factors=8, alpha=5), sources.fit_bm25(past, 1.2, 0.2)):
        scores = dense(fitted, past)[4]
        scores[past.user_items[4].indices] = -np.inf
        assert scores.argmax() == 6


def test_top_product_keeps_the_strongest_of_either_sign():
    left = sp.csr_matrix(np.array([[1.0, 0], [0, 1]]))
    right = sp.csr_matrix(np.array([[9.0, -3], [2, 9]]))
    assert sources.top_product(left, right, n=2).toarray().tolist() == [[0, -3], [2, 0]]
    three = sp.csr_matrix(np.array([[9.0, -3, 1], [2, 9, 5], [0, 0, 9]]))
    assert sources.top_product(sp.identity(3), three, n=1).toarray().tolist() == [[0, -3, 0], [0, 0, 5], [0, 0, 0]]


@pytest.mark.parametrize("density", [0.01, 0.3])
def test_top_product_is_the_whole_product_cut(density):
    """Rows gone through by what they touch and by all columns; of cells as far from 0 the lower columns stay."""
    random = np.random.default_rng(1)
    left, right = (sp.random(*shape, density, format="csr", random_state=1) for shape in ((90, 400), (400, 90)))
    for side in (left, right):
        side.data = random.integers(-2, 3, side.nnz).astype(np.float32)
    whole = (left @ right).toarray()
    np.fill_diagonal(whole, 0)
    order = np.lexsort((np.broadcast_to(np.arange(90), (90, 90)), -abs(whole)), axis=1)[:, :7]
    expected = np.zeros_like(whole)
    np.put_along_axis(expected, order, np.take_along_axis(whole, order, 1), 1)
    found = sources.top_product(left, right, n=7)
    assert found.toarray().tolist() == expected.tolist()
    assert found.nnz == (expected != 0).sum()


# candidates


def cosine_model(past: Past):
    return fit_model({"cosine": grid.Setting(sources.fit_cosine)}, past, past.now)


def test_candidates_are_warm_and_unseen_and_described():
    past = past_of()
    part = candidates(cosine_model(past), past, np.array([0, 2]))
    rows = list(zip(part.users[part.user].tolist(), part.item.tolist(), strict=True))
    assert rows == [(0, 2), (0, 3), (2, 1)]  # item 4 is nobody's
    assert part.column("place_cosine")[0] == 0  # log2(1 + place 0)
    assert part.column("score_cosine")[0] == 1  # over the user's best
    assert part.features.shape == (3, len(part.names))
    assert part.features.dtype == np.float32


def test_items_and_users_are_described_in_days_and_shares():
    past = past_of()
    items, users = describe_items(past), describe_users(past, describe_items(past), past.now)
    age, idle = (items[:, ITEM_NAMES.index(name)] for name in ("item_age", "item_idle"))
    assert age[:4] == pytest.approx(np.log1p([8, 7, 4, 0]))
    assert idle[:4] == pytest.approx(np.log1p([4, 6, 0, 0]))
    assert users[:, USER_NAMES.index("user_n")] == pytest.approx(np.log1p([2, 2, 3]))
    assert users[:, USER_NAMES.index("user_idle")] == pytest.approx(np.log1p([6, 4, 0]))
    assert np.isfinite(items).all()


# labels


def events_of(rows=EVENTS, n_users: int = 3, n_items: int = 5) -> Events:
    user, item, day = np.array(rows).T
    return Events(user, item, day * DAY_S, n_users, n_items)


def test_a_cut_parts_strictly_and_only_new_warm_cells_count():
    past, future = split(events_of(), 5 * DAY_S)
    assert past.now == 3 * DAY_S
    assert future.cell_key.tolist() == []  # user 2 and items 2, 3 are cold; user 1 has nothing new
    past, future = split(events_of((*EVENTS, (1, 0, 9), (1, 0, 7), (0, 1, 8))), 5 * DAY_S)
    assert future.cell_key.tolist() == [1 * 5 + 0]
    assert (future.first_s / DAY_S).tolist() == [7]
    assert future.count(np.array([0, 1])).tolist() == [0, 1]


def test_labels_say_what_was_taken_and_when():
    part = Slice(0.0, np.array([1, 4]), np.array([0, 0, 1]), np.array([2, 3, 2]), np.zeros((3, 0)), ())
    told = label(part, Future(np.array([1 * 10 + 3, 4 * 10 + 9]), np.array([7.0, 8.0]), 10))
    assert told.taken.tolist() == [False, True, False]
    assert told.first_s.tolist() == [np.inf, 7.0, np.inf]
    assert told.n_relevant.tolist() == [1, 1]  # 9 was no candidate, and counts as missed


def test_from_afar_what_was_taken_early_speaks_neither_for_nor_against():
    part, told = tiny([3, 2, 1], [0, 1])
    told.first_s[:2] = [4.0, 6.0]
    rows, labels = from_afar(part, told, start_s=5.0)
    assert rows.item.tolist() == [1, 2]
    assert labels.taken.tolist() == [True, False]
    assert rows.column("score_x").tolist() == [2, 1]


def test_a_sample_is_rising_and_the_same_for_a_seed():
    users = np.arange(100, 200)
    assert sample(users, 100, 1) is users
    some = sample(users, 10, 1)
    assert (np.diff(some) > 0).all()
    assert some.tolist() == sample(users, 10, 1).tolist() != sample(users, 10, 2).tolist()


# ranking and choosing


def tiny(scores: list[float], taken: list[int], users: int = 1) -> tuple[Slice, Labels]:
    """One column, ``score_x``; all users alike, with a hit each at ``taken``."""
    n, user = len(scores), np.repeat(np.arange(users), len(scores))
    hits = np.tile(np.isin(np.arange(n), taken), users)
    features = np.tile(np.array(scores, np.float32)[:, None], (users, 1))
    part = Slice(0.0, np.arange(users), user, np.tile(np.arange(n), users), features, ("score_x",))
    return part, Labels(hits, np.where(hits, 1.0, np.inf), np.full(users, len(taken)))


def test_ndcg_of_rows_counts_misses():
    part, told = tiny([3, 2, 1], [1])
    assert ranker.ndcg(part, told, part.column("score_x")) == pytest.approx([1 / np.log2(3)])
    assert ranker.ndcg(part, told, -part.column("score_x")) == pytest.approx([1 / np.log2(3)])
    missed = Labels(told.taken, told.first_s, np.array([2]))
    assert ranker.ndcg(part, missed, part.column("score_x"))[0] == pytest.approx(1 / np.log2(3) / (1 + 1 / np.log2(3)))


def test_order_breaks_ties_by_item_and_places_agree():
    part, _ = tiny([1, 2, 2], [0], users=2)
    rows, places = ranker.order(part, part.column("score_x"))
    assert rows.tolist() == [1, 2, 0, 4, 5, 3]
    assert places.tolist() == [0, 1, 2, 0, 1, 2]
    assert ranker.by_place(part, part.column("score_x"))[:3] == pytest.approx([1 / 12, 1 / 10, 1 / 11])


def test_training_rows_hold_every_hit_of_who_took_something_in_time():
    part, told = tiny([3, 2, 1], [1], users=2)
    told.taken[4] = False  # user 1 took nothing
    _, labels, sizes = ranker.training_rows([(part, told)], np.inf)
    assert (labels.tolist(), sizes.tolist()) == ([0, 1, 0], [3])
    assert ranker.training_rows([(part, told)], before_s=1.0)[2].tolist() == []


@pytest.mark.parametrize(
    ("blend", "model", "form"),
    [
        (0.3, 0.4, "model"),  # both hold, the richer is better
        (0.4, 0.3, "blend"),
        (0.1995, 0.1, "blend"),  # nothing holds, the blend costs less than a hundredth
        (0.1, 0.1, "single"),
    ],
)
def test_the_richer_ranking_ships_only_where_it_held(blend, model, form):
    judged = [{"single": np.full(50, 0.2), "blend": np.full(50, blend), "model": np.full(50, model)}] * 2
    assert choose.richest_that_holds(judged) == form


def test_a_gain_of_a_few_lucky_users_does_not_hold():
    lucky = np.full(100, 0.2)
    lucky[0] = 1.0
    judged = [{"single": np.full(100, 0.2), "blend": np.full(100, 0.2), "model": lucky - 0.005}]
    assert choose.richest_that_holds(judged) == "blend"


@pytest.mark.parametrize("n_cuts", [0, 1, choose.JUDGES])
def test_too_few_cuts_to_judge_by_are_fused(n_cuts):
    assert choose.choose([tiny([3, 2, 1], [1])] * n_cuts) == choose.Choice("fused", "popularity_30", ())


def test_what_two_sources_place_well_is_fused_first():
    """Σ 1 / (21 + place), nothing from afar; of equals the more popular first, which is worth less than a place."""
    far = 2**FAR - 1
    places = [(0, 5), (2, 2), (199, 0), (far, 0), (far, far), (far, far)]
    popular = [5, 4, 3, 2, 0, 1]
    names = ("score_a", "place_a", "score_b", "place_b", "popularity_rank_30")
    rows = [
        (9, np.log2(1 + a), 9, np.log2(1 + b), np.log2(1 + rank)) for (a, b), rank in zip(places, popular, strict=True)
    ]
    part = Slice(0.0, np.array([0]), np.zeros(6, int), np.arange(6), np.array(rows, np.float32), names)
    shares = [1 / 21 + 1 / 26, 2 / 23, 1 / 21 + 1 / 220, 1 / 21, 0, 0]
    wanted = [share + 1 / (1_000 * (3 + rank)) for share, rank in zip(shares, popular, strict=True)]
    assert choose.fused(part) == pytest.approx(wanted, rel=1e-5)
    assert ranker.order(part, choose.scores_of("fused", [], "", part))[0].tolist() == [1, 0, 2, 3, 4, 5]


def test_the_grid_leaves_out_what_a_large_catalogue_cannot_afford():
    assert "ease" in grid.tried(sources.EASE_MAX_ITEMS)
    assert not [name for name in grid.tried(sources.EASE_MAX_ITEMS + 1) if "ease" in name]
    assert ranker.directions(("score_als", "place_als", "item_age")) == [1, -1, 0]
    assert str(grid.GRID["walk"][0]) == "walk(beta=0.2)"


# the whole


def test_of_too_few_events_every_source_is_fused_untuned():
    user, item, time_s = (column[: FEWEST_EVENTS - 1] for column in crowds())
    learned = learn(Events(user, item, time_s, 60, 40), seed=0)
    assert learned.choice == choose.Choice("fused", "popularity_30", ())
    assert learned.rankers == []
    assert learned.chosen == {name: grid.GRID[name][0] for name in grid.NARROW}
    assert str(learned).startswith("ranked by fused; als(factors=32, alpha=1), ")


def crowds(n_users: int = 60, n_items: int = 40, seed: int = 0):
    """Two crowds with a half of the catalogue each; each user takes 12 of theirs in random order."""
    chance = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        own = chance.permutation(np.arange(user % 2, n_items, 2))[:12]
        rows += [(user, item, day) for item, day in zip(own, np.sort(chance.uniform(0, 60, 12)), strict=True)]
    user, item, day = np.array(rows).T
    return user.astype(int), item.astype(int), day * DAY_S


def test_recommend_finds_each_crowds_own_and_never_what_is_owned():
    user, item, time_s = crowds()
    slates = recommend(events_in(user, item, time_s), np.arange(60), 5)
    owned = {(u, i) for u, i in zip(user.tolist(), item.tolist(), strict=True)}
    shown = [(u, i) for u, row in enumerate(slates.items.tolist()) for i in row if i >= 0]
    assert len(shown) == 60 * 5
    assert not owned & set(shown)
    assert np.mean([u % 2 == i % 2 for u, i in shown]) > 0.9
    assert (np.diff(slates.scores, axis=1) <= 0).all()


def test_recommend_repeats_itself_whatever_the_codes_and_the_order_of_rows():
    user, item, time_s = crowds()
    first = recommend(events_in(user, item, time_s), np.arange(60), 5)
    shuffled = np.random.default_rng(1).permutation(len(user))
    again = recommend(events_in(user[shuffled] + 7, item[shuffled] * 3, time_s[shuffled]), np.arange(60) + 7, 5)
    assert (first.items * 3).tolist() == again.items.tolist()
    assert first.scores.tolist() == again.scores.tolist()
