"""What rises now, for everybody and for each segment? Distinct people per item, each by the age of their newest event.

A person counts once for an item however often they return, so a reload makes no trend. Two rules keep bots and bursts
out. Who meets more than ``max_person_items`` items within one clock hour is a bot, and counts for nothing. Of an item's
visitors without a user id who met nothing else (all that a script with a new session each time can be), only the newest
``max_strangers`` count for each other person of that item, and for one more. The weight of a person halves every
``half_life_hours``; sums are integer micro-units, equal in any order.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from conf.settings import Settings
from jobs.rim.lineage import Job
from schemas.keys import DAYPARTS
from schemas.tables import NO_SIGN_OF_LIKING


def transform(inputs: Mapping[str, DataFrame], as_of: datetime, settings: Settings) -> dict[str, DataFrame]:
    """events, items, users, item_dictionary → trending."""
    wanted = settings.trending
    met = without_bots(described(inputs), wanted.max_person_items)
    touched = without_bursts(met, wanted.max_strangers)
    people = newest_by_person(segmented(touched, wanted.segments))
    scored = decayed_people(people, as_of, wanted.half_life_hours)
    crowded = large_enough(scored, people, wanted.min_users)
    return {"trending": best(crowded, wanted.n_items)}


def described(inputs: Mapping[str, DataFrame]) -> DataFrame:
    """Events on available items, with the person and the attributes that make segments."""
    items = inputs["items"].select("item_id", "category", "available")
    users = inputs["users"].select("user_id", "age_band", F.col("country").alias("home"))
    events = inputs["events"].where(F.col("item_id").isNotNull() & ~F.col("kind").isin(*NO_SIGN_OF_LIKING))
    return (
        events.join(F.broadcast(inputs["item_dictionary"]), "item_id", how="inner")
        .join(F.broadcast(items), "item_id", how="left")
        .join(users, "user_id", how="left")
        .where(F.coalesce("available", F.lit(True)))
        .withColumn("country", F.coalesce("country", "home"))
        .withColumn("daypart", daypart(F.hour("event_time")))
        .withColumn("person", F.coalesce("user_id", "session_id"))
    )


def without_bots(events: DataFrame, max_items: int) -> DataFrame:
    """Leave out everything of whoever met more items than that within one hour of the clock."""
    hourly = events.groupBy("person", F.date_trunc("hour", "event_time").alias("hour"))
    busy = hourly.agg(F.countDistinct("item_idx").alias("n_items")).where(F.col("n_items") > max_items)
    return events.join(busy.select("person").distinct(), "person", how="left_anti")


def without_bursts(events: DataFrame, max_strangers: int) -> DataFrame:
    """Of each item's strangers leave out those beyond the newest ``max_strangers`` for each other person and one more.

    Ties: the person whose pseudonym is smaller counts.
    """
    met = events.groupBy("item_idx", "person").agg(
        F.max("event_time").alias("last_time"), F.every(F.col("user_id").isNull()).alias("nameless")
    )
    once = met.groupBy("person").agg((F.every("nameless") & (F.count("*") == 1)).alias("stranger"))
    told = met.join(once, "person", how="inner")
    others = told.groupBy("item_idx").agg(F.count(F.when(~F.col("stranger"), 1)).alias("n_others"))
    newest = Window.partitionBy("item_idx").orderBy(F.desc("last_time"), "person")
    placed = (
        told.where("stranger").withColumn("place", F.row_number().over(newest)).join(others, "item_idx", how="inner")
    )
    excess = placed.where(F.col("place") > max_strangers * (F.col("n_others") + 1))
    return events.join(excess.select("item_idx", "person"), ["item_idx", "person"], how="left_anti")


def daypart(hour: Column) -> Column:
    """The name of an hour's six-hour part of the day, by UTC."""
    return F.element_at(F.array(*map(F.lit, DAYPARTS)), (F.floor(hour / 6) + 1).cast("int"))


def segmented(events: DataFrame, attributes: tuple[str, ...]) -> DataFrame:
    """One row for ``all`` and one for each attribute that is known."""
    named = [segment_name(name) for name in attributes]
    segments = F.array_compact(F.array(F.lit("all"), *named))
    return events.select(F.explode(segments).alias("segment"), "item_idx", "person", "event_time")


def segment_name(attribute: str) -> Column:
    return F.when(F.col(attribute).isNotNull(), F.concat(F.lit(f"{attribute}="), F.col(attribute)))


def newest_by_person(events: DataFrame) -> DataFrame:
    return events.groupBy("segment", "item_idx", "person").agg(F.max("event_time").alias("last_time"))


def decayed_people(people: DataFrame, as_of: datetime, half_life_hours: int) -> DataFrame:
    """Score of an item in a segment, and its distinct people."""
    age_h = (F.lit(as_of.timestamp()) - F.unix_micros("last_time") / 1e6) / 3600.0
    micro = F.round(F.pow(F.lit(0.5), age_h / half_life_hours) * 1e6).cast("long")
    return people.groupBy("segment", "item_idx").agg((F.sum(micro) / 1e6).alias("score"), F.count("*").alias("n_users"))


def large_enough(scored: DataFrame, people: DataFrame, min_users: int) -> DataFrame:
    """Leave out segments with fewer than ``min_users`` people; ``all`` always stays."""
    sizes = people.groupBy("segment").agg(F.countDistinct("person").alias("n_people"))
    large = sizes.where((F.col("n_people") >= min_users) | (F.col("segment") == "all")).select("segment")
    return scored.join(F.broadcast(large), "segment", how="left_semi")


def best(scored: DataFrame, n_items: int) -> DataFrame:
    """The best of each segment. Ties: score descending, then item_idx ascending."""
    order = Window.partitionBy("segment").orderBy(F.desc("score"), "item_idx")
    return scored.withColumn("rank", F.row_number().over(order)).where(F.col("rank") <= n_items)


JOB = Job(
    name="trending",
    inputs=("events", "items", "users", "item_dictionary"),
    outputs=("trending",),
    settings=("trending",),
    engine="spark",
    transform=transform,
    window=lambda settings: timedelta(hours=settings.trending.window_hours),
)
