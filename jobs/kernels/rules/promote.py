"""Promotions: which of the user's candidates are boosted, and which items are pinned to which place."""

import numpy as np

from jobs.kernels.rules.context import Campaign, Context, User
from jobs.kernels.rules.eligible import among, may_show


def campaigns_for(user: User, context: Context) -> list[Campaign]:
    return [campaign for campaign in context.campaigns if campaign.country in (None, user.country)]


def members(items: np.ndarray, campaign: Campaign, context: Context) -> np.ndarray:
    """Bool ``(n_items,)``: is promoted by this campaign."""
    if len(campaign.items) or campaign.category < 0:
        return among(items, campaign.items)
    return context.category[items] == campaign.category


def boosts(items: np.ndarray, campaigns: list[Campaign], context: Context) -> np.ndarray:
    """The factor on each item's score, float64 ``(n_items,)``; of several the highest, 0 where nothing boosts."""
    factors = np.zeros(len(items))
    for campaign in campaigns:
        if campaign.boost is not None:
            np.maximum(factors, campaign.boost, out=factors, where=members(items, campaign, context))
    return factors


def boosted(scores: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Scores times factors; a score below 0 rises by as much as one above 0 would: s + (factor - 1) · |s|."""
    return scores + np.where(factors > 0, factors - 1, 0) * np.abs(scores)


def pins(
    items: np.ndarray, campaigns: list[Campaign], user: User, context: Context
) -> tuple[dict[int, int], np.ndarray]:
    """Place → position of the item pinned there, and the pinned items that are no candidates.

    ``items`` are the user's candidates in rank order; positions from ``len(items)`` on are those of the second result.
    The first campaign that finds an item gets the place: its best candidate, else the first it lists that may be shown.
    """
    places, extra = {}, []
    for campaign in campaigns:
        if campaign.slot is None or campaign.slot > context.n or campaign.slot in places:
            continue
        position = pick(items, campaign, set(places.values()), context)
        if position is None and (more := not_proposed(items, campaign, extra, user, context)):
            position = len(items) + len(extra)
            extra.append(more[0])
        if position is not None:
            places[campaign.slot] = position
    return places, np.array(extra, np.int32)


def pick(items: np.ndarray, campaign: Campaign, taken: set[int], context: Context) -> int | None:
    """The best candidate the campaign promotes that no other campaign has pinned."""
    found = np.flatnonzero(members(items, campaign, context)).tolist()
    return next((position for position in found if position not in taken), None)


def not_proposed(items: np.ndarray, campaign: Campaign, extra: list[int], user: User, context: Context) -> list[int]:
    """What the campaign lists and may be shown, in its order, without candidates and what is pinned already."""
    allowed = may_show(campaign.items, user, context) & ~among(campaign.items, items)
    return [item for item in campaign.items[allowed].tolist() if item not in extra]
