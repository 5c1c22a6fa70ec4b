"""LightGBM's models as arrays: every prediction equal to its own."""

import lightgbm as lgb
import numpy as np
import pytest

from jobs.kernels.recipe.forest import BLOCK_ROWS, read_forest

N_FEATURES = 6


def rows(n: int, seed: int, missing: float) -> np.ndarray:
    """Few values, so that many equal a threshold; zeros, and NaN in the last three columns."""
    rng = np.random.default_rng(seed)
    found = rng.integers(-4, 5, (n, N_FEATURES)).astype(np.float32) / 3
    found[:, 3:][rng.random((n, 3)) < missing] = np.nan
    return found


def trained(leaves: int, rounds: int = 30, missing: float = 0.2, **options) -> lgb.Booster:
    taught = rows(2_000, 0, missing)
    label = np.nan_to_num(taught[:, 0] * taught[:, 3]) + np.isnan(taught[:, 4]) + np.sin(3 * taught[:, 1])
    options = {"num_leaves": leaves, "min_data_in_leaf": 5, "num_threads": 1, "verbose": -1} | options
    return lgb.train(options, lgb.Dataset(taught, label), rounds)


@pytest.mark.parametrize("leaves", [2, 7, 15, 16])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_predictions_are_lightgbms_bit_for_bit(leaves, missing):
    booster = trained(leaves, missing=missing)
    forest = read_forest(booster.model_to_string())
    asked = rows(3 * BLOCK_ROWS + 5, 1, 0.4)  # NaN also where none was taught
    asked[:7, :3] = np.nan
    expected = booster.predict(asked, num_threads=1)
    assert np.ptp(expected) > 0.5
    assert forest.predict(asked).tolist() == expected.tolist()
    assert forest.predict(asked[:1]).tolist() == expected[:1].tolist()
    assert forest.predict(asked[:0]).tolist() == []


def test_a_forest_reads_its_own_text_and_one_that_learned_nothing():
    forest = read_forest(trained(7).model_to_string())
    again = read_forest(forest.text)
    assert forest.predict(rows(50, 2, 0.2)).tolist() == again.predict(rows(50, 2, 0.2)).tolist()
    flat = lgb.train({"verbose": -1}, lgb.Dataset(rows(50, 0, 0), np.full(50, 2.5)), 3)
    assert read_forest(flat.model_to_string()).predict(rows(4, 1, 0)).tolist() == flat.predict(rows(4, 1, 0)).tolist()


def test_what_our_recipes_never_hold_is_refused():
    with pytest.raises(ValueError, match="a tree of 17 leaves; 16 at most"):
        read_forest(trained(17).model_to_string())
    taught = rows(500, 0, 0)
    taught[:, 2] = np.arange(500) % 4
    data = lgb.Dataset(taught, (taught[:, 2] % 2) * 3.0, categorical_feature=[2], params={"verbose": -1})
    with pytest.raises(ValueError, match="only numbers are known here"):
        read_forest(lgb.train({"verbose": -1, "num_leaves": 4}, data, 5).model_to_string())
    with pytest.raises(ValueError, match="2 features, the model has 6"):
        read_forest(trained(7).model_to_string()).predict(np.zeros((1, 2), np.float32))
