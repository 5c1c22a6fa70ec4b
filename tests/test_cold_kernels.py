"""Newcomers, new items and short visits: literal tables with their arithmetic, limits and properties."""

import numpy as np
import pytest
import scipy.sparse as sp
from cold_start_shop import decayed_people

from jobs.kernels import cold_users
from jobs.kernels.cold_items import borrowed, exposure_days, item_rates
from jobs.kernels.cold_users import (
    best_strength,
    by_combination,
    by_value,
    combinations,
    lifts,
    newest_of_each,
    shares,
    shrunk,
)
from jobs.kernels.session import mix, recent_weights, session_neighbors, shared_out

NAN = float("nan")
SEEDS = range(5)


def codes(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def sparse(*rows: list[float]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(rows, float))


# (person, item, age in days)
EVENTS = np.array([(0, 1, 14.0), (0, 1, 7.0), (0, 0, 0.0), (2, 1, 21.0), (2, 1, 30.0), (2, 2, 7.0)]).T


def columns(events: np.ndarray = EVENTS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return events[0].astype(np.int64), events[1].astype(np.int64), events[2]


# people


def test_a_person_counts_once_by_their_newest_event():
    found = decayed_people(*columns(), half_life_days=7, shape=(3, 4))
    # 0.5^0, 0.5^1; nobody; 0.5^3, 0.5^1
    assert found.toarray().tolist() == [[1, 0.5, 0, 0], [0, 0, 0, 0], [0, 0.125, 0.5, 0]]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_events_does_not_matter(seed):
    order = np.random.default_rng(seed).permutation(EVENTS.shape[1])
    wanted = decayed_people(*columns(), 7, (3, 4)), recent_weights(*columns(), 0.5, 2, (3, 4))
    shuffled = columns(EVENTS[:, order])
    found = decayed_people(*shuffled, 7, (3, 4)), recent_weights(*shuffled, 0.5, 2, (3, 4))
    assert [part.toarray().tolist() for part in found] == [part.toarray().tolist() for part in wanted]


def test_no_events_are_no_people():
    nothing = codes(), codes(), np.empty(0)
    assert newest_of_each(*nothing).tolist() == []
    assert decayed_people(*nothing, 7, (2, 3)).nnz == 0
    assert recent_weights(*nothing, 0.5, 2, (2, 3)).nnz == 0


def test_shares_add_up_and_are_never_zero():
    # counts 3, 1, 0; a third of one count each: 10/12, 4/12, 1/12 of 4 + 1 -> 10/15, 4/15, 1/15
    np.testing.assert_allclose(shares(sparse([1, 1, 0], [2, 0, 0])), [10 / 15, 4 / 15, 1 / 15])
    np.testing.assert_allclose(shares(sp.csr_matrix((0, 4))), [0.25] * 4)


# segments


def test_counts_by_value_leave_out_the_unknown():
    people = sparse([1, 0], [0, 0.5], [4, 4], [1, 1])
    assert by_value(people, codes(0, 0, -1, 2)).tolist() == [[1, 0.5], [0, 0], [1, 1]]
    assert by_value(people, codes(-1, -1, -1, -1)).shape == (0, 2)


COUNTS, PARENT = np.array([[3.0, 1.0], [0.0, 0.0]]), np.array([0.25, 0.75])


@pytest.mark.parametrize(
    ("parent", "strength", "expected"),
    [
        (PARENT, 4.0, [[0.5, 0.5], [0.25, 0.75]]),  # (3 + 4·0.25) / (4 + 4), (1 + 4·0.75) / 8; nobody: the parent
        (PARENT, 1e12, [[0.25, 0.75], [0.25, 0.75]]),
        (PARENT, 1e-12, [[0.75, 0.25], [0.25, 0.75]]),
        (np.array([[0.5, 0.5], [0.1, 0.9]]), 4.0, [[0.625, 0.375], [0.1, 0.9]]),  # (3 + 2) / 8, a parent for each
    ],
)
def test_shrinkage_and_its_limits(parent, strength, expected):
    found = shrunk(COUNTS, parent, strength)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def two_tribes(n: int, loyal: int) -> tuple[sp.csr_matrix, np.ndarray]:
    """People of two values in turn; ``loyal`` of 20 take an item of their value's pair (0 and 1, 2 and 3) by turns."""
    k = np.arange(n)
    code, turn = k % 2, k // 2
    pair = np.where(turn % 20 < loyal, code, 1 - code)
    return sp.csr_matrix((np.ones(n), (k, 2 * pair + turn // 20 % 2)), (n, 4)), code


@pytest.mark.parametrize(("loyal", "least", "most"), [(19, 3, 10), (10, 100_000, 100_000)])
def test_the_strength_is_low_where_values_differ_and_high_where_they_do_not(loyal, least, most):
    people, code = two_tribes(400, loyal)
    assert least <= best_strength(people, code, by_value(people, code), shares(people)) <= most


@pytest.mark.parametrize("seed", SEEDS)
def test_the_strength_is_that_of_the_leave_one_out_likelihood(seed):
    """Against the sum over persons, spelled out; a few heavy ones, so that leaving one out matters."""
    random = np.random.default_rng(seed)
    code = np.repeat([0, 1], 5)
    people = sp.csr_matrix(random.poisson([[1, 1, 3, 1], [3, 1, 1, 1]], (5, 2, 4)).swapaxes(0, 1).reshape(10, 4) * 20.0)
    counts, parent = by_value(people, code), shares(people)
    fits = {}
    for m in cold_users.STRENGTHS:
        of_others = [shrunk(counts[[value]] - people[k].toarray(), parent, m)[0] for k, value in enumerate(code)]
        fits[m] = (people.toarray() * np.log(of_others)).sum()
    assert best_strength(people, code, counts, parent) == max(fits, key=fits.get)


def test_without_a_known_value_the_strength_is_the_greatest_and_the_lift_one():
    people = sparse([1, 0, 2], [0, 1, 1])
    nobody = codes(-1, -1)
    assert best_strength(people, nobody, by_value(people, nobody), shares(people)) == max(cold_users.STRENGTHS)
    assert lifts(people, nobody, codes(0, 0, 0)).tolist() == [[1, 1, 1]]


def test_a_lift_of_the_category_reaches_items_nobody_of_the_value_took():
    people, code = two_tribes(400, 18)
    none_took = sp.hstack([people, sp.csr_matrix((400, 1))], format="csr")
    found = lifts(none_took, code, codes(0, 0, 1, 1, 1))
    assert found.shape == (3, 5)
    assert found[2].tolist() == [1] * 5  # code -1
    # 18 in 20 of either value against one in two of all: 1.8 and 0.2, a little shrunk
    np.testing.assert_allclose(found[:2, :4], [[1.8, 1.8, 0.2, 0.2], [0.2, 0.2, 1.8, 1.8]], atol=0.05)
    np.testing.assert_allclose(found[:2, 4], [0.2, 1.8], atol=0.05)  # its category's, without a single count


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_people_does_not_matter(seed):
    people, code = two_tribes(200, 16)
    order = np.random.default_rng(seed).permutation(200)
    np.testing.assert_allclose(
        lifts(people[order], code[order], codes(0, 0, 1, 1)), lifts(people, code, codes(0, 0, 1, 1)), rtol=1e-9
    )


def test_combinations_are_distinct_and_lead_back():
    distinct, whose = combinations([codes(1, 0, 1, -1), codes(2, 2, 2, 0)])
    assert distinct.tolist() == [[-1, 0], [0, 2], [1, 2]]
    assert whose.tolist() == [2, 1, 2, 0]


def test_attributes_multiply():
    country = np.array([[2.0, 1.0, 1.0], [1.0, 1.0, 1.0]])  # of one value, and the unknown
    age = np.array([[1.0, 1.0, 4.0], [0.5, 1.0, 1.0], [1.0, 1.0, 1.0]])
    found = by_combination(np.array([0.25, 0.5, 0.25]), [country, age], codes(0, 0, 0, 1, -1, -1).reshape(3, 2))
    # 0.5, 0.5, 1 of 2; 0.25, 0.5, 0.25 of 1; nothing known: what everybody takes
    assert found.tolist() == [[0.25, 0.25, 0.5], [0.25, 0.5, 0.25], [0.25, 0.5, 0.25]]
    assert by_combination(np.array([0.0, 1.0, 1.0]), [country], codes(0).reshape(1, 1)).tolist() == [[0, 0.5, 0.5]]


# items


@pytest.mark.parametrize(
    ("age_days", "expected"),
    [
        (7.0, 0.5),  # of 7 / ln 2 in all, half in the first half life
        (14.0, 0.75),
        (400.0, 0.9375),  # no longer than the window of 28 days
        (NAN, 0.9375),
        (0.0, 0.0),
        (-3.0, 0.0),  # to come
    ],
)
def test_exposure(age_days, expected):
    found = exposure_days(np.array([age_days]), window_days=28, half_life_days=7)
    np.testing.assert_allclose(found, [expected * 7 / np.log(2)])


def test_rates_by_hand():
    counts, exposure = np.array([8.0, 1.0, 0.0, 0.0, 0.0]), np.array([4.0, 0.5, 1.0, 1.0, 0.0])
    neighbors = sparse([0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0.4, 0.2, 0, 0, 0.9], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0])
    # own rates 2, 2, 0, 0; not there. Lent to 0, 1 and 3: the mean 1; to 2: (0.4·2 + 0.2·2) / 0.6 = 2, 4 not there
    found = item_rates(counts, exposure, neighbors, strength_days=1)
    np.testing.assert_allclose(found, [(8 + 1) / 5, (1 + 1) / 1.5, (0 + 2) / 2, (0 + 1) / 2, 0])


def test_rates_and_their_limits():
    counts, exposure = np.array([8.0, 1.0]), np.array([4.0, 1.0])
    alike = sparse([0, 1], [1, 0])
    np.testing.assert_allclose(item_rates(counts, exposure, alike, 1e-12), [2, 1])  # their own
    np.testing.assert_allclose(item_rates(counts, exposure, alike, 1e12), [1, 2])  # the neighbor's
    assert item_rates(np.zeros(2), np.zeros(2), alike, 1).tolist() == [0, 0]


def test_without_neighbors_the_mean_is_lent():
    assert borrowed(np.array([1.0, 3.0, 0.0]), sp.csr_matrix((3, 3)), np.array([True, True, False])).tolist() == [2] * 3


# sessions


def test_a_session_shares_out_what_it_weighs():
    found = shared_out(sparse([1, 1, 0], [0, 0, 0.25], [0.5, 0, 0.5]))
    # 1/2 each; 0.25; 0.5/2 each, as roots
    np.testing.assert_allclose(found.power(2).toarray(), [[0.5, 0.5, 0], [0, 0, 0.25], [0.25, 0, 0.25]])


def test_session_neighbors_by_hand():
    sessions = sparse([1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0])
    content = sparse([0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0])
    found = session_neighbors(sessions, content, shrink=0.5, content_share=0.1, n_top=3).toarray()
    # c01 = 1/2 + 1/2 = 1, c12 = 1/2; n = 1, 3/2, 1/2, 0. Item 3 met nobody: 0.5·0.1·1 / (0 + 0.5) = 0.1
    near, far = 1 / (np.sqrt(1.5) + 0.5), 0.5 / (np.sqrt(0.75) + 0.5)
    np.testing.assert_allclose(found, [[0, near, 0, 0], [near, 0, far, 0], [0, far, 0, 0.1], [0, 0, 0.1, 0]])


@pytest.mark.parametrize("seed", SEEDS)
def test_session_neighbors_are_symmetric_and_between_sessions_and_content(seed):
    random = np.random.default_rng(seed)
    sessions = sp.random_array((30, 12), density=0.25, random_state=seed, format="csr")
    sessions = sp.csr_matrix(sessions)
    half = np.triu(random.random((12, 12)), 1)
    content = sp.csr_matrix(half + half.T)
    whole = session_neighbors(sessions, content, 2.0, 0.3, 12).toarray()
    np.testing.assert_allclose(whole, whole.T)
    assert not whole.diagonal().any()
    by_sessions = session_neighbors(sessions, sp.csr_matrix((12, 12)), 1e-12, 0.3, 12).toarray()
    low, high = (pick(by_sessions, 0.3 * content.toarray()) for pick in (np.minimum, np.maximum))
    assert (low - 1e-9 <= whole).all()
    assert (whole <= high + 1e-9).all()
    order = random.permutation(30)
    np.testing.assert_allclose(session_neighbors(sessions[order], content, 2.0, 0.3, 12).toarray(), whole)


def test_a_long_session_does_not_count_for_more():
    long, short = np.ones((1, 10)), np.eye(10)[:1] + np.eye(10)[1:2]
    found = shared_out(sp.csr_matrix(np.vstack([long, short])))
    np.testing.assert_allclose(found.power(2).sum(axis=1).A1, [1, 1])


def test_no_sessions_leave_the_content_alone():
    content = sparse([0, 1, 0], [1, 0, 0], [0, 0, 0])
    found = session_neighbors(sp.csr_matrix((0, 3)), content, 3.0, 0.1, 2)
    np.testing.assert_allclose(found.toarray(), content.toarray() * 0.1)
    assert session_neighbors(sp.csr_matrix((0, 3)), sp.csr_matrix((3, 3)), 3.0, 0.1, 2).nnz == 0


@pytest.mark.parametrize("shrink", [0.0, -1.0])
def test_a_shrink_of_nothing_is_refused(shrink):
    with pytest.raises(ValueError, match="wanted above 0"):
        session_neighbors(sparse([1, 1]), sparse([0, 1], [1, 0]), shrink, 0.1, 2)


def test_the_newest_weighs_most():
    events = np.array([(1, 2, 5.0), (1, 0, 1.0), (1, 1, 3.0), (1, 2, 2.0), (0, 3, 9.0), (0, 0, 9.0)]).T
    found = recent_weights(*columns(events), fade=0.5, n_last=2, shape=(3, 4))
    # 1: item 0, then 2 (again), then 1, which is too old; 0: a tie, the lower item is newer
    assert found.toarray().tolist() == [[1, 0, 0, 0.5], [1, 0, 0.5, 0], [0, 0, 0, 0]]


def test_a_mix_is_of_shares_and_who_is_silent_leaves_the_others_their_say():
    one = np.array([[1.0, 3.0], [0.0, 0.0], [0.0, 0.0]])
    two = np.array([[50.0, 50.0], [10.0, 0.0], [0.0, 0.0]])
    # (0.25 + 3·0.5) / 4, (0.75 + 3·0.5) / 4; two alone; nobody
    assert mix([(1.0, one), (3.0, two)]).tolist() == [[0.4375, 0.5625], [1, 0], [0, 0]]
