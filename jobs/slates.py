"""Which list does each user get tonight? The candidates in the order of the recipe, then the business rules.

Every item keeps the source that spoke for it most and that source's reason, one of the user's own items; an item that
is merely popular, or pinned though nobody proposed it, has none. Beside the list stand the items the user already
has, newest first, which serving keeps out of any refill, and the chance with which an explored place drew its item.
What memory holds is done by threads of this process; more, or many users one by one, in Spark's tasks.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from conf.settings import Settings, Slates
from jobs.kernels.rules.night import rules_tonight, warnings_of
from jobs.kernels.rules.slate import Night
from jobs.kernels.slates_threads import OWNED, Merger
from jobs.rim.lineage import Job
from jobs.rim.memory import is_local, threads_here
from jobs.rim.side_by_side import in_turn
from schemas.tables import CANDIDATES

ALIKE_BY = "als"  # whose vectors say how alike items are, where the rules ask for it
ROW_BYTES = 70  # of an interaction that is held in this process, on its way here and while it is held
UNPACKED = 12  # times what a file of candidates has on disk is what its users' slates take while they are made
ONE_BY_ONE = 100_000  # rows of candidates whose users are done one by one; of more, Spark's workers have their share


def transform(inputs: Mapping, as_of: datetime, settings: Settings) -> dict:
    """candidates, interactions, users, items, item_dictionary, item_factors, rules, means → slates."""
    night = build_night(inputs, as_of, settings.slates)
    chosen = engine(inputs, night, settings)
    made = by_spark if chosen["engine"] == "spark" else by_threads
    return {"slates": made(inputs, night, settings), "measured": chosen | {"warnings": warnings_of(night.rules)}}


def build_night(inputs: Mapping, as_of: datetime, wanted: Slates) -> Night:
    rules, items, dictionary, factors = (inputs[name] for name in ("rules", "items", "item_dictionary", "item_factors"))
    factors = factors.filter(pc.equal(factors["source"], ALIKE_BY))
    return Night(rules_tonight(rules, items, dictionary, factors, as_of, wanted.n_items), as_of, wanted.n_seen)


def engine(inputs: Mapping, night: Night, settings: Settings) -> dict[str, str | int]:
    """Which engine makes the slates, why, and what threads would take."""
    wanted, candidates, held = settings.slates.engine, inputs["candidates"], inputs["means"].alone_bytes
    largest = max((part.num_bytes for part in candidates.parts()), default=0)
    needed = inputs["interactions"].num_rows * ROW_BYTES + threads_here(settings.spark) * largest * UNPACKED
    chosen, why = "threads", "it fits memory"
    if wanted != "auto":
        chosen, why = wanted, "slates.engine says so"
    elif not is_local(settings.spark.master):
        chosen, why = "spark", "spark.master is a cluster"
    elif needed > held:
        chosen, why = "spark", f"{held >> 20:,} MiB are there"
    elif not night.plain and candidates.num_rows > ONE_BY_ONE:
        chosen, why = "spark", "tonight's rules take many users one by one"
    return {"engine": chosen, "why": why, "estimate_mb": needed >> 20}


def by_spark(inputs: Mapping, night: Night, settings: Settings):
    from jobs.kernels.slates_spark import merge_in_spark

    return merge_in_spark(*map(inputs["means"].in_spark, ("candidates", "interactions", "users")), night)


def by_threads(inputs: Mapping, night: Night, settings: Settings) -> Iterator[pa.Table]:
    """One part for each file of candidates."""
    merger = Merger(inputs["interactions"].arrow(list(OWNED), ["user_id"]), inputs["users"], night)

    def merge(part) -> pa.Table:
        return merger.merge(part.arrow(CANDIDATES.names, ["user_id", "source"]))

    return in_turn(merge, inputs["candidates"].parts(), threads_here(settings.spark))


JOB = Job(
    name="slates",
    inputs=("candidates", "interactions", "users", "items", "item_dictionary", "item_factors"),
    outputs=("slates",),
    settings=("slates",),
    engine="either",
    transform=transform,
    rules=("diversity", "rebuy", "exploration", "promotion"),
    columns={"candidates": tuple(CANDIDATES.names), "interactions": OWNED},
)
