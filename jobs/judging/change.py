"""What became of the slates since the night before: how much is left, and how much is new."""

from datetime import timedelta

import numpy as np
import pyarrow as pa

from jobs.kernels.statistics import first_places, moved
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
    found = moved(places(before), places(slates), K)
    return kept | ({} if np.isnan(found) else {"churn@10": found})


def places(slates: pa.Table) -> tuple[pa.Array, np.ndarray]:
    """Users and the first items of their slates."""
    return slates["user_id"].combine_chunks(), first_places(slates["items"].combine_chunks(), K)
