"""How sure is a mean over users, and is one list-maker better than another? Bootstrap and sign flips, by seed.

Users are the unit: each has one number, NaN for unknown, which is left out. The numbers are sorted first, so that the
answer depends on them and the seed, not on the order of users. Memory is bounded by ``CHUNK_CELLS``, time is linear in
users times draws (2,000 draws over 100,000 users: seconds).
"""

from dataclasses import dataclass

import numpy as np

N_DRAWS = 2_000
LEVEL = 0.95
CHUNK_CELLS = 4_000_000  # users times draws at once: about 80 MB


@dataclass(frozen=True)
class Interval:
    """A value and the bounds of its percentile bootstrap interval (Efron 1979)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Of ``n`` users known to both: mean(ours) - mean(base), mean(ours) / mean(base), and how likely by chance."""

    n: int
    difference: Interval
    ratio: Interval
    p_value: float


UNKNOWN = Interval(np.nan, np.nan, np.nan)


def mean_interval(values: np.ndarray, seed: int, n_draws: int = N_DRAWS, level: float = LEVEL) -> Interval:
    """The mean of ``(n_users,)`` and its interval; NaN without users."""
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return UNKNOWN
    return interval(known.mean(), drawn_means(known[None], seed, n_draws)[:, 0], level)


def compare(ours: np.ndarray, base: np.ndarray, seed: int, n_draws: int = N_DRAWS, level: float = LEVEL) -> Comparison:
    """Two numbers of the same users, ``(n_users,)`` each: pairs are drawn, never one without the other.

    The ratio is NaN where the mean of base is 0, its bounds also where that of any draw is. Without users all is NaN.
    """
    if len(ours) != len(base):
        raise ValueError(f"compare: {len(ours)} users against {len(base)}")
    pairs = np.stack([ours, base]).astype(np.float64)
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    if not pairs.shape[1]:
        return Comparison(0, UNKNOWN, UNKNOWN, np.nan)
    pairs = pairs[:, np.lexsort(pairs)]
    means = drawn_means(pairs, seed, n_draws)
    difference = interval((pairs[0] - pairs[1]).mean(), means[:, 0] - means[:, 1], level)
    ratio = interval(ratio_of(*pairs.mean(axis=1)), ratio_of(*means.T), level)
    return Comparison(pairs.shape[1], difference, ratio, p_of_no_difference(pairs[0] - pairs[1], seed, n_draws))


def p_of_no_difference(differences: np.ndarray, seed: int, n_draws: int = N_DRAWS) -> float:
    """Two-sided: how often the mean is as far from 0 if each user's sign were a coin's (Fisher 1935).

    (1 + draws as far) / (1 + draws), never 0 (Phipson, Smyth 2010); 1 where nobody differs.
    """
    sizes = np.sort(np.abs(differences[differences != 0]))  # ties move no mean
    seen = abs(differences.sum()) - 1e-9 * sizes.sum()  # the same terms in another order are as far, whatever rounding
    coins = np.random.default_rng([seed, 1])
    n_as_far = 0
    for n in chunks(len(sizes), n_draws):
        heads = coins.integers(0, 2, (n, len(sizes)), dtype=np.int8)
        n_as_far += int((np.abs(2 * (heads @ sizes) - sizes.sum()) >= seen).sum())
    return (1 + n_as_far) / (1 + n_draws)


def drawn_means(columns: np.ndarray, seed: int, n_draws: int) -> np.ndarray:
    """Means ``(n_draws, n_columns)`` over users drawn with replacement, the same users for all ``(n_columns, n)``."""
    draws = np.random.default_rng([seed, 0])
    means = []
    for n in chunks(columns.shape[1], n_draws):
        users = draws.integers(0, columns.shape[1], (n, columns.shape[1]), dtype=np.int32)
        means.append(np.stack([column[users].mean(axis=1) for column in columns], axis=1))
    return np.concatenate(means)


def chunks(n_users: int, n_draws: int) -> list[int]:
    """``n_draws`` in parts that hold at most ``CHUNK_CELLS``, or one draw each."""
    if n_draws < 1:
        raise ValueError(f"{n_draws} draws, at least 1 is needed")
    size = max(CHUNK_CELLS // max(n_users, 1), 1)
    return [min(size, n_draws - start) for start in range(0, n_draws, size)]


def ratio_of(ours: np.ndarray, base: np.ndarray) -> np.ndarray:
    return np.divide(ours, base, out=np.full(np.shape(base), np.nan), where=np.not_equal(base, 0))


def interval(value: float, draws: np.ndarray, level: float) -> Interval:
    """The middle ``level`` of the draws; NaN if any of them is."""
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, allowed is between 0 and 1")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))
