"""Likeness by what is written: literal tables, and an oracle of dense products."""

import numpy as np
import pytest
import scipy.sparse as sp

from jobs.kernels import content
from jobs.kernels.content import (
    content_neighbors,
    content_vectors,
    labels,
    price_bands,
    strongest_others,
    tfidf,
    unit_rows,
    words,
)

NAN = float("nan")
SEEDS = range(5)


def dense(matrix: sp.csr_matrix) -> list:
    return matrix.toarray().tolist()


# tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Olive Robe, No. 2", ["olive", "robe", "no", "2"]),
        ("snow_white's re-run", ["snow", "white", "s", "re", "run"]),
        ("Straße ÉTÉ 手作り", ["strasse", "été", "手作り"]),  # folded, not only lowered
        ("  -- ", []),
        ("", []),
        (None, []),
    ],
)
def test_words(text, tokens):
    assert words([text]) == [tokens]


def test_a_label_is_one_token_and_null_none():
    assert labels(["Tea and Coffee", None, ""]) == [["Tea and Coffee"], [], [""]]


def test_adjacent_price_bands_share_one_of_two_tokens():
    # edges of four bands at the quartiles of 1, 2, 3, 4, 5: 2, 3 and 4; a price on an edge is in the band above
    found = price_bands(np.array([1.0, 2.0, 3.0, 4.0, 5.0, NAN]), 4)
    assert found == [["0", "1"], ["1", "2"], ["2", "3"], ["3", "4"], ["3", "4"], []]
    assert price_bands(np.array([NAN, NAN])) == [[], []]
    assert price_bands(np.array([7.0, 7.0]), 3) == [["2", "3"]] * 2  # all of one price are in one band


# vectors


def test_tfidf_by_hand():
    found = tfidf([["a", "b"], ["a", "c", "c"], ["a"], []])
    # columns a b c; of 4 items a is in 3, b and c in 1: idf ln(5/4), ln(5/2), ln(5/2); c twice: 1 + ln 2
    a, rare = np.log(5 / 4), np.log(5 / 2)
    twice = (1 + np.log(2)) * rare
    one, two = np.hypot(a, rare), np.hypot(a, twice)
    expected = [[a / one, rare / one, 0], [a / two, 0, twice / two], [1, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-12)


def test_what_every_item_has_says_nothing():
    assert dense(tfidf([["shop", "red"], ["shop", "blue"], ["shop"]])) == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert tfidf([["shop"], ["shop"]]).nnz == 0
    assert tfidf([]).shape == (0, 0)
    assert tfidf([[], []]).shape == (2, 0)


def test_unit_rows():
    assert dense(unit_rows(sp.csr_matrix([[3.0, 4.0], [0.0, 0.0], [0.0, 2.0]]))) == [[0.6, 0.8], [0, 0], [0, 1]]


def test_the_cosine_is_the_mean_of_the_fields_by_weight():
    fields = {"category": [["x"], ["x"], ["y"]], "tags": [["p"], ["q"], ["q"]]}
    cosine = content_vectors(fields, {"category": 3.0, "tags": 1.0})
    # items 0 and 1 agree in the category (3 of 4), 1 and 2 in the tags (1 of 4), 0 and 2 in nothing
    np.testing.assert_allclose((cosine @ cosine.T).toarray(), [[1, 0.75, 0], [0.75, 1, 0.25], [0, 0.25, 1]])


@pytest.mark.parametrize(
    ("fields", "weights"),
    [({}, {}), ({"a": [["x"]], "b": []}, {"a": 1, "b": 1}), ({"a": [["x"]]}, {"a": 0.0}), ({"a": [[]]}, {"a": -1.0})],
)
def test_wrong_fields_are_refused(fields, weights):
    with pytest.raises(ValueError, match="wanted one number and above 0"):
        content_vectors(fields, weights)


# neighbors


def some_items(seed: int, n: int = 40) -> list[list[str]]:
    """Few words, so that many cosines are equal, also across a cut; some items have none."""
    random = np.random.default_rng(seed)
    return [[f"w{k}" for k in random.integers(0, 8, random.integers(0, 4))] for _ in range(n)]


@pytest.mark.parametrize("block_cells", [1, 130, 10**6])
@pytest.mark.parametrize("n_top", [1, 5, 40, 100])
@pytest.mark.parametrize("seed", SEEDS)
def test_neighbors_are_those_of_the_dense_product(monkeypatch, seed, n_top, block_cells):
    monkeypatch.setattr(content, "BLOCK_CELLS", block_cells)
    vectors = tfidf(some_items(seed))
    cosine = (vectors @ vectors.T).toarray()
    found = content_neighbors(vectors, n_top).toarray()
    for item in range(40):
        others = [other for other in range(40) if other != item and cosine[item, other] > 0]
        nearest = sorted(others, key=lambda other: (-cosine[item, other], other))[:n_top]
        expected = np.zeros(40)
        expected[nearest] = cosine[item, nearest]
        assert found[item].tolist() == expected.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_cosine_is_symmetric_at_most_one_and_nobody_is_their_own_neighbor(seed):
    whole = content_neighbors(tfidf(some_items(seed)), 40)
    assert (whole != whole.T).nnz == 0  # to the last bit
    assert not whole.diagonal().any()
    assert 0 < whole.data.min() <= whole.data.max() <= 1 + 1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_items_does_not_matter(seed):
    items, order = some_items(seed), np.random.default_rng(seed).permutation(40)
    whole = content_neighbors(tfidf(items), 40).toarray()
    shuffled = content_neighbors(tfidf([items[k] for k in order]), 40).toarray()
    assert shuffled.tolist() == whole[order][:, order].tolist()


def test_fewer_neighbors_are_the_head_of_more():
    vectors = tfidf(some_items(1))
    few, many = content_neighbors(vectors, 3), content_neighbors(vectors, 9).toarray()
    for item in range(40):
        cells = few[item].indices
        assert (few[item].data == many[item, cells]).all()
        assert np.delete(many[item], cells).max(initial=0) <= few[item].data.min(initial=1)


def test_no_items_and_items_without_words_have_no_neighbors():
    assert content_neighbors(sp.csr_matrix((0, 3)), 5).shape == (0, 0)
    assert content_neighbors(tfidf([[], []]), 5).nnz == 0


def test_no_neighbors_at_all_cannot_be_asked_for():
    with pytest.raises(ValueError, match="n_top is 0, at least 1"):
        content_neighbors(tfidf([["a"], ["a"], ["b"]]), 0)


def test_the_diagonal_and_what_is_not_above_zero_are_left_out():
    given = np.array([[9.0, 1, 1, -2], [0, 9, 0, 0], [3, 4, 9, 4], [1, 2, 3, 9]])
    found = strongest_others(lambda start, stop: sp.csr_matrix(given[start:stop]), 4, 2)
    # row 0: 1 before 2, alike; row 2: 4 at 1 and 3; row 3: 3 and 2
    assert dense(found) == [[0, 1, 1, 0], [0, 0, 0, 0], [0, 4, 0, 4], [0, 2, 3, 0]]
