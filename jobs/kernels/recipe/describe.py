"""What is known of items and of users at a cut, as columns for the ranking model."""

import numpy as np

from jobs.kernels.recipe.past import Past
from jobs.kernels.recipe.people import DAY_S, People

HALF_LIVES = (1, 3, 7, 14, 30, 90, None)  # days; None: distinct users of all time
RANKED = (3, 30, None)
TRENDS = ((3, 30), (7, 90), (30, None))
LEAST_SHARE = 1e-4  # of the most popular item, so that a logarithm exists


def named(days: int | None) -> str:
    return "all" if days is None else str(days)


POPULARITIES = tuple(f"popularity_{named(days)}" for days in HALF_LIVES)
ITEM_NAMES = (
    *POPULARITIES,
    *(f"popularity_rank_{named(days)}" for days in RANKED),
    *(f"trend_{named(short)}_{named(long)}" for short, long in TRENDS),
    "item_age",
    "item_idle",
)
USER_NAMES = ("user_n", "user_idle", "user_span", "user_popularity", "user_age")


def describe_items(past: Past) -> np.ndarray:
    """``(n_items, len(ITEM_NAMES))`` float32: logarithms of popularity, its rank and trend, of age and idle days."""
    popularity = {days: past.popularity(days) for days in HALF_LIVES}
    columns = [log_share(popularity[days]) for days in HALF_LIVES]
    columns += [np.log2(1 + place(popularity[days])) for days in RANKED]
    shares = {days: np.log((p + 0.5 * p.mean()) / p.sum()) for days, p in popularity.items()}
    columns += [shares[short] - shares[long] for short, long in TRENDS]
    columns += [log_days(past.now - past.item_first), log_days(past.now - past.item_last)]
    return np.stack(columns, axis=1).astype(np.float32)


def describe_users(people: People, items: np.ndarray, now: float) -> np.ndarray:
    """``(n_users, len(USER_NAMES))`` float32: activity, idle days, span, and how popular and old what they took is.

    ``items`` as ``describe_items`` gives them.
    """
    n = np.maximum(people.user_n, 1)

    def mean(name: str) -> np.ndarray:
        column = items[:, ITEM_NAMES.index(name)].astype(np.float64)
        return np.bincount(people.cell_user, column[people.cell_item], people.n_users) / n

    columns = (
        np.log1p(people.user_n),
        log_days(now - people.user_last),
        log_days(people.user_last - people.user_first),
        mean("popularity_all"),
        mean("item_age"),
    )
    return np.stack(columns, axis=1).astype(np.float32)


def log_share(popularity: np.ndarray) -> np.ndarray:
    return np.log(popularity / popularity.max() + LEAST_SHARE)


def place(popularity: np.ndarray) -> np.ndarray:
    """0 for the most popular; of equals the lower item first."""
    return np.argsort(np.argsort(-popularity, kind="stable"))


def log_days(seconds: np.ndarray) -> np.ndarray:
    """log(1 + days); 0 where unknown (infinite)."""
    return np.log1p(np.where(np.isfinite(seconds), np.maximum(seconds, 0), 0) / DAY_S)
