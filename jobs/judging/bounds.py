"""What the statistics of a table may be."""

from collections.abc import Mapping
from functools import reduce
from operator import or_

from conf.settings import Gate, Settings

Bounds = dict[str, tuple[float | None, float | None]]
NONE = (0, 0)
SOME = (1, None)
BROKEN = (
    "n_repeated_users",
    "n_repeated_items",
    "n_seen_items",
    "n_unavailable_items",
    "n_out_of_order",
    "n_without_own_reason",
    "n_bad_propensities",
    "n_uneven",
)
BROKEN_CONTENT = (
    "n_repeated_rows",
    "n_repeated_items",
    "n_own_neighbors",
    "n_unknown_items",
    "n_bad_weights",
    "n_out_of_order",
    "n_uneven",
)
ARRIVED = {"last_day_events": "fewest_expected", "last_hour": "earliest_expected"}  # and the least of each
MIN_KEPT = {"kept_n_interactions": 0.8, "kept_n_users": 0.8, "kept_fill": 0.5, "kept_item_coverage": 0.5}


def bounds(table: str, settings: Settings, statistics: Mapping[str, float]) -> Bounds:
    """Of each statistic that is judged the least and the greatest value, inclusive."""
    if table == "item_neighbors":
        return {"n_rows": SOME, "n_own_neighbors": NONE, "n_one_sided": NONE}
    if table == "content_neighbors":  # no row at all is fine: every item is known
        return dict.fromkeys(BROKEN_CONTENT, NONE)
    if table == "trending":
        return {"n_for_all": SOME, "n_gaps": NONE}
    slates = {
        "n_rows": (min(1, statistics["n_users"]), None),  # there are slates unless there is nobody to have one
        **dict.fromkeys(BROKEN, NONE),
        "fill": (settings.gate.min_fill, None),
        "user_coverage": (settings.gate.min_user_coverage, None),
        "item_coverage": (settings.gate.min_item_coverage, None),
    }
    judged = (part(statistics, settings.gate) for part in (fitted, arrived, changed))
    return reduce(or_, judged, slates)


def fitted(statistics: Mapping[str, float], gate: Gate) -> Bounds:
    """Of the fit and of the recipe: no source out of order, nothing significantly worse than what is simpler.

    Measured, order: 0.80 and more of sound fits, 0.55 at most of shuffled tables; level: 0.20 at most of sound fits,
    0.73 and more of fits of explicit ratings.
    """
    orders = {name: (gate.min_order, None) for name in statistics if name.startswith("order_")}
    gains = [name for name in statistics if name.startswith("gain_high_")]
    levels = {name: (None, gate.max_level) for name in statistics if name.startswith("level_")}
    return orders | levels | dict.fromkeys(gains, (0, None))


def arrived(statistics: Mapping[str, float], gate: Gate) -> Bounds:
    """Of the last day; what is usual counts only where there is a night before: a first one takes what it gets.

    A day sent twice has half of its events resent.
    """
    resent = {name: (None, gate.max_resent) for name in ("resent_share", "moved_share") if name in statistics}
    if not compared(statistics) or not statistics.get("last_day_events"):
        return resent
    return resent | {name: (statistics[least], None) for name, least in ARRIVED.items() if least in statistics}


def changed(statistics: Mapping[str, float], gate: Gate) -> Bounds:
    """Since the night before."""
    kept = {name: (least, None) for name, least in MIN_KEPT.items() if name in statistics}
    return kept | ({"churn@10": (None, gate.max_churn)} if "churn@10" in statistics else {})


def compared(statistics: Mapping[str, float]) -> bool:
    """Whether there was a night before."""
    return any(name.startswith("kept_") for name in statistics)
