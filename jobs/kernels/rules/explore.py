"""Exploration: a new item drawn by a known chance, so that what comes of it can be weighed by one over that chance."""

from hashlib import blake2b

import numpy as np

LEAST_WEIGHT = 1e-3  # of the likeliest item's: bounds 1 / propensity, and with it the variance of what is learned


def chances(scores: np.ndarray, temperature: float) -> np.ndarray:
    """The probability of each item, float64 ``(n_items,)``, sum 1: as score ^ temperature, 0 for all alike.

    A weight is at least a thousandth of the highest one; without a score above 0 all are alike.
    """
    top = scores.max()
    if top <= 0:
        return np.full(len(scores), 1 / len(scores))
    weights = np.maximum(np.maximum(scores / top, 0.0) ** temperature, LEAST_WEIGHT)
    return weights / weights.sum()


def draw(scores: np.ndarray, temperature: float, number: float) -> tuple[int, float]:
    """Position and probability of the item on which ``number`` of [0, 1) falls."""
    probability = chances(scores.astype(np.float64), temperature)
    drawn = int(np.searchsorted(np.cumsum(probability), number, side="right"))
    drawn = min(drawn, len(scores) - 1)  # rounding may leave the sum a hair under 1
    return drawn, float(probability[drawn])


def lot(user_id: str, as_of: str, slot: int) -> float:
    """A number of [0, 1) that anyone can draw again: 53 bits of a hash of the user, the night and the place."""
    digest = blake2b(f"{user_id}\n{as_of}\n{slot}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53
