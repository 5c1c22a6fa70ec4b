"""Numeric cores against plain oracles: dense products, closed forms, literal arithmetic."""

import numpy as np
import pyarrow as pa
import pytest
from lake_fixtures import rows

from jobs.kernels import pairs, threads
from jobs.kernels.because import gram, strongest_reasons
from jobs.kernels.statistics import (
    content_statistics,
    neighbor_statistics,
    share,
    slate_statistics,
    trending_statistics,
)
from jobs.kernels.threads import use_threads
from schemas.tables import UNEXPLAINED


def indices(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def best_first(scores: np.ndarray, allowed: np.ndarray, n: int) -> list[int]:
    """The oracle of every ranking: score descending, then position ascending."""
    return sorted(np.flatnonzero(allowed).tolist(), key=lambda k: (-scores[k], k))[:n]


# reasons


def closed_form(factors, own, confidence, regularization, proposed) -> np.ndarray:
    """Hu, Koren, Volinsky 2008, eq. 7: share of each own item in each proposed one's score, the long way round."""
    weights = np.ones(len(factors))
    weights[own] = confidence
    system = factors.T @ np.diag(weights) @ factors + regularization * np.eye(factors.shape[1])
    similarity = factors @ np.linalg.inv(system) @ factors.T
    return np.array([[similarity[i, j] * c for j, c in zip(own, confidence, strict=True)] for i in proposed])


def reasons_of(factors, proposed, own, confidence, shared) -> list[int]:
    """Of one user."""
    found, ends = np.full(len(proposed), -1), (np.array([0, len(proposed)]), np.array([0, len(own)]))
    strongest_reasons(factors, shared, proposed, ends[0], own, confidence, ends[1], found)
    return found.tolist()


@pytest.mark.parametrize("seed", range(25))
def test_reasons_are_the_greatest_terms_of_the_closed_form(seed):
    """With few items and little confidence, where each part of the formula decides some of the places."""
    random = np.random.default_rng(seed)
    factors = random.normal(size=(10, 4))
    own, proposed = random.choice(10, 6, replace=False), np.arange(10)
    confidence = 1 + 2 * random.random(6)
    reasons = reasons_of(factors, proposed, own, confidence, gram(factors, 0.1))
    assert reasons == own[closed_form(factors, own, confidence, 0.1, proposed).argmax(axis=1)].tolist()


def test_reasons_of_several_users_are_those_of_each():
    random = np.random.default_rng(3)
    factors, sizes = random.normal(size=(10, 4)), (1, 0, 6, 3)
    owns = [np.sort(random.choice(10, n, replace=False)) for n in sizes]
    trusts, shared = [1 + 2 * random.random(n) for n in sizes], gram(factors, 0.1)
    found = np.full(4 * 10, -1)
    ends, own_at = np.arange(0, 50, 10), np.append(0, np.cumsum(sizes))
    strongest_reasons(
        factors, shared, np.tile(np.arange(10), 4), ends, np.concatenate(owns), np.concatenate(trusts), own_at, found
    )
    for own, trust, mine in zip(owns, trusts, found.reshape(4, 10), strict=True):
        alone = reasons_of(factors, np.arange(10), own, trust, shared) if len(own) else [-1] * 10
        assert mine.tolist() == alone


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
    alike = np.vstack([factors, factors[:1]])
    assert reasons_of(alike, np.arange(3), np.array([3, 0]), np.array([2.0, 2.0]), shared) == [3, 3, 3]
    assert reasons_of(factors, np.arange(3), np.array([2]), np.array([5.0]), shared) == [2, 2, 2]
    assert reasons_of(factors, np.arange(0), np.array([2]), np.array([5.0]), shared) == []


def test_gram_is_exact_in_float64():
    factors = np.array([[1, 2], [3, 4]], np.float32)
    # [[1+9, 2+12], [2+12, 4+16]] + 0.5 on the diagonal
    assert gram(factors, 0.5).tolist() == [[10.5, 14.0], [14.0, 20.5]]


# pairs


@pytest.mark.parametrize("score", ["cosine", "lift", "llr"])
@pytest.mark.parametrize(("n_threads", "parts"), [(1, 1), (2, 2), (5, 8)])
def test_pairs_are_those_of_the_dense_product(monkeypatch, score, n_threads, parts):
    """Parts of all items, of a few and of one or none give the same lists, however many threads there are."""
    monkeypatch.setattr(threads, "_wanted", 2)  # put back afterwards
    use_threads(n_threads)
    monkeypatch.setattr(threads, "PARTS_A_THREAD", parts)
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
     "n_without_own_reason", "n_bad_propensities", "n_uneven"), 0) | {"explained": 1.0}  # fmt: skip


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


def test_what_is_merely_promoted_or_popular_needs_no_reason():
    promoted = slate(sources=["promotion", "als"], because_of=[-1, 0])
    other = slate(user_id="u2", items=[3, 4], sources=["als", "promotion"], because_of=[0, -1])
    assert measured(promoted, other)["n_without_own_reason"] == 0
    for source in UNEXPLAINED:
        assert measured(slate(sources=[source, "als"], because_of=[-1, 0]))["n_without_own_reason"] == 0
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


def test_what_is_described_alike_is_in_order_and_known():
    good = [
        {"item_idx": 5, "others": [0, 1, 2], "weights": [1.0, 0.5, 0.5]},
        {"item_idx": 6, "others": [1], "weights": [0.9]},
    ]
    fine = content_statistics(rows("content_neighbors", *good), 7)
    assert fine.pop("n_rows") == 2
    assert set(fine.values()) == {0}
    bad = [
        {"item_idx": 5, "others": [5, 2, 2, -1], "weights": [0.2, 0.3, 0.1, 0.0]},  # itself, one twice, one unknown
        {"item_idx": 7, "others": [1, 0], "weights": [2.0, float("nan"), 0.5]},  # beyond 0 to 6; a weight too many
        {"item_idx": 5, "others": [], "weights": []},
    ]
    assert content_statistics(rows("content_neighbors", *bad), 7) == {
        "n_rows": 3, "n_repeated_rows": 1, "n_repeated_items": 1, "n_own_neighbors": 1, "n_unknown_items": 2,
        "n_bad_weights": 3, "n_out_of_order": 3, "n_uneven": 1}  # fmt: skip
    assert set(content_statistics(rows("content_neighbors"), 0).values()) == {0}


def test_ranks_have_no_gaps():
    def ranked(segment, *ranks):
        return [{"segment": segment, "rank": rank} for rank in ranks]

    table = rows("trending", *ranked("all", 1, 2, 3), *ranked("country=FR", 1, 3), *ranked("country=DE", 1, 1))
    assert trending_statistics(table) == {"n_rows": 7, "n_segments": 3, "n_for_all": 3, "n_gaps": 2}
    assert trending_statistics(rows("trending")) == {"n_rows": 0, "n_segments": 0, "n_for_all": 0, "n_gaps": 0}
