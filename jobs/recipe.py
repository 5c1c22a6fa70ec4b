"""How shall the nights rank? Settings of every source, the form of the ranking and its model, chosen by rolling cuts.

Made once for ``recipe.every_days`` days, from positive events before that period alone, and kept as one row of text:
the nights that follow fit and rank by it (see ``jobs.kernels.recipe``).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pyarrow as pa

from conf.settings import Settings
from jobs.kernels.positives import TOLD, positive_events, sampled, share_of
from jobs.kernels.recipe.recommend import learn
from jobs.kernels.recipe.stored import to_row
from jobs.rim.lineage import Job
from schemas.arrow import arrow_schema
from schemas.tables import RECIPE


def transform(inputs: Mapping[str, pa.Table], as_of: datetime, settings: Settings) -> dict:
    """events, event_weights, items, users → recipe."""
    share = share_of(inputs["events"].num_rows, settings.recipe.max_events)
    known = positive_events(*(inputs[table] for table in TOLD), share=share)
    taught = sampled(known, settings.recipe.max_events)
    recipe = learn(taught.events, settings.recipe.seed)
    measured = {"n_events": len(taught.events.user), "judged": recipe.choice.judged, "recipe": str(recipe)}
    return {"recipe": pa.Table.from_pylist([to_row(recipe)], arrow_schema(RECIPE)), "measured": measured}


JOB = Job(
    name="recipe",
    inputs=TOLD,
    outputs=("recipe",),
    settings=("recipe", "interactions"),
    engine="local",
    transform=transform,
    window=lambda settings: timedelta(days=settings.interactions.window_days),
    every_days=lambda settings: settings.recipe.every_days,
)
