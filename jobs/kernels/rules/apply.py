"""The business rules on one user's candidates, in one call: eligible, promoted, diverse, explored, cut to n."""

from dataclasses import dataclass

import numpy as np

from jobs.kernels.rules.context import NO_REASON, Campaign, Context, User
from jobs.kernels.rules.diversify import by_relevance
from jobs.kernels.rules.eligible import best_first, eligible
from jobs.kernels.rules.places import explorer, fill
from jobs.kernels.rules.promote import boosted, boosts, campaigns_for, pins

Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # items, scores, sources, because_of


def apply_rules(
    items: np.ndarray, scores: np.ndarray, sources: np.ndarray, because_of: np.ndarray, user: User, context: Context
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Items, scores, sources, because_of and propensities (float32) of the slate, at most ``context.n``.

    The candidates come in any order, with finite scores. Fewer than n only when fewer may be shown. Under neutral rules
    the order stays: score descending, then item ascending. Otherwise scores belong to places: those of the chosen
    items are handed out from the top, highest first, so they never rise; an item pinned without being a candidate has
    none, takes the one above, and because_of -1. A propensity is the chance of a drawn item at its place given
    the places above, and 1 where nothing was drawn.
    """
    keep = eligible(items, scores, user, context)
    columns = items[keep], scores[keep], sources[keep], because_of[keep]
    campaigns = campaigns_for(user, context)
    if not campaigns and not moves(context):
        head = tuple(column[: context.n] for column in columns)
        return *head, np.ones(len(head[0]), np.float32)
    candidates, pinned = promote(columns, campaigns, user, context)
    return arrange(candidates, pinned, user, context)


def moves(context: Context) -> bool:
    """Whether any rule but a promotion may change the order."""
    diversity = context.rules.diversity
    return diversity.max_per_category > 0 or diversity.mmr_lambda < 1 or context.new is not None


@dataclass(frozen=True)
class Pinned:
    """Place → position; positions from the number of candidates on are those of ``extra``, items nobody proposed."""

    places: dict[int, int]
    extra: np.ndarray


def promote(columns: Columns, campaigns: list[Campaign], user: User, context: Context) -> tuple[Columns, Pinned]:
    """The candidates in their new rank order, the promoted ones labelled, and what is pinned."""
    items, scores, sources, because_of = columns
    factors = boosts(items, campaigns, context)
    scores = boosted(scores, factors).astype(np.float32)
    sources = np.where(factors > 0, context.promotion_source, sources).astype(sources.dtype)
    order = best_first(items, scores)
    places, extra = pins(items[order], campaigns, user, context)
    return (items[order], scores[order], sources[order], because_of[order]), Pinned(places, extra)


def arrange(candidates: Columns, pinned: Pinned, user: User, context: Context) -> tuple[np.ndarray, ...]:
    """Fill the places from the top and take the columns in that order."""
    order = by_relevance(candidates[0], candidates[1], context)
    items, scores, sources, because_of = (
        np.concatenate([column, rows.astype(column.dtype)])
        for column, rows in zip(candidates, unproposed(pinned.extra), strict=True)
    )
    sources[list(pinned.places.values())] = context.promotion_source
    explore = explorer(items, scores, order, user, context)
    chosen, propensities = fill(order, context.category[items], pinned.places, explore, context)
    return items[chosen], falling(scores[chosen]), sources[chosen], because_of[chosen], propensities


def unproposed(extra: np.ndarray) -> Columns:
    """Rows of items no source proposed: no score, no reason."""
    n = len(extra)
    return extra, np.full(n, np.nan), np.zeros(n), np.full(n, NO_REASON)


def falling(own: np.ndarray) -> np.ndarray:
    """Scores by place out of the chosen items' own (NaN for none): sorted, none takes the one above, all none is 0."""
    known = ~np.isnan(own)
    if not known.any():
        return np.zeros_like(own)
    return np.sort(own[known])[::-1][np.maximum(np.cumsum(known) - 1, 0)]
