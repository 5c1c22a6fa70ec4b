"""Numeric cores against plain oracles: dense products, closed forms, literal arithmetic."""

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from lake_fixtures import rows

from jobs.kernels import pairs
from jobs.kernels.because import gram, strongest_reasons
from jobs.kernels.fuse import fuse
from jobs.kernels.statistics import neighbor_statistics, share, slate_statistics, trending_statistics
from jobs.kernels.topn import top_items
from jobs.kernels.walk import propose_neighbors

SEEDS = range(5)


def indices(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def best_first(scores: np.ndarray, allowed: np.ndarray, n: int) -> list[int]:
    """The oracle of every ranking: score descending, then position ascending."""
    return sorted(np.flatnonzero(allowed).tolist(), key=lambda k: (-scores[k], k))[:n]


# top-n


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [1, 7, 40, 100])
def test_top_items_are_those_of_the_dense_product(seed, n):
    random = np.random.default_rng(seed)
    # small integers: products are exact, and ties are many, also across the cut
    users = random.integers(-2, 3, (12, 3)).astype(np.float32)
    items = random.integers(-2, 3, (40, 3)).astype(np.float32)
    seen = random.random((12, 40)) < np.linspace(0, 1, 12)[:, None]  # from nothing seen to everything
    found, scores = top_items(users, items, sp.csr_matrix(seen.astype(np.float32)), n)
    dense = users @ items.T
    for user in range(12):
        assert found[user].tolist() == best_first(dense[user], ~seen[user], n)
        assert scores[user].tolist() == dense[user][found[user]].tolist()


def test_a_user_who_has_seen_all_gets_nothing():
    found, scores = top_items(np.ones((2, 2), np.float32), np.ones((3, 2), np.float32), sp.csr_matrix(
        np.array([[1, 1, 1], [1, 0, 1]], np.float32)), 3)  # fmt: skip
    assert [items.tolist() for items in found] == [[], [1]]
    assert [values.tolist() for values in scores] == [[], [2.0]]


def test_a_shorter_list_is_the_head_of_a_longer_one():
    random = np.random.default_rng(1)
    users, items = (random.integers(-1, 2, shape).astype(np.float32) for shape in ((6, 2), (30, 2)))
    nothing = sp.csr_matrix((6, 30), dtype=np.float32)
    short, long = top_items(users, items, nothing, 5)[0], top_items(users, items, nothing, 20)[0]
    assert [items.tolist() for items in short] == [items[:5].tolist() for items in long]


# reasons


def closed_form(factors, own, confidence, regularization, proposed) -> np.ndarray:
    """Hu, Koren, Volinsky 2008, eq. 7: share of each own item in each proposed one's score, the long way round."""
    weights = np.ones(len(factors))
    weights[own] = confidence
    system = factors.T @ np.diag(weights) @ factors + regularization * np.eye(factors.shape[1])
    similarity = factors @ np.linalg.inv(system) @ factors.T
    return np.array([[similarity[i, j] * c for j, c in zip(own, confidence, strict=True)] for i in proposed])


@pytest.mark.parametrize("seed", range(25))
def test_reasons_are_the_greatest_terms_of_the_closed_form(seed):
    """With few items and little confidence, where each part of the formula decides some of the places."""
    random = np.random.default_rng(seed)
    factors = random.normal(size=(10, 4))
    own, proposed = random.choice(10, 6, replace=False), np.arange(10)
    confidence = 1 + 2 * random.random(6)
    reasons = strongest_reasons(factors[proposed], factors[own], confidence, gram(factors, 0.1))
    assert reasons.tolist() == closed_form(factors, own, confidence, 0.1, proposed).argmax(axis=1).tolist()


def test_terms_add_up_to_the_users_score():
    """The oracle itself: with p = 1 on own items, Σ terms = x_uᵀ y_i for the least-squares x_u."""
    random = np.random.default_rng(9)
    factors, own, confidence = random.normal(size=(9, 4)), np.array([1, 5, 6]), np.array([2.0, 3.0, 9.0])
    weights, liked = np.ones(9), np.zeros(9)
    weights[own], liked[own] = confidence, 1
    system = factors.T @ np.diag(weights) @ factors + 0.1 * np.eye(4)
    user = np.linalg.solve(system, factors.T @ (weights * liked))
    terms = closed_form(factors, own, confidence, 0.1, range(9))
    np.testing.assert_allclose(terms.sum(axis=1), factors @ user)


