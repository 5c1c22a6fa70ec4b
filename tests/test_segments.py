"""Users by what is known of them, and truth on new items: literal tables."""

import numpy as np
import pytest
import scipy.sparse as sp

from jobs.kernels.segments import NAMES, NewItems, mean_by_segment, new_item_recall, new_items, segment_of

NAN = float("nan")
AS_OF = np.datetime64("2026-03-31T00:00:00", "us")


@pytest.mark.parametrize(
    ("n_train", "name"),
    [(0, "cold"), (1, "new"), (3, "new"), (4, "light"), (20, "light"), (21, "heavy"), (10**6, "heavy")],
)
def test_the_default_bounds(n_train, name):
    assert NAMES[segment_of(np.array([n_train]))[0]] == name


def test_other_bounds():
    assert segment_of(np.array([9, 0, 10, 11]), (0, 10)).tolist() == [1, 0, 1, 2]
    assert segment_of(np.array([], np.int64)).tolist() == []


@pytest.mark.parametrize(
    ("n_train", "bounds", "message"),
    [([1], (0, 3, 3), "ascending"), ([1], (3, 0), "ascending"), ([1, -1], (0,), "-1 train interactions")],
)
def test_wrong_segments_are_refused(n_train, bounds, message):
    with pytest.raises(ValueError, match=message):
        segment_of(np.array(n_train), bounds)


def test_means_of_known_values_and_segments_without_users():
    values = np.array([0.5, 1.0, NAN, 0.25, NAN])
    found = mean_by_segment(values, np.array([1, 1, 1, 0, 2]))
    assert list(found) == ["cold", "new", "light", "heavy"]
    assert found["cold"] == (0.25, 1)
    assert found["new"] == (0.75, 2)  # (0.5 + 1) / 2: the third is unknown
    assert [found[name].n_users for name in ("light", "heavy")] == [0, 0]
    assert np.isnan([found[name].mean for name in ("light", "heavy")]).all()
    nobody = mean_by_segment(np.array([]), np.array([], np.int64), ("all",))
    assert nobody["all"].n_users == 0


@pytest.mark.parametrize(
    ("values", "segment", "message"),
    [
        ([1.0], [0, 1], "1 values, segments of 2 users"),
        ([1.0], [2], "segments 2 to 2, names for 0 to 1"),
        ([1.0], [-1], "segments -1 to -1"),
    ],
)
def test_values_that_do_not_fit_are_refused(values, segment, message):
    with pytest.raises(ValueError, match=message):
        mean_by_segment(np.array(values), np.array(segment), ("few", "many"))


@pytest.mark.parametrize(
    ("first_seen", "is_new"),
    [
        ("2026-03-23T23:59:59", False),
        ("2026-03-24T00:00:00", True),  # 7 days before
        ("2026-03-30T23:59:59", True),
        ("2026-03-31T00:00:00", False),  # the moment itself is not before
        ("2026-04-02T00:00:00", False),
        ("NaT", False),
    ],
)
def test_new_is_first_seen_in_the_days_before(first_seen, is_new):
    assert new_items(np.array([first_seen], "datetime64[us]"), AS_OF, 7).tolist() == [is_new]


def cells(*rows: list[int]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(rows, np.int8))


LISTS = np.array([[0, 3, 2], [3, 1, -1], [2, -1, -1]])
TRUTH = cells([1, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1])  # 3 + 2 + 1 cells, of which items 2 and 3 have 2 + 1 + 1
IS_NEW = np.array([False, False, True, True])


@pytest.mark.parametrize(("k", "n_hits"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_cells_on_new_items_count_once_each(k, n_hits):
    # user 0: item 3 at place 2 and item 2 at place 3; user 1: item 3 at place 1; user 2 wanted 3 and was shown 2
    assert new_item_recall(LISTS, TRUTH, IS_NEW, k) == NewItems(share=4 / 6, recall=n_hits / 4, n_cells=4)


def test_without_new_items_and_without_truth():
    share, recall, n_cells = new_item_recall(LISTS, TRUTH, np.zeros(4, bool), 3)
    assert (share, n_cells) == (0, 0)
    assert np.isnan(recall)
    share, recall, n_cells = new_item_recall(LISTS, sp.csr_matrix((3, 4)), IS_NEW, 3)
    assert np.isnan([share, recall]).all()
    assert n_cells == 0


def test_the_truth_is_left_as_it_was():
    truth = TRUTH.copy()
    new_item_recall(LISTS, truth, IS_NEW, 3)
    assert (truth != TRUTH).nnz == 0
    assert truth.nnz == 6


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match=r"shape \(3,\), truth is about 4 items"):
        new_item_recall(LISTS, TRUTH, IS_NEW[:3], 1)
    with pytest.raises(ValueError, match="k is 0"):
        new_item_recall(LISTS, TRUTH, IS_NEW, 0)
