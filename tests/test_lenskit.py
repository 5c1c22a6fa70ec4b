"""Our metrics against LensKit's, an independent implementation: equal to 1e-9 where both mean the same.

| measure | LensKit 2025.8.1 | here | the same for |
|---|---|---|---|
| ndcg | discount log2(max(rank, 2)), or log2(rank + 1) with LogRankWeight(offset=1) | log2(rank + 1) | offset=1: all |
| recall | hits / min(k, n_relevant) | hits / n_relevant | n_relevant ≤ k |
| precision | hits / min(k, length), NaN for an empty list | hits / k | length ≥ k |
| average precision | Σ / min(n_relevant, k, length), NaN for an empty list | Σ / min(n_relevant, k) | length ≥ that |
| hit, reciprocal rank | | | all |
| ListGini | | exposure_gini | all |

Users without truth are NaN here and left out: LensKit divides by 0 for some measures.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from jobs.kernels.metrics import exposure_gini, per_user

ORACLE = Path(__file__).with_name("lenskit_oracle.py")
N_USERS, N_ITEMS, WIDTH = 300, 40, 12
KS = (2, 5, 10, 12)
LONGER = 15  # than any list


def sample() -> tuple[np.ndarray, sp.csr_matrix]:
    """Lists of 0 to 12 of 40 items, 1 to 20 relevant ones: so that every definition decides some users."""
    random = np.random.default_rng(11)
    lists = np.argsort(random.random((N_USERS, N_ITEMS)), axis=1)[:, :WIDTH]
    lists[np.arange(WIDTH) >= random.integers(0, 2 * WIDTH, N_USERS)[:, None]] = -1
    order = np.argsort(np.argsort(random.random((N_USERS, N_ITEMS)), axis=1), axis=1)
    return lists, sp.csr_matrix(order < random.integers(1, 21, N_USERS)[:, None])


LISTS, TRUTH = sample()
lengths, n_relevant = (LISTS >= 0).sum(axis=1), np.diff(TRUTH.indptr)


@pytest.fixture(scope="module")
def lenskit() -> dict[str, dict]:
    """LensKit's answers by k."""
    pytest.importorskip("lenskit", reason="needs lenskit; add it: make install")
    asked = {
        "lists": [row[row >= 0].tolist() for row in LISTS],
        "truth": [row.indices.tolist() for row in TRUTH],
        "n_items": N_ITEMS,
        "ks": [*KS, LONGER],
    }
    done = subprocess.run(
        [sys.executable, ORACLE], input=json.dumps(asked), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def same_meaning(name: str, k: int) -> np.ndarray:
    """The users for whom both definitions are one: the table above."""
    most = np.minimum(n_relevant, k)
    masks = {"recall": n_relevant <= k, "precision": lengths >= k, "average_precision": lengths >= most}
    return masks.get(name, np.ones(N_USERS, bool))


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("name", ["ndcg", "recall", "precision", "average_precision", "hit", "reciprocal_rank"])
def test_lenskit_agrees_user_by_user(lenskit, name, k):
    ours, theirs = per_user(LISTS, TRUTH, [k])[f"{name}@{k}"], np.array(lenskit[str(k)][name])
    same = same_meaning(name, k)
    assert same.sum() >= 10
    assert ours[same].max() > 0
    np.testing.assert_allclose(ours[same], theirs[same], rtol=0, atol=1e-9)


@pytest.mark.parametrize("k", [*KS, LONGER])
def test_where_definitions_differ_one_follows_from_the_other(lenskit, k):
    """For users both know: those with a list, of whom each rule above gives the factor between the two."""
    ours, theirs = per_user(LISTS, TRUTH, [k]), {name: np.array(value) for name, value in lenskit[str(k)].items()}
    some, cut, most = lengths > 0, np.minimum(lengths, k), np.minimum(n_relevant, k)
    factors = {"recall": most / n_relevant, "precision": cut / k, "average_precision": np.minimum(cut, most) / most}
    for name, factor in factors.items():
        np.testing.assert_allclose(ours[f"{name}@{k}"][some], (theirs[name] * factor)[some], rtol=0, atol=1e-9)
        np.testing.assert_array_equal(ours[f"{name}@{k}"][~some], 0.0)
    assert np.abs(ours[f"ndcg@{k}"] - theirs["ndcg_clipped"]).max() > 0.01


@pytest.mark.parametrize("k", [*KS, LONGER])
def test_lenskit_agrees_on_the_gini_of_exposure(lenskit, k):
    assert exposure_gini(LISTS, k, N_ITEMS) == pytest.approx(lenskit[str(k)]["exposure_gini"], abs=1e-9)