def test_equal_reasons_go_to_the_first_and_one_item_explains_all():
    factors = np.eye(3)
    shared = gram(factors, 1.0)
    twice = strongest_reasons(factors, factors[[0, 0]], np.array([2.0, 2.0]), shared)
    assert twice.tolist() == [0, 0, 0]
    assert strongest_reasons(factors, factors[[2]], np.array([5.0]), shared).tolist() == [0, 0, 0]
    assert strongest_reasons(factors[:0], factors[[2]], np.array([5.0]), shared).tolist() == []


def test_gram_is_exact_in_float64():
    factors = np.array([[1, 2], [3, 4]], np.float32)
    # [[1+9, 2+12], [2+12, 4+16]] + 0.5 on the diagonal
    assert gram(factors, 0.5).tolist() == [[10.5, 14.0], [14.0, 20.5]]


# walk


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [3, 100])
def test_a_walk_is_a_row_of_the_dense_product(seed, n):
    random = np.random.default_rng(seed)
    dense = random.integers(0, 4, (20, 20)) * (random.random((20, 20)) < 0.3)  # integers: exact, with ties
    history = random.choice(20, 6, replace=False).astype(np.int32)
    weights = random.integers(1, 4, 6).astype(float)
    seen = np.concatenate([history, random.choice(20, 3)])
    items, scores, reasons = propose_neighbors(history, weights, sp.csr_matrix(dense.astype(float)), seen, n)
    total = weights @ dense[history]
    allowed = (total > 0) & ~np.isin(np.arange(20), seen)
    assert items.tolist() == best_first(total, allowed, n)
    assert scores.tolist() == total[items].tolist()
    for item, reason in zip(items, reasons, strict=True):
        shares = weights * dense[history, item]
        assert shares[history.tolist().index(reason)] == shares.max()


def test_a_walk_without_neighbors_ends_at_once():
    nowhere = sp.csr_matrix((5, 5))
    assert [len(part) for part in propose_neighbors(indices(1, 2), np.ones(2), nowhere, indices(1, 2), 10)] == [0, 0, 0]
    assert [len(part) for part in propose_neighbors(indices(), np.ones(0), nowhere, indices(), 10)] == [0, 0, 0]
    only_seen = sp.csr_matrix(([1.0], ([1], [2])), (5, 5))
    assert [len(part) for part in propose_neighbors(indices(1), np.ones(1), only_seen, indices(1, 2), 9)] == [0, 0, 0]


# pairs


@pytest.mark.parametrize("score", ["cosine", "lift", "llr"])
@pytest.mark.parametrize("block_cells", [1, 40, 10_000])
def test_pairs_are_those_of_the_dense_product(monkeypatch, score, block_cells):
    """Blocks of one item, of a few and of all give the same lists."""
    monkeypatch.setattr(pairs, "BLOCK_CELLS", block_cells)
    dense = np.random.default_rng(4).random((60, 15)) < 0.3
    contributor, item = np.nonzero(dense)
    found = pairs.top_pairs(contributor, item, score, shrink=2.0, min_pair=3, n_top=5)
    counts, n_item = dense.T.astype(int) @ dense, dense.sum(axis=0)
    rows_of = list(zip(*(found[name].tolist() for name in ("item_idx", "rank", "neighbor_idx", "score")), strict=True))
    for one in range(15):
        scores = np.array([pair_score(score, counts[one, two], n_item[one], n_item[two], 60) for two in range(15)])
        wanted = best_first(scores, (counts[one] >= 3) & (np.arange(15) != one), 5)
        mine = [row for row in rows_of if row[0] == one]
        assert [(rank, other) for _, rank, other, _ in mine] == list(enumerate(wanted, 1))
        np.testing.assert_allclose([value for *_, value in mine], scores[wanted])
    assert found["n_pair"].tolist() == [counts[one, two] for one, _, two, _ in rows_of]


def pair_score(score: str, both: int, one: int, two: int, n: int) -> float:
    if score == "cosine":
        return both / (np.sqrt(one * two) + 2.0)
    if score == "lift":
        return both * n / (one * two)
    table = np.array([[both, one - both], [two - both, n - one - two + both]], float)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    full = table > 0
    return max(2 * (table[full] * np.log(table[full] / expected[full])).sum(), 0.0)


def test_no_contributions_have_no_pairs():
    nothing = pairs.top_pairs(indices(), indices(), "cosine", 3.0, 2, 10)
    assert {len(column) for column in nothing.values()} == {0}


# fusion


