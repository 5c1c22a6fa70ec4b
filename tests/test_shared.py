"""What Spark's tasks share lies in a file that they map."""

import os
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from jobs.kernels.shared_spark import ALIGNED, mapped, share, write
from jobs.rim.memory import held_bytes

N_ROWS = 300_000
KEPT = {"text": "é", "none": None}


@dataclass(frozen=True)
class Fitted:
    vectors: np.ndarray
    every_second: np.ndarray
    nothing: np.ndarray
    names: np.ndarray
    weights: sp.csr_matrix
    kept: dict


def fitted() -> Fitted:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(1001, 7)).astype(np.float32)
    names = np.array(["a", "bc", None], object)
    weights = sp.random(50, 40, 0.1, "csr", np.float32, random)
    return Fitted(vectors, vectors[::2], np.zeros((0, 7), np.float32), names, weights, KEPT)


def test_what_is_written_is_read_and_lies_where_a_loop_likes_it(tmp_path):
    given = fitted()
    write(tmp_path / "shared", given)
    found = mapped(str(tmp_path / "shared"))
    for name in ("vectors", "every_second", "nothing"):
        one, other = getattr(given, name), getattr(found, name)
        assert (other.dtype, other.shape) == (one.dtype, one.shape)
        np.testing.assert_array_equal(other, one)
    assert found.names.tolist() == given.names.tolist()
    assert (found.weights != given.weights).nnz == 0
    assert found.kept == KEPT
    assert found.vectors.ctypes.data % ALIGNED == found.weights.data.ctypes.data % ALIGNED == 0


def test_who_writes_into_it_writes_for_himself(tmp_path):
    write(tmp_path / "shared", np.zeros(5))
    before = (tmp_path / "shared").read_bytes()
    found = mapped(str(tmp_path / "shared"))
    found += 1
    assert found.tolist() == [1, 1, 1, 1, 1]
    assert (tmp_path / "shared").read_bytes() == before


def test_tasks_map_what_the_driver_wrote_and_do_not_hold_it(spark):
    """Each task looks at all of 240 MB; its process then holds less than a tenth of that more."""
    shared = share(spark.sparkContext, np.arange(N_ROWS * 100, dtype=np.float64).reshape(N_ROWS, 100))

    def look(_) -> list[tuple[float, int]]:
        before = held_bytes(os.getpid())
        total = shared.value.sum()
        return [(total, held_bytes(os.getpid()) - before)]

    told = spark.sparkContext.parallelize(range(2), 2).mapPartitions(look).collect()
    n = N_ROWS * 100
    assert [total for total, _ in told] == [n * (n - 1) / 2] * 2
    assert all(more < 24 << 20 for _, more in told)
