"""The slates of tonight beside what they are made for: the users, their own items, the catalogue."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.rules.night import last_purchases, rebuy_tonight
from jobs.kernels.statistics import slate_statistics
from jobs.rim.lineage import Lineage


def measure_slates(slates: pa.Table, lineage: Lineage) -> dict[str, float]:
    """See ``slate_statistics``; and how many interactions there are, and users who like anything."""
    interactions = lineage.lake.read("interactions", lineage.resolve("interactions").files["interactions"])
    last_day = pa.scalar(lineage.as_of - timedelta(days=1), interactions["last_time"].type)
    liked = interactions.filter(pc.greater(interactions["weight_micro"], 0))
    active = liked.filter(pc.greater_equal(liked["last_time"], last_day))
    found = slate_statistics(
        slates,
        interactions,
        comes_back(interactions, lineage),
        pc.unique(active["user_id"]),
        available_items(lineage),
        np.unique(interactions["item_idx"].to_numpy()),
        lineage.settings.slates.n_items,
    )
    n_users = pc.count_distinct(liked["user_id"]).as_py()
    nobody = {} if n_users else {"fill": 1.0, "item_coverage": 1.0}  # sessions only: there is nobody to have a slate
    return found | {"n_interactions": interactions.num_rows, "n_users": n_users} | nobody


def comes_back(interactions: pa.Table, lineage: Lineage) -> np.ndarray:
    """Bool, one per row: the business rules let the user be shown the item again."""
    dictionary = lineage.lake.dictionary(lineage.snapshot)
    items = lineage.lake.current("items", lineage.snapshot, lineage.as_of)
    rebuy = rebuy_tonight(lineage.rules, items, dictionary, lineage.as_of)
    return rebuy.comes_back(interactions["item_idx"].to_numpy(), last_purchases(interactions))


def available_items(lineage: Lineage) -> np.ndarray:
    """item_idx of everything that is not marked unavailable; an item without a catalogue row is available."""
    dictionary = lineage.lake.dictionary(lineage.snapshot)
    items = lineage.lake.current("items", lineage.snapshot, lineage.as_of)
    gone = items.filter(pc.invert(items["available"])).select(["item_id"])
    return dictionary.join(gone, "item_id", join_type="left anti")["item_idx"].to_numpy()