def test_fusion_by_hand():
    first = (0, 1.0, indices(10, 20, 30), indices(1, 2, 3))
    second = (1, 0.5, indices(20, 40), indices(8, 9))
    items, scores, sources, because = fuse([first, second], rank_constant=9, n=10)
    # shares 1/10, 1/11, 1/12 and 0.5/10, 0.5/11; ideal (1 + 0.5)/10 = 0.15
    # 20: 1/11 + 0.05 = 0.140909; 10: 0.1; 30: 0.083333; 40: 0.045455
    assert items.tolist() == [20, 10, 30, 40]
    np.testing.assert_allclose(scores, np.array([1 / 11 + 0.05, 0.1, 1 / 12, 0.5 / 11]) / 0.15, rtol=1e-6)
    assert sources.tolist() == [0, 0, 0, 1]
    assert because.tolist() == [2, 1, 3, 9]


def test_first_everywhere_scores_one_and_the_strongest_voice_names_the_reason():
    lists = [(0, 0.3, indices(5), indices(1)), (2, 0.7, indices(5), indices(2))]
    items, scores, sources, because = fuse(lists, 20, 10)
    assert (items.tolist(), sources.tolist(), because.tolist()) == ([5], [2], [2])
    np.testing.assert_allclose(scores, [1.0])


def test_ties_go_to_the_smaller_item_and_a_shorter_list_is_the_head_of_a_longer_one():
    lists = [(0, 1.0, indices(9, 7, 5), indices(0, 0, 0)), (1, 1.0, indices(4, 6, 8), indices(0, 0, 0))]
    assert fuse(lists, 20, 6)[0].tolist() == [4, 9, 6, 7, 5, 8]
    for n in range(7):
        assert fuse(lists, 20, n)[0].tolist() == fuse(lists, 20, 6)[0][:n].tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_fusion_repeats_nothing_and_falls(seed):
    random = np.random.default_rng(seed)
    lists = [(k, w, random.permutation(30)[:m].astype(np.int32), indices(*range(m))) for k, w, m in (
        (0, 1.0, 20), (1, 0.7, 0), (2, 0.3, 25))]  # fmt: skip
    items, scores, sources, because = fuse(lists, 20, 40)
    assert len(set(items.tolist())) == len(items) == len(scores) == len(sources) == len(because)
    assert (np.diff(scores) <= 0).all()
    for item, source, reason in zip(items, sources, because, strict=True):
        assert lists[source][2].tolist().index(item) == reason  # because_of holds the rank in its own list here


def test_nothing_fuses_to_nothing():
    silent = (indices(), indices())
    assert [len(part) for part in fuse([(0, 1.0, *silent), (1, 0.5, *silent)], 20, 10)] == [0, 0, 0, 0]


def test_a_source_without_weight_is_silent():
    off, on = (0, 0.0, indices(1, 2), indices(0, 0)), (1, 1.0, indices(3), indices(0))
    assert fuse([off, on], 20, 10)[0].tolist() == [3]
    assert [len(part) for part in fuse([off], 20, 10)] == [0, 0, 0, 0]


# statistics


def slate(**override) -> dict:
    base = {"items": [1, 2], "scores": [0.9, 0.8], "sources": ["als"] * 2, "because_of": [0, 0]}
    return base | {"propensities": [1.0, 1.0]} | override


def measured(
    *slates: dict, comes_back=(False, False), active=("u1",), available=range(10), known=range(10), n_wanted=4
) -> dict:
    table = rows("slates", *slates)
    owned = rows("interactions", {"user_id": "u1"}, {"user_id": "u2"})  # item 0 is theirs
    users, listed = pa.array(active, pa.string()), (np.array(available), np.array(known))
    return slate_statistics(table, owned, np.array(comes_back), users, *listed, n_wanted)


GOOD = dict.fromkeys(
    ("n_repeated_users", "n_repeated_items", "n_seen_items", "n_unavailable_items", "n_out_of_order",
     "n_without_own_reason", "n_bad_propensities", "n_uneven"), 0)  # fmt: skip


def test_good_slates_break_nothing():
    longer = {"items": [1, 2, 3, 4], "scores": [0.9, 0.9, 0.5, 0.1], "sources": ["als"] * 4, "because_of": [0] * 4}
    longer |= {"propensities": [1.0, 0.25, 1.0, 1.0]}
    found = measured(slate(), slate(user_id="u2", **longer))
    # mean length 3 of 4 wanted; u1 of u1; items 1 to 4 of 0 to 9
    assert found == GOOD | {"n_rows": 2, "fill": 0.75, "user_coverage": 1.0, "item_coverage": 0.4}


