"""Is the recipe better than what is simple, and than the one before it? Rolling days it has not seen, pooled.

A recipe learned as this period's is, but before the days tested, ranks each of them by what was known until then;
beside it recent popularity, the live recipe and each of its own sources alone, on the same users. Made once for
``recipe.every_days`` days.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from conf.settings import Settings
from jobs.kernels.positives import TOLD, positive_events, sampled, share_of
from jobs.kernels.recipe.labels import Events
from jobs.kernels.recipe.recommend import Recipe, learn
from jobs.kernels.recipe.stored import from_row
from jobs.kernels.rolling import cuts, events_before, roll
from jobs.kernels.standings import standings
from jobs.rim.lineage import Job
from schemas.arrow import arrow_schema
from schemas.tables import METRICS


def transform(inputs: Mapping[str, pa.Table], as_of: datetime, settings: Settings) -> dict:
    """events, event_weights, items, users, live_recipe → metrics; empty where nobody known took anything new lately."""
    share = share_of(inputs["events"].num_rows, settings.recipe.max_events)
    known = positive_events(*(inputs[table] for table in TOLD), share=share)
    live = [from_row(row) for row in inputs["live_recipe"].to_pylist()]
    rows, measured = judge(sampled(known, settings.recipe.max_events).events, next(iter(live), None), as_of, settings)
    measured["shipped"] = inputs["recipe"]["description"].to_pylist()[0]
    return {"metrics": pa.Table.from_pylist(rows, arrow_schema(METRICS)), "measured": measured}


def judge(events: Events, live: Recipe | None, as_of: datetime, settings: Settings) -> tuple[list[dict], dict]:
    """Rows of metrics, and what was judged."""
    wanted, seed, end_s = settings.evaluate, settings.recipe.seed, as_of.timestamp()
    moments = cuts(events, end_s, wanted.days)
    warnings = [f"judged on {len(moments)} of {wanted.days} days"] if len(moments) < wanted.days else []
    measured = {"days": len(moments), "warnings": warnings}
    if not len(moments):
        return [], measured
    recipe = learn(events_before(events, moments[0]), seed)
    # The live recipe was learned a period ago at the latest: what is tested before that, it may have seen.
    live_from_s = (as_of - timedelta(days=settings.recipe.every_days)).timestamp()
    days = roll(events, recipe, live, end_s, wanted.days, wanted.max_users, seed, live_from_s)
    measured |= {"judged": str(recipe), "learned_before": datetime.fromtimestamp(moments[0], UTC).isoformat()}
    return standings(days, seed), measured


JOB = Job(
    name="evaluate",
    inputs=(*TOLD, "recipe", "live_recipe"),
    outputs=("metrics",),
    settings=("recipe", "evaluate", "interactions"),
    engine="local",
    transform=transform,
    window=lambda settings: timedelta(days=settings.interactions.window_days),
    every_days=lambda settings: settings.recipe.every_days,
)
