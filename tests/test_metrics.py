"""Quality of ranked lists: literal arithmetic, and what must hold for any lists."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.kernels import metrics
from jobs.kernels.metrics import churn, coverage, empty_rate, exposure_gini, fill, judge, novelty, per_user

NAMES = ("ndcg", "recall", "precision", "average_precision", "hit", "reciprocal_rank")
NAN = float("nan")
PATIENT = settings(deadline=None)  # machines that test are busy


def lists_of(*rows: list[int]) -> np.ndarray:
    """The rows, padded to the longest."""
    width = max(map(len, rows), default=0)
    return np.array([[*row, *[-1] * (width - len(row))] for row in rows], np.int32).reshape(len(rows), width)


def truth_of(n_items: int, *rows: set[int]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array([[item in row for item in range(n_items)] for row in rows], np.int8))


SECOND, THIRD = 1 / np.log2(3), 1 / 2  # discounts of ranks 2 and 3; rank 1 has 1


@pytest.mark.parametrize(
    ("items", "relevant", "k", "ndcg", "recall", "precision", "average_precision", "hit", "reciprocal_rank"),
    [
        # hits at ranks 2 and 3 of three possible: (1/2 + 2/3) / 3 = 7/18
        ([3, 1, 4], {1, 4, 5}, 3, (SECOND + THIRD) / (1 + SECOND + THIRD), 2 / 3, 2 / 3, 7 / 18, 1, 1 / 2),
        # cut at 2: the best list has two hits, recall still knows of three
        ([3, 1, 4], {1, 4, 5}, 2, SECOND / (1 + SECOND), 1 / 3, 1 / 2, 1 / 4, 1, 1 / 2),
        # a list shorter than k: three hits are possible, places 4 and 5 are misses
        ([3, 1, 4], {1, 4, 5}, 5, (SECOND + THIRD) / (1 + SECOND + THIRD), 2 / 3, 2 / 5, 7 / 18, 1, 1 / 2),
        # fewer relevant than places: (1 + 2/3) / 2
        ([1, 3, 4], {1, 4}, 3, (1 + THIRD) / (1 + SECOND), 1, 2 / 3, 5 / 6, 1, 1),
        ([1], {1, 2}, 1, 1, 1 / 2, 1, 1, 1, 1),
        ([0, 2], {1}, 2, 0, 0, 0, 0, 0, 0),
        ([], {1}, 2, 0, 0, 0, 0, 0, 0),  # an empty list is known to be worth nothing
        ([1, 2], set(), 2, NAN, NAN, NAN, NAN, NAN, NAN),  # whoever took nothing tells nothing
        ([], set(), 2, NAN, NAN, NAN, NAN, NAN, NAN),
    ],
)
def test_one_list_by_hand(items, relevant, k, ndcg, recall, precision, average_precision, hit, reciprocal_rank):
    found = per_user(lists_of(items), truth_of(6, relevant), [k])
    wanted = (ndcg, recall, precision, average_precision, hit, reciprocal_rank)
    assert {name: values.dtype for name, values in found.items()} == {f"{name}@{k}": np.float64 for name in NAMES}
    np.testing.assert_allclose(np.concatenate(list(found.values())), wanted, rtol=1e-12)


def test_each_user_is_judged_by_their_own_truth():
    lists, truth = lists_of([0, 1], [0, 1], [2]), truth_of(3, {0}, {1}, {0})
    assert judge(lists, truth).hits.tolist() == [[True, False], [False, True], [False, False]]
    found = per_user(lists, truth, (1, 2))
    assert list(found) == [f"{name}@{k}" for name in NAMES for k in (1, 2)]
    assert found["recall@1"].tolist() == [1, 0, 0]
    assert found["reciprocal_rank@2"].tolist() == [1, 0.5, 0]


def test_only_cells_other_than_zero_are_relevant_and_the_truth_is_left_as_it_was():
    # one row: item 2 twice (1 + 1), item 0 stored as 0, out of order
    truth = sp.csr_matrix((np.array([1.0, 0.0, 1.0]), np.array([2, 0, 2]), np.array([0, 3])), (1, 3))
    judged = judge(lists_of([0, 2]), truth)
    assert (judged.hits.tolist(), judged.n_relevant.tolist()) == ([[False, True]], [1])
    assert (truth.indices.tolist(), truth.data.tolist(), truth.indptr.tolist()) == ([2, 0, 2], [1, 0, 1], [0, 3])


def test_no_users_and_no_items_are_no_error():
    assert {len(values) for values in per_user(lists_of(), truth_of(3).reshape(0, 3), [5]).values()} == {0}
    nothing = per_user(np.empty((2, 0), np.int32), sp.csr_matrix((2, 0)), [5])
    assert np.isnan(np.stack(list(nothing.values()))).all()


# properties


@st.composite
def worlds(draw) -> tuple[np.ndarray, sp.csr_matrix, int]:
    """Lists of up to five users and eight items, their truth and a k, from nobody knowing anything to all."""
    n_items, n_users = draw(st.integers(1, 8)), draw(st.integers(1, 5))
    orders = [draw(st.permutations(range(n_items))) for _ in range(n_users)]
    rows = [list(order[: draw(st.integers(0, n_items))]) for order in orders]
    relevant = [draw(st.sets(st.integers(0, n_items - 1))) for _ in range(n_users)]
    return lists_of(*rows), truth_of(n_items, *relevant), draw(st.integers(1, 10))


def same(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> None:
    assert list(one) == list(two)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


@PATIENT
@given(worlds())
def test_all_is_between_0_and_1_and_known_where_there_is_truth(world):
    lists, truth, k = world
    for values in per_user(lists, truth, [k]).values():
        assert np.isnan(values).tolist() == (np.diff(truth.indptr) == 0).tolist()
        assert (np.isnan(values) | ((values >= 0) & (values <= 1))).all()


@PATIENT
@given(worlds())
def test_the_best_list_is_worth_1(world):
    _, truth, k = world
    order = np.argsort(-truth.toarray(), axis=1, kind="stable").astype(np.int32)
    n_relevant = np.diff(truth.indptr)
    some, most = n_relevant > 0, np.minimum(n_relevant, k)
    found = per_user(order, truth, [k])
    for name in ("ndcg", "average_precision", "hit", "reciprocal_rank"):
        assert (found[f"{name}@{k}"][some] == 1).all(), name
    np.testing.assert_array_equal(found[f"recall@{k}"][some], (most / np.maximum(n_relevant, 1))[some])
    np.testing.assert_array_equal(found[f"precision@{k}"][some], (most / k)[some])


@PATIENT
@given(worlds())
def test_what_stands_below_k_does_not_count(world):
    lists, truth, k = world
    same(per_user(lists, truth, [k]), per_user(lists[:, :k], truth, [k]))


@PATIENT
@given(worlds(), st.integers(1, 4))
def test_padding_does_not_count(world, n):
    lists, truth, k = world
    padded = np.pad(lists, ((0, 0), (0, n)), constant_values=-1)
    same(per_user(lists, truth, [k]), per_user(padded, truth, [k]))
    n_items = truth.shape[1]
    for measure in (coverage, exposure_gini):
        np.testing.assert_array_equal(measure(lists, k, n_items), measure(padded, k, n_items))
    assert fill(lists, k) == fill(padded, k)
    assert empty_rate(lists) == empty_rate(padded)
    np.testing.assert_array_equal(churn(lists, padded[::-1], k), churn(lists, lists[::-1], k))


@PATIENT
@given(worlds(), st.randoms())
def test_the_order_of_users_and_the_numbers_of_items_do_not_matter(world, random):
    lists, truth, k = world
    users, codes = list(range(len(lists))), list(range(truth.shape[1]))
    random.shuffle(users)
    random.shuffle(codes)
    renamed = np.append(codes, -1).astype(np.int32)[lists]  # -1 stays -1
    back = np.argsort(codes)
    wanted = {name: values[users] for name, values in per_user(lists, truth, [k]).items()}
    same(per_user(renamed[users], truth[users][:, back], [k]), wanted)
    np.testing.assert_array_equal(exposure_gini(renamed[users], k, len(codes)), exposure_gini(lists, k, len(codes)))


@PATIENT
@given(worlds())
def test_more_places_find_no_less(world):
    lists, truth, k = world
    found = per_user(lists, truth, [k, k + 1])
    for name in ("recall", "hit", "reciprocal_rank"):
        assert not (found[f"{name}@{k + 1}"] < found[f"{name}@{k}"]).any(), name


# the whole set


@pytest.mark.parametrize(
    ("rows", "k", "n_items", "n_shown", "gini"),
    [
        ([[0, 1], [2, 3]], 2, 4, 4, 0),  # each once
        ([[0], [0]], 1, 4, 1, 3 / 4),  # one has all: (4 - 1) / 4
        ([[0, 1], [0]], 2, 2, 2, 1 / 6),  # 1 and 2: (-1·1 + 1·2) / (2 · 3)
        ([[0, 1], [0]], 1, 2, 1, 1 / 2),  # cut at 1: item 0 has both
        ([[3], []], 2, 5, 1, 4 / 5),
        ([[], []], 2, 5, 0, NAN),
    ],
)
def test_coverage_and_gini_by_hand(rows, k, n_items, n_shown, gini):
    lists = lists_of(*rows)
    assert coverage(lists, k, n_items) == n_shown / n_items
    np.testing.assert_allclose(exposure_gini(lists, k, n_items), gini, rtol=1e-12)


@PATIENT
@given(worlds())
def test_gini_is_half_the_mean_difference_over_the_mean(world):
    lists, truth, k = world
    cut = lists[:, :k]
    counts = np.bincount(cut[cut >= 0], minlength=truth.shape[1])
    if counts.any():
        wanted = np.abs(np.subtract.outer(counts, counts)).mean() / (2 * counts.mean())
        assert exposure_gini(lists, k, truth.shape[1]) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("rows", "k", "bits"),
    [
        ([[0, 1]], 2, 2),  # p = 4/8 and 1/8: (1 + 3) / 2
        ([[0, 1]], 1, 1),
        ([[0], [0, 1]], 2, 5 / 3),  # places, not lists: (1 + 1 + 3) / 3
        ([[3]], 1, 3),  # never dealt with: as if once
        ([[2]], 1, np.log2(8 / 3)),
        ([[]], 1, NAN),
    ],
)
def test_novelty_by_hand(rows, k, bits):
    np.testing.assert_allclose(novelty(lists_of(*rows), k, np.array([4, 1, 3, 0])), bits, rtol=1e-12)


@pytest.mark.parametrize(
    ("before", "after", "k", "wanted"),
    [
        ([[0, 1], [2, 3]], [[1, 0], [2, 3]], 2, 0),  # the order does not count
        ([[0, 1], [2, 3]], [[0, 2], [2, 3]], 2, 1 / 4),  # overlaps 1/2 and 1
        ([[0, 1], [2, 3]], [[1, 0], [2, 3]], 1, 1 / 2),  # cut at 1: 0 against 1
        ([[0, 1]], [[1, 0]], 5, 0),  # short on both sides is no change
        ([[0]], [[0, 1, 2, 3]], 4, 3 / 4),  # three of the longer list are new
        ([[], [0]], [[], [1]], 2, 1),  # who had and has nothing is left out
        ([[0]], [[]], 2, 1),
        ([[]], [[]], 2, NAN),
    ],
)
def test_churn_by_hand(before, after, k, wanted):
    one, two = lists_of(*before), lists_of(*after)
    np.testing.assert_allclose([churn(one, two, k), churn(two, one, k)], wanted, rtol=1e-12, atol=1e-12)


def test_empty_and_filled_by_hand():
    lists = lists_of([0, 1, 2], [3], [])
    assert empty_rate(lists) == 1 / 3
    assert fill(lists, 2) == 3 / 6  # 2 + 1 of 3 · 2
    assert fill(lists, 5) == 4 / 15
    nobody = lists_of()
    assert np.isnan([empty_rate(nobody), fill(nobody, 2), coverage(nobody, 2, 0), churn(nobody, nobody, 2)]).all()


# errors


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (np.array([0, 1]), r"shape \(2,\)"),
        (np.array([[0.0, 1.0]]), "float64"),
        (np.array([[0, -2]]), "-2 to 0, allowed are -1 to 2"),
        (np.array([[0, 3]]), "0 to 3, allowed are -1 to 2"),
        (np.array([[-1, 0]]), "before an item"),
        (np.array([[1, 0, 1]]), "twice"),
    ],
)
def test_wrong_lists_are_refused_by_all(lists, message):
    calls = (
        lambda: per_user(lists, sp.csr_matrix((len(lists), 3)), [1]),
        lambda: coverage(lists, 1, 3),
        lambda: exposure_gini(lists, 1, 3),
        lambda: novelty(lists, 1, np.ones(3)),
    )
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()
    if "allowed" not in message or "-2" in message:  # these know of no catalogue
        for call in (lambda: churn(lists, lists, 1), lambda: empty_rate(lists), lambda: fill(lists, 1)):
            with pytest.raises(ValueError, match=message.partition(", allowed")[0]):
                call()


def test_what_does_not_fit_together_is_refused():
    lists, truth = lists_of([0, 1]), truth_of(3, {0})
    with pytest.raises(ValueError, match="lists of 1 users, truth of 2"):
        per_user(lists, truth_of(3, {0}, {1}), [1])
    with pytest.raises(ValueError, match="1 users before, 2 after"):
        churn(lists, lists_of([0], [1]), 1)
    with pytest.raises(ValueError, match="0 interactions"):
        novelty(lists, 1, np.zeros(3))
    judged = judge(lists, truth)
    calls = [lambda measure=measure: getattr(metrics, measure)(judged, 0) for measure in NAMES]
    calls += [lambda: coverage(lists, 0, 3), lambda: fill(lists, 0), lambda: churn(lists, lists, 0)]
    for call in calls:
        with pytest.raises(ValueError, match="k is 0"):
            call()