@pytest.mark.parametrize(
    ("broken", "statistic"),
    [
        (slate(items=[1, 1]), "n_repeated_items"),
        (slate(items=[1, 0]), "n_seen_items"),
        (slate(items=[1, 10]), "n_unavailable_items"),
        (slate(scores=[0.8, 0.9]), "n_out_of_order"),
        (slate(because_of=[0, -1]), "n_without_own_reason"),
        (slate(because_of=[0, 2]), "n_without_own_reason"),
        (slate(scores=[0.8, float("nan")]), "n_out_of_order"),
        (slate(because_of=[0, None]), "n_without_own_reason"),
        (slate(because_of=[-2, 0], sources=["promotion"] * 2), "n_without_own_reason"),
        (slate(because_of=[0, -1], sources=["promotion", "als"]), "n_without_own_reason"),
        (slate(propensities=[1.0, 0.0]), "n_bad_propensities"),
        (slate(propensities=[1.0, 1.01]), "n_bad_propensities"),
        (slate(propensities=[float("nan"), 1.0]), "n_bad_propensities"),
        (slate(propensities=[1.0, None]), "n_bad_propensities"),
        (slate(propensities=[1.0]), "n_uneven"),
        (slate(because_of=[0]), "n_uneven"),
        (slate(scores=[0.9]), "n_uneven"),
        (slate(sources=["als"]), "n_uneven"),
    ],
)
def test_a_broken_promise_is_counted(broken, statistic):
    whole = slate(user_id="u2", items=[3, 4])  # what is listed by another is no fault
    found = measured(whole, broken)
    assert {name: value for name, value in found.items() if name.startswith("n_") and value} == {
        "n_rows": 2, statistic: 1}  # fmt: skip


def test_what_is_merely_promoted_needs_no_reason():
    promoted = slate(sources=["promotion", "als"], because_of=[-1, 0])
    other = slate(user_id="u2", items=[3, 4], sources=["als", "promotion"], because_of=[0, -1])
    assert measured(promoted, other)["n_without_own_reason"] == 0
    # of another row or place: neither excuses anything
    assert measured(slate(sources=["promotion"]), slate(user_id="u2", because_of=[-1, 0]))["n_without_own_reason"] == 1


def test_what_may_be_bought_again_is_no_seen_item():
    both = slate(items=[1, 0]), slate(user_id="u2", items=[3, 0])
    assert measured(*both)["n_seen_items"] == 2
    assert measured(*both, comes_back=(False, True))["n_seen_items"] == 1
    assert measured(*both, comes_back=(True, True)) == measured(*both) | {"n_seen_items": 0}


def test_a_user_with_two_slates_is_counted():
    assert measured(slate(), slate())["n_repeated_users"] == 1


def test_coverage_counts_who_and_what_could_be_reached():
    found = measured(
        slate(items=[1, 2]), active=("u1", "u3", "u4"), available=[1, 2, 3, 9], known=[1, 2, 3], n_wanted=9
    )
    assert found["user_coverage"] == pytest.approx(1 / 3)
    assert found["item_coverage"] == pytest.approx(2 / 3)  # 9 is new: nobody dealt with it yet
    assert found["fill"] == pytest.approx(2 / 3)  # of 9 wanted only 3 exist
    assert share(0, 0) == 1.0


def test_no_slates_cover_nothing():
    found = measured()
    assert (found["n_rows"], found["fill"], found["user_coverage"], found["item_coverage"]) == (0, 0, 0, 0)


def test_neighbors_are_mirrored_and_never_their_own():
    def neighbor(item, other, n_pair=2, kind="viewed_together"):
        return {"item_idx": item, "neighbor_idx": other, "n_pair": n_pair, "kind": kind}

    good = [neighbor(0, 1), neighbor(1, 0), neighbor(0, 2, 5), neighbor(1, 0, 9, "bought_together")]
    # 2 does not list 0: cut off by the length of its list, no fault; another kind counts apart
    assert neighbor_statistics(rows("item_neighbors", *good)) == {
        "n_rows": 4, "n_own_neighbors": 0, "n_one_sided": 0, "n_items": 2}  # fmt: skip
    bad = neighbor_statistics(rows("item_neighbors", *good, neighbor(3, 3), neighbor(2, 0, 4)))
    assert (bad["n_own_neighbors"], bad["n_one_sided"], bad["n_items"]) == (1, 1, 4)
    assert neighbor_statistics(rows("item_neighbors"))["n_rows"] == 0


def test_ranks_have_no_gaps():
    def ranked(segment, *ranks):
        return [{"segment": segment, "rank": rank} for rank in ranks]

    table = rows("trending", *ranked("all", 1, 2, 3), *ranked("country=FR", 1, 3), *ranked("country=DE", 1, 1))
    assert trending_statistics(table) == {"n_rows": 7, "n_segments": 3, "n_for_all": 3, "n_gaps": 2}
    assert trending_statistics(rows("trending")) == {"n_rows": 0, "n_segments": 0, "n_for_all": 0, "n_gaps": 0}
