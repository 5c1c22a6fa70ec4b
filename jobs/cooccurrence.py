"""Which items go together? Viewed together: by the same person or anonymous visit. Bought together: in one basket.

Each contributor counts a pair once, with at most ``max_items`` of its newest items, so neither a bot nor a wholesaler
decides. Scores are functions of four counts: n_pair, n_item, n_neighbor and n (contributors in all). As many as memory
holds, and ``max_local_rows`` at most, are counted by a sparse product in this process, more by Spark SQL.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pyarrow as pa

from conf.settings import Settings
from jobs.kernels.contributions import READ, VIEWED, Contributions, TooMany, likes, newest, of_events
from jobs.kernels.pairs import top_pairs
from jobs.rim.lineage import Job
from jobs.rim.means import Means
from jobs.rim.stored_rows import StoredRows
from schemas.tables import NEIGHBOR_KINDS

ROW_BYTES = 60  # of a contribution that is counted in this process, on its way here and while it is counted
LIKED = ("user_id", "item_idx", "weight_micro", "last_time")


def transform(inputs: Mapping, as_of: datetime, settings: Settings) -> dict:
    """events, interactions, item_dictionary, means → item_neighbors."""
    means: Means = inputs["means"]
    room, why = room_for(means, settings)
    interactions: StoredRows = inputs["interactions"]
    try:
        if interactions.num_rows > room:
            raise TooMany
        found = of_events(inputs["events"], inputs["item_dictionary"], room - interactions.num_rows)
    except TooMany:
        return {
            "item_neighbors": by_spark(means, settings),
            "measured": {"engine": "spark", "why": why} | estimated(room),
        }
    found[VIEWED] = likes(interactions.arrow(list(LIKED), ["user_id"])).followed_by(found[VIEWED])
    n_rows = sum(len(rows.item) for rows in found.values())
    measured = {"n_contributions": n_rows, "engine": "sparse", "why": "it fits memory"} | estimated(n_rows)
    return {"item_neighbors": counted(found, settings.cooccurrence), "measured": measured}


def room_for(means: Means, settings: Settings) -> tuple[int, str]:
    """How many contributions are counted in this process at most, and what limits them."""
    most, held = settings.cooccurrence.max_local_rows, means.alone_bytes // ROW_BYTES
    if most <= held:
        return most, "more rows than cooccurrence.max_local_rows"
    return held, f"{means.alone_bytes >> 20:,} MiB are there"


def estimated(n_rows: int) -> dict[str, int]:
    return {"estimate_mb": n_rows * ROW_BYTES >> 20}


def counted(found: Mapping[int, Contributions], wanted) -> list[pa.Table]:
    """item_neighbors by sparse products, one part a kind."""
    parts = []
    for code, kind in enumerate(NEIGHBOR_KINDS):
        kept = newest(found[code], wanted.max_items)
        pairs = top_pairs(*kept, wanted.score, wanted.shrink, wanted.min_pair, wanted.n_neighbors)
        parts.append(pa.table(pairs | {"kind": pa.repeat(kind, len(pairs["rank"]))}))
    return parts


def by_spark(means: Means, settings: Settings):
    from jobs.kernels.pairs_spark import count_in_spark

    tables = (means.in_spark(table) for table in ("events", "interactions", "item_dictionary"))
    return count_in_spark(*tables, settings.cooccurrence)


JOB = Job(
    name="cooccurrence",
    inputs=("events", "interactions", "item_dictionary"),
    outputs=("item_neighbors",),
    settings=("cooccurrence", "interactions"),
    engine="either",
    transform=transform,
    window=lambda settings: timedelta(days=settings.interactions.window_days),
    columns={"events": READ, "interactions": LIKED},
)
