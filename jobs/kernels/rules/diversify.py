"""Diversity: the order by maximal marginal relevance (Carbonell, Goldstein 1998)."""

from collections.abc import Callable

import numpy as np

from jobs.kernels.rules.context import NO_CATEGORY, Context


def by_relevance(items: np.ndarray, scores: np.ndarray, context: Context) -> np.ndarray:
    """Positions of candidates in rank order, re-ordered by MMR; as they are where it is off.

    Next comes who has most of λ · relevance - (1 - λ) · likeness: relevance is the score stretched to 0..1 over the
    candidates, likeness the highest to anything above, 0..1. The first of equals stays first. After ``context.n``
    picks the rest follows by score. Cost: n · n_candidates, times the factors for the cosine.
    """
    weight = context.rules.diversity.mmr_lambda
    if weight == 1 or len(items) < 2:
        return np.arange(len(items))
    alike = likeness(items, context)
    gain = weight * stretched(scores)
    highest = np.zeros(len(items))
    picked = []
    for _ in range(min(context.n, len(items))):
        best = int(np.argmax(gain - (1 - weight) * highest))
        picked.append(best)
        gain[best] = -np.inf
        np.maximum(highest, alike(best), out=highest)
    return np.concatenate([picked, np.flatnonzero(gain > -np.inf)])


def stretched(scores: np.ndarray) -> np.ndarray:
    """Scores in rank order as 0..1; all 1 where they are equal."""
    span = scores[0] - scores[-1]
    return (scores - scores[-1]) / span if span > 0 else np.ones(len(scores))


def likeness(items: np.ndarray, context: Context) -> Callable[[int], np.ndarray]:
    """From a position to its likeness with all, ``(n_items,)``; who has no category or vector is like nothing."""
    if context.unit_vectors is not None:
        vectors = context.unit_vectors[items]
        return lambda k: vectors @ vectors[k]
    category = context.category[items]
    return lambda k: (category == category[k]) & (category[k] != NO_CATEGORY)
