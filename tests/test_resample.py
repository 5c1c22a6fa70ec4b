"""Bootstrap intervals and sign flips: against normal theory, against all flips, and over many samples."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.kernels import resample
from jobs.kernels.resample import Interval, compare, mean_interval, p_of_no_difference

PATIENT = settings(deadline=None)  # machines that test are busy
FEW = 400  # draws, where the answer is not about the last digit
some_values = st.lists(st.integers(0, 20).map(lambda n: n / 20), min_size=1, max_size=12).map(np.array)


def close(found: Interval, *wanted: float) -> None:
    np.testing.assert_allclose((found.value, found.low, found.high), wanted, rtol=1e-12)


# one mean


def test_what_does_not_vary_is_certain_and_nobody_is_unknown():
    close(mean_interval(np.full(7, 0.25), 1), 0.25, 0.25, 0.25)
    close(mean_interval(np.array([0.5]), 1), 0.5, 0.5, 0.5)
    nan = float("nan")
    close(mean_interval(np.array([]), 1), nan, nan, nan)
    close(mean_interval(np.array([nan]), 1), nan, nan, nan)


def test_users_without_a_value_are_left_out():
    values = np.array([0.2, 0.4, 0.9])
    assert mean_interval(np.r_[np.nan, values, np.nan], 1) == mean_interval(values, 1)


@pytest.mark.parametrize(("level", "z"), [(0.95, 1.95996), (0.8, 1.28155)])
def test_an_interval_is_that_of_normal_theory(level, z):
    """mean ± z · deviation / √n, to a tenth of its half width: 2,000 draws know the bounds to about 4 %."""
    values = np.random.default_rng(3).exponential(size=2_000)
    half = z * values.std() / np.sqrt(len(values))
    found = mean_interval(values, 5, level=level)
    assert found.value == pytest.approx(values.mean(), rel=1e-12)
    np.testing.assert_allclose((found.low, found.high), (values.mean() - half, values.mean() + half), atol=half / 10)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    """300 samples of 100 users with mean 0.3: 95 % ± 3 standard errors of 1.3 %, and the 80 % interval accordingly."""
    random = np.random.default_rng(8)
    samples = [random.beta(3, 7, 100) for _ in range(300)]
    for level, error in ((0.95, 0.038), (0.8, 0.07)):
        found = [mean_interval(values, seed, FEW, level) for seed, values in enumerate(samples)]
        assert np.mean([one.low <= 0.3 <= one.high for one in found]) == pytest.approx(level, abs=error)


@PATIENT
@given(some_values, st.integers(0, 9), st.randoms())
def test_the_seed_decides_and_the_order_of_users_does_not(values, seed, random):
    shuffled = values.tolist()
    random.shuffle(shuffled)
    assert mean_interval(values, seed, 50) == mean_interval(np.array(shuffled), seed, 50)


def test_another_seed_draws_others():
    ours, base = np.random.default_rng(1).random((2, 50))
    assert mean_interval(ours, 1) != mean_interval(ours, 2)
    assert compare(ours, base, 1).p_value != compare(ours, base, 2).p_value


@pytest.mark.parametrize("cells", [1, 100, 1_000])
def test_memory_is_bounded_and_its_bound_changes_nothing(monkeypatch, cells):
    """60 users, 50 draws: one draw at a time, some, many; whole is 3,000 cells."""
    ours, base = np.random.default_rng(2).random((2, 60))
    whole = mean_interval(ours, 4, 50), compare(ours, base, 4, 50)
    monkeypatch.setattr(resample, "CHUNK_CELLS", cells)
    sizes = resample.chunks(60, 50)
    assert sum(sizes) == 50
    assert max(sizes) * 60 <= max(cells, 60)
    assert (mean_interval(ours, 4, 50), compare(ours, base, 4, 50)) == whole


# two means


def test_the_same_gain_for_all_is_certain():
    base = np.array([0.1, 0.2, 0.3, 0.4])
    found = compare(base + 0.25, base, 1)
    assert found.n == 4
    np.testing.assert_allclose((found.difference.value, found.difference.low, found.difference.high), 0.25)
    assert found.ratio.value == pytest.approx(2)  # 0.5 / 0.25
    assert 1 + 0.25 / 0.4 <= found.ratio.low < 2 < found.ratio.high <= 1 + 0.25 / 0.1
    twice = compare(2 * base, base, 1).ratio
    np.testing.assert_allclose((twice.value, twice.low, twice.high), 2)


def test_pairs_are_drawn_together():
    """Users differ by 1, both list-makers by 0.01: drawn apart the difference would be lost in that of users."""
    random = np.random.default_rng(6)
    base = random.random(400)
    found = compare(base + 0.01 + random.normal(0, 0.02, 400), base, 1)
    assert 0 < found.difference.low < found.difference.value < found.difference.high < 0.02
    assert 1 < found.ratio.low < found.ratio.value < found.ratio.high < 1.04
    assert found.p_value < 0.002


def test_users_known_to_one_only_are_left_out():
    nan = float("nan")
    found = compare(np.array([nan, 0.5, 0.3, nan]), np.array([0.1, 0.4, nan, nan]), 1)
    assert found.n == 1
    assert found.difference.value == pytest.approx(0.1)
    nobody = compare(np.array([nan, 0.5]), np.array([0.5, nan]), 1)
    assert nobody.n == 0
    assert np.isnan([nobody.difference.value, nobody.ratio.low, nobody.p_value]).all()


def test_a_ratio_to_nothing_is_unknown():
    never = compare(np.array([1.0, 2.0]), np.zeros(2), 1).ratio
    assert np.isnan([never.value, never.low, never.high]).all()
    seldom = compare(np.array([1.0, 2.0]), np.array([0.0, 1.0]), 1).ratio  # a quarter of the draws has no base
    assert seldom.value == 3
    assert np.isnan([seldom.low, seldom.high]).all()


@PATIENT
@given(some_values, st.integers(0, 9), st.randoms())
def test_a_comparison_is_the_same_for_users_in_any_order(ours, seed, random):
    base, users = ours[::-1] ** 2, list(range(len(ours)))
    random.shuffle(users)
    assert repr(compare(ours, base, seed, 50)) == repr(compare(ours[users], base[users], seed, 50))  # NaN is itself


@PATIENT
@given(some_values, st.integers(0, 9))
def test_the_other_way_round_the_difference_is_negative_and_as_likely(ours, seed):
    base = ours[::-1] ** 2
    one, two = compare(ours, base, seed, 50), compare(base, ours, seed, 50)
    assert one.difference.value == pytest.approx(-two.difference.value, abs=1e-12)
    assert one.p_value == two.p_value


# chance


@pytest.mark.parametrize(
    "differences",
    [
        [1, 2, 3],  # 2 of 8 flips are as far: 0.25
        [1, 2, 4, -3],
        [0.1, 0.2, 0.3, -0.3, 0.7, 0.7],  # 0.1 + 0.2 is not 0.3 in every order
        [0.5],  # both flips are as far
        [1, 1, 1, 1, 1, 1, 1, -1],
    ],
)
def test_p_is_that_of_all_flips(differences):
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=len(differences))]
    exact = np.mean(np.array(sums) >= abs(sum(differences)) - 1e-12)
    found = p_of_no_difference(np.array(differences, float), 1, 20_000)
    assert found == pytest.approx(exact, abs=0.0106)  # three standard errors at most


def test_p_is_1_where_nobody_differs_and_never_0():
    assert p_of_no_difference(np.zeros(9), 1) == 1
    assert p_of_no_difference(np.array([0.3, -0.1, -0.2]), 1) == 1
    assert p_of_no_difference(np.ones(500), 1) == 1 / 2001
    assert p_of_no_difference(np.array([]), 1) == 1


def test_users_who_do_not_differ_do_not_matter():
    differences = np.array([1.0, 2.0, -0.5, 3.0])
    assert p_of_no_difference(np.r_[differences, np.zeros(50)], 1) == p_of_no_difference(differences, 1)


def test_p_is_small_by_chance_as_seldom_as_it_says():
    """400 comparisons of equals: 5 % ± 3 standard errors of 1.1 % are at most 0.05, and half at most 0.5."""
    random = np.random.default_rng(5)
    found = np.array([p_of_no_difference(random.normal(size=40), seed, FEW) for seed in range(400)])
    assert np.mean(found <= 0.05) == pytest.approx(0.05, abs=0.033)
    assert np.mean(found <= 0.5) == pytest.approx(0.5, abs=0.075)


# errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare(np.ones(2), np.ones(3), 1), "2 users against 3"),
        (lambda: mean_interval(np.ones(2), 1, n_draws=0), "0 draws"),
        (lambda: p_of_no_difference(np.ones(2), 1, n_draws=0), "0 draws"),
        (lambda: mean_interval(np.ones(2), 1, level=1.0), "level is 1.0"),
        (lambda: mean_interval(np.ones(2), 1, level=0.0), "level is 0.0"),
        (lambda: compare(np.ones(2), np.ones(2), 1, level=95), "level is 95"),
    ],
)
def test_wrong_questions_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
