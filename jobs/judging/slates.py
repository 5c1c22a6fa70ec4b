"""The slates of tonight beside what they are made for: the users, their own items, the catalogue."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.rules.night import last_purchases, rebuy_tonight
from jobs.kernels.statistics import slate_statistics
from jobs.rim.lineage import Lineage

INTERACTIONS = ["user_id", "item_idx", "weight_micro", "last_time", "last_purchase_time"]  # columns looked at


def measure_slates(slates: pa.Table, lineage: Lineage) -> dict[str, float]:
    """See ``slate_statistics``; and how many interactions there are, and users who like anything."""
    interactions = lineage.read("interactions", INTERACTIONS, dictionaries=["user_id"])
    items = lineage.lake.current("items", lineage.snapshot, lineage.as_of)
    dictionary = lineage.lake.dictionary(lineage.snapshot)
    rebuy = rebuy_tonight(lineage.rules, items, dictionary, lineage.as_of)
    last_day = pa.scalar(lineage.as_of - timedelta(days=1), interactions["last_time"].type)
    liked = interactions.filter(pc.greater(interactions["weight_micro"], 0))
    active = liked.filter(pc.greater_equal(liked["last_time"], last_day))
    found = slate_statistics(
        slates,
        interactions,
        rebuy.comes_back(interactions["item_idx"].to_numpy(), last_purchases(interactions)),
        distinct(active["user_id"]),
        available_items(items, dictionary),
        np.unique(interactions["item_idx"].to_numpy()),
        lineage.settings.slates.n_items,
    )
    n_users = len(distinct(liked["user_id"]))
    nobody = {} if n_users else {"fill": 1.0, "item_coverage": 1.0}  # sessions only: there is nobody to have a slate
    return found | {"n_interactions": interactions.num_rows, "n_users": n_users} | nobody


def distinct(ids: pa.ChunkedArray) -> pa.Array:
    """Of ids as dictionaries, which may name some that no row has."""
    whole = ids.unify_dictionaries().combine_chunks()
    return whole.dictionary.take(pc.unique(whole.indices)) if len(whole) else pa.array([], pa.string())


def available_items(items: pa.Table, dictionary: pa.Table) -> np.ndarray:
    """item_idx of everything that is not marked unavailable; an item without a catalogue row is available."""
    gone = items.filter(pc.invert(items["available"])).select(["item_id"])
    return dictionary.join(gone, "item_id", join_type="left anti")["item_idx"].to_numpy()
