"""Slates of new items without a learned recipe: three cheap sources with their first settings, by recent popularity."""

import numpy as np

from jobs.kernels.recipe.choose import Choice
from jobs.kernels.recipe.grid import GRID
from jobs.kernels.recipe.labels import Events
from jobs.kernels.recipe.model import fit_model
from jobs.kernels.recipe.recommend import Recipe, Slates, rank

CHEAP = {name: GRID[name][0] for name in ("bm25", "walk_fading", "baskets")}
RECIPE = Recipe(CHEAP, Choice("single", "popularity_30", ()), [])


def events_of(user: np.ndarray, item: np.ndarray, time_s: np.ndarray) -> Events:
    """Parallel arrays of codes and seconds as events."""
    return Events(user, item, time_s, int(user.max()) + 1, int(item.max()) + 1)


def cheap_slates(events: Events, users: np.ndarray, n: int = 20) -> Slates:
    """As ``recommend`` gives them."""
    events, known_users, known_items = events.dense()
    past = events.past()
    items, scores = rank(RECIPE, fit_model(CHEAP, past, past.now), past, np.searchsorted(known_users, users), n)
    return Slates(np.where(items >= 0, known_items[items], -1), scores, RECIPE)
