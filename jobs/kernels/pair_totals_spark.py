"""A user's weight on an item from its events, by Spark SQL: for more events than memory holds.

As ``pair_totals`` has it, to equal rows.
"""

from datetime import date, datetime, timedelta
from functools import reduce

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from conf.settings import Interactions
from jobs.kernels.pair_totals import CARRIED, FIRST_DAY, PERIOD_HALVINGS, halved_since, period_of, powers
from jobs.kernels.weighing import weigh

MAX_BROADCAST_ROWS = 500_000  # about 100 MB in each executor
KEY = ["user_id", "item_idx"]


def totals_in_spark(
    events: DataFrame,
    weights: pa.Table,
    dictionary: DataFrame,
    base: DataFrame | None,
    start: datetime,
    as_of: datetime,
    wanted: Interactions,
) -> DataFrame:
    """Rows of interactions: the base's as of ``start``, none for nothing, with the events since."""
    newest = (as_of - timedelta(microseconds=1)).date()
    weighted = weigh(events, weights, dictionary)
    daily = cap_user_days(daily_totals(weighted, wanted.max_per_user_item_day), wanted.max_per_user_day)
    if (newest - start.date()).days > wanted.window_days:
        daily = since_last_gap(daily, wanted.window_days)
    before = start.date() - timedelta(days=1)  # the day the base's totals are as of
    periods = range(period_of(before, wanted.half_life_days), period_of(newest, wanted.half_life_days) + 1)
    added = added_totals(daily, periods, wanted.half_life_days)
    rows = summed(beside(base, added), periods, wanted.window_days)
    return decayed(rows, newest, wanted.half_life_days, wanted.window_days)


def daily_totals(weighted: DataFrame, max_events: int) -> DataFrame:
    """Per user, item, UTC day and kind; beyond ``max_events`` of them further events add nothing."""
    n_counted = F.least(F.count("*"), F.lit(max_events))
    return weighted.groupBy(*KEY, "kind", F.to_date("event_time").alias("day")).agg(
        floor_ratio(F.sum("weight_micro") * n_counted, F.count("*")).alias("day_micro"),
        F.count("*").alias("n_events"),
        F.min("event_time").alias("first_time"),
        F.max("event_time").alias("last_time"),
    )


def cap_user_days(daily: DataFrame, max_events: int) -> DataFrame:
    """Scale down the days on which a user has more than ``max_events`` events: bots and resellers."""
    n_day = F.sum("n_events").over(Window.partitionBy("user_id", "day"))
    return daily.withColumn(
        "day_micro", floor_ratio(F.col("day_micro") * max_events, F.greatest(n_day, F.lit(max_events)))
    )


def since_last_gap(daily: DataFrame, window_days: int) -> DataFrame:
    """Of each pair the days since it was last without an event for more than ``window_days`` days."""
    pair = Window.partitionBy(*KEY)
    gap = F.datediff("day", F.lag("day").over(pair.orderBy("day"))) > window_days
    born = F.max(F.when(F.col("gap"), F.col("day"))).over(pair)
    kept = daily.withColumn("gap", gap).withColumn("born", born)
    return kept.where(F.col("born").isNull() | (F.col("day") >= F.col("born")))


def added_totals(daily: DataFrame, periods: range, half_life_days: int) -> DataFrame:
    """One row per user and item; the weight of each period, doubled every half-life from its beginning on."""
    days = F.datediff("day", F.lit(FIRST_DAY))
    since = F.pmod(days, F.lit(PERIOD_HALVINGS * half_life_days))
    doubled = F.element_at(F.expr(array_of(powers(half_life_days))), (since % half_life_days + 1).cast("int"))
    scaled = F.rint(F.col("day_micro") * doubled * F.pow(F.lit(2.0), F.floor(since / half_life_days))).cast("long")
    period = F.floor(days / (PERIOD_HALVINGS * half_life_days))
    bought = F.col("kind") == "purchase"
    return daily.groupBy(*KEY).agg(
        *(F.sum(F.when(period == p, scaled).otherwise(F.lit(0))).alias(f"period_{p}") for p in periods),
        F.sum("n_events").alias("n_events"),
        F.sum(F.when(bought, F.col("n_events")).otherwise(F.lit(0))).alias("n_purchases"),
        F.min("first_time").alias("first_time"),
        F.max("last_time").alias("last_time"),
        F.max(F.when(bought, F.col("last_time"))).alias("last_purchase_time"),
    )


def beside(base: DataFrame | None, added: DataFrame) -> DataFrame:
    """Each pair of either, the base's columns as ``was_…``. A night adds little: then the base stays where it is."""
    if base is None:
        return added.withColumns({f"was_{name}": F.lit(None) for name in CARRIED})
    was = base.select(*KEY, *(F.col(name).alias(f"was_{name}") for name in CARRIED))
    added = added.persist()
    if added.count() > MAX_BROADCAST_ROWS:
        return was.join(added, KEY, how="full")
    known = was.select(KEY).join(F.broadcast(added.select(KEY)), KEY, how="left_semi")
    fresh = added.join(F.broadcast(known), KEY, how="left_anti")
    return was.join(F.broadcast(added), KEY, how="left").unionByName(fresh, allowMissingColumns=True)


def summed(rows: DataFrame, periods: range, window_days: int) -> DataFrame:
    """Totals of what was and what was added; what was forgotten before the first event added does not count."""
    lives = F.coalesce(F.datediff("first_time", "was_last_time") <= window_days, F.lit(True))
    was = {name: F.when(lives, F.col(f"was_{name}")) for name in CARRIED}
    sums = [or_zero(f"period_{period}") for period in periods]
    return rows.select(
        *KEY,
        at_last_period([or_zero(was["total_micro"]) + sums[0], *sums[1:]]).alias("total_micro"),
        *((or_zero(was[name]) + or_zero(name)).alias(name) for name in ("n_events", "n_purchases")),
        F.coalesce(was["first_time"], "first_time").alias("first_time"),
        F.coalesce("last_time", was["last_time"]).alias("last_time"),
        F.coalesce("last_purchase_time", was["last_purchase_time"]).alias("last_purchase_time"),
    )


def at_last_period(sums: list[Column]) -> Column:
    """Sums of consecutive periods at the scale of the last one's beginning; each step rounds towards minus infinity."""
    return reduce(lambda total, period: F.shiftright(total, PERIOD_HALVINGS) + period, sums)


def decayed(rows: DataFrame, newest: date, half_life_days: int, window_days: int) -> DataFrame:
    """With weights as of the last full day, without the pairs that are forgotten by then."""
    micro = F.rint(F.col("total_micro") * F.lit(halved_since(newest, half_life_days))).cast("long")
    known = rows.where(F.datediff(F.lit(newest), "last_time") < window_days)
    return known.withColumn("weight_micro", F.greatest(micro, F.lit(0)))


def array_of(numbers: list[float]) -> str:
    """As SQL: each to its last bit, which is not so of what Java's pow gives."""
    return f"array({','.join(f'{number!r}D' for number in numbers)})"


def or_zero(column: Column | str) -> Column:
    return F.coalesce(column, F.lit(0))


def floor_ratio(numerator: Column, denominator: Column) -> Column:
    """Integer division that rounds towards minus infinity, so that equal inputs give equal micro-units."""
    return F.floor(numerator / denominator).cast("long")
