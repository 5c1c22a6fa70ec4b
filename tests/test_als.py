"""Factors out of compiled loops: steps as in double precision, and fits as good as implicit's."""

import numpy as np
import pytest
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from jobs.kernels.als import NEAR, STEPS, factorise, improve
from jobs.kernels.compiled import sparse_rows
from jobs.kernels.threads import use_threads

RIDGE = 1.0


def liked(n_users: int, n_items: int, n_cells: int, seed: int = 0) -> sp.csr_matrix:
    """Confidences from 1 to 6; the last user and the last item have none."""
    random = np.random.default_rng(seed)
    user, item = random.integers(0, n_users - 1, n_cells), (random.random(n_cells) ** 2 * (n_items - 1)).astype(int)
    cells = sp.csr_matrix((np.ones(n_cells, np.float32), (user, item)), (n_users, n_items))
    cells.data = (1 + 5 * random.random(cells.nnz)).astype(np.float32)
    return cells


def solved(cells: sp.csr_matrix, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The oracle: conjugate gradients as the textbook has them, row by row, in double precision."""
    found, gram = np.zeros(rows.shape), others.T @ others + RIDGE * np.eye(rows.shape[1])
    for row in np.flatnonzero(np.diff(cells.indptr)):
        own, trust = others[cells[row].indices], cells[row].data.astype(float)
        matrix, x = gram + own.T @ ((trust - 1)[:, None] * own), rows[row].astype(float)
        residual = own.T @ trust - matrix @ x
        direction, square = residual.copy(), residual @ residual
        for _ in range(min(STEPS, len(x))):
            step = square / (direction @ matrix @ direction)
            x, residual = x + step * direction, residual - step * (matrix @ direction)
            direction, square = residual + residual @ residual / square * direction, residual @ residual
        found[row] = x
    return found


def loss(cells: sp.csr_matrix, users: np.ndarray, items: np.ndarray) -> float:
    """What ALS makes small: Σ c (p - xᵀy)² over all cells, and λ times all squares."""
    scores, trust = users.astype(float) @ items.T.astype(float), cells.toarray()
    wanted, weight = trust > 0, np.where(trust > 0, trust, 1)
    return float((weight * (wanted - scores) ** 2).sum() + RIDGE * ((users**2).sum() + (items**2).sum()))


@pytest.mark.parametrize("factors", [1, 2, 6, 16, 35])
@pytest.mark.parametrize("cells", [liked(120, 80, 1_500), liked(6, 3 * NEAR, 50_000)], ids=["short rows", "long rows"])
def test_rows_are_those_of_double_precision(cells, factors):
    random = np.random.default_rng(1)
    rows, others = (random.normal(size=(n, factors)).astype(np.float32) for n in cells.shape)
    exact = solved(cells, rows, others.astype(float))
    improve(rows, others, sparse_rows(cells, np.int64), RIDGE)
    np.testing.assert_allclose(rows, exact, atol=1e-4, rtol=1e-3)
    assert not rows[-1].any()  # of nothing
    assert rows.dtype == np.float32


@pytest.mark.parametrize("seed", range(3))
def test_the_fit_is_as_good_as_implicits(seed):
    from implicit.cpu.als import AlternatingLeastSquares

    cells = liked(400, 250, 6_000, seed)
    with threadpool_limits(1, "blas"):
        theirs = AlternatingLeastSquares(factors=16, regularization=RIDGE, alpha=1.0, iterations=10, random_state=0)
        theirs.fit(cells, show_progress=False)
    users, items = factorise(cells, 16, RIDGE, 10, 0)
    their_loss = loss(cells, theirs.user_factors, theirs.item_factors)
    assert loss(cells, users, items) == pytest.approx(their_loss, rel=1e-4)
    ours, others = users @ items.T, theirs.user_factors @ theirs.item_factors.T
    assert np.abs(ours - others).mean() < 1e-3


def test_results_do_not_hang_on_the_number_of_threads():
    cells, found = liked(300, 200, 5_000), []
    try:
        for n in (1, 2, 5):
            use_threads(n)
            found.append(factorise(cells, 16, RIDGE, 3, 0))
    finally:
        use_threads(2)
    for users, items in found[1:]:
        np.testing.assert_array_equal(users, found[0][0])
        np.testing.assert_array_equal(items, found[0][1])
