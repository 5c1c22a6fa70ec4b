"""What became of the slates since the night before: how much is left, and how much is new."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.metrics import churn
from jobs.rim.lineage import Lineage
from jobs.rim.verdict import earlier_night

COMPARED = timedelta(days=8)  # a night longer ago says nothing of tonight
KEPT = ("n_interactions", "n_users", "fill", "item_coverage")
K = 10


def measure_change(slates: pa.Table, statistics: dict[str, float], lineage: Lineage) -> dict[str, float]:
    """Of what was counted the last time slates passed, how much there is now (``kept_…``), and churn@10.

    Nothing where they did not pass within ``COMPARED``, and no churn where those slates cannot be read any more.
    """
    earlier = earlier_night("slates", lineage, COMPARED)
    if earlier is None:
        return {}
    verdict, manifest = earlier
    kept = {
        f"kept_{name}": statistics[name] / verdict.statistics[name] for name in KEPT if verdict.statistics.get(name)
    }
    try:
        before = lineage.lake.read("slates", manifest.files["slates"])
    except (OSError, ValueError):  # removed since, or of another schema
        return kept
    return kept | changed(before, slates)


def changed(before: pa.Table, after: pa.Table) -> dict[str, float]:
    """churn@10 of the users in both; nothing where nobody is."""
    users = before["user_id"].combine_chunks()
    row = pc.index_in(after["user_id"], users)
    both = pc.is_valid(row)
    lists = first_items(before)[row.filter(both).to_numpy()], first_items(after.filter(both))
    found = churn(*lists, K)
    return {} if np.isnan(found) else {"churn@10": found}


def first_items(slates: pa.Table) -> np.ndarray:
    """The first items of every slate, ``(n_users, K)``, padded with -1."""
    lists = slates["items"].combine_chunks()
    row = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
    place = np.arange(len(row)) - np.searchsorted(row, row)
    found = np.full((len(lists), K), -1, np.int64)
    found[row[place < K], place[place < K]] = lists.flatten().to_numpy()[place < K]
    return found
