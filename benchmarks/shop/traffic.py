"""What happens in the generated shop, a day at a time, by arrays.

People are active log-normally and mostly keep to three kinds of items; kinds, and items of a kind, are taken by a
power law, whose order moves on by a place every fourth day. One visit in twenty is anonymous.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa

from benchmarks.shop.people import COUNTRIES, catalogue, filled, hex_ids, mixed, named, user_ids
from schemas.arrow import arrow_schema
from schemas.tables import EVENTS

FIRST_DAY = datetime(2025, 12, 2, tzinfo=UTC)
EVENTS_A_USER, EVENTS_AN_ITEM, FEWEST_ITEMS, MOST_ITEMS = 100, 50, 64, 100_000
ITEMS_OF_A_KIND, FEWEST_KINDS, TASTES = 250, 8, 3
KEPT_TO = 0.85  # share of visits to one of the user's own kinds
ANONYMOUS = 0.05  # share of visits
EVENTS_A_VISIT = 5
DAYS_A_PLACE = 4  # until the order of the items of a kind moves on by one
KINDS = {"view": 0.86, "add_to_cart": 0.09, "purchase": 0.05}
DEVICES = ("mobile", "desktop", "tablet")
DAY_S, CLOSES_S, STEP_S = 86_400, 84_000, 30  # visits begin before the second


@dataclass(frozen=True)
class Shop:
    """All that does not change from day to day; ``n_events`` are those of ``n_days``, about."""

    n_events: int
    n_days: int
    seed: int = 1

    @property
    def n_users(self) -> int:
        return max(self.n_events // EVENTS_A_USER, 1)

    @property
    def n_items(self) -> int:
        return min(max(self.n_events // EVENTS_AN_ITEM, FEWEST_ITEMS), MOST_ITEMS)

    @property
    def n_kinds(self) -> int:
        return max(self.n_items // ITEMS_OF_A_KIND, FEWEST_KINDS)

    @cached_property
    def activity(self) -> np.ndarray:
        """Cumulative shares of the users, ``(n_users,)``."""
        shares = np.cumsum(np.random.default_rng(self.seed).lognormal(0, 1.2, self.n_users))
        return shares / shares[-1]

    @cached_property
    def tastes(self) -> np.ndarray:
        """Kinds of each user, ``(n_users, TASTES)``."""
        random = np.random.default_rng(self.seed + 1)
        return by_power_law(random, self.n_kinds, self.n_users * TASTES, 0.5).reshape(-1, TASTES)

    @cached_property
    def user_ids(self) -> pa.Array:
        return user_ids(self.n_users, self.seed)

    @cached_property
    def items(self) -> pa.Table:
        return catalogue(self.n_items, self.n_kinds, self.seed).combine_chunks()


def by_power_law(random: np.random.Generator, n: int, size: int, power: float) -> np.ndarray:
    """``size`` numbers below ``n``, number k as often as ``(k + 1) ** -power``."""
    shares = np.cumsum(np.arange(1, n + 1) ** -power)
    return np.searchsorted(shares / shares[-1], random.random(size)).astype(np.int32)


def day_of(shop: Shop, day: int) -> pa.Table:
    """All events of a day by time, in columns of the table events; null what only an ingest can know."""
    random = np.random.default_rng((shop.seed, day))
    n_visits = max(round(shop.n_events / shop.n_days / EVENTS_A_VISIT * random.uniform(0.9, 1.1)), 1)
    user = np.searchsorted(shop.activity, random.random(n_visits)).astype(np.int32)
    length = random.geometric(1 / EVENTS_A_VISIT, n_visits)
    visit = np.repeat(np.arange(n_visits), length)
    step = np.arange(len(visit)) - np.repeat(np.cumsum(length) - length, length)
    began_s = random.integers(0, CLOSES_S, n_visits)
    second = began_s[visit] + np.minimum(step * STEP_S, DAY_S - CLOSES_S - 1)
    order = np.argsort(second, kind="stable")
    item = taken(shop, random, looked_for(shop, random, user)[visit], day)
    return events(shop, random, day, user, visit[order], item[order], second[order])


def looked_for(shop: Shop, random: np.random.Generator, user: np.ndarray) -> np.ndarray:
    """The kind of each visit."""
    own = shop.tastes[user, by_power_law(random, TASTES, len(user), 1.0)]
    other = by_power_law(random, shop.n_kinds, len(user), 0.5)
    return np.where(random.random(len(user)) < KEPT_TO, own, other)


def taken(shop: Shop, random: np.random.Generator, kind: np.ndarray, day: int) -> np.ndarray:
    """An item of each kind."""
    n_of_kind = shop.n_items // shop.n_kinds
    place = by_power_law(random, n_of_kind, len(kind), 0.8)
    return kind + shop.n_kinds * ((place + day // DAYS_A_PLACE) % n_of_kind)


def events(shop: Shop, random, day: int, user, visit, item, second) -> pa.Table:
    """``user`` is by visit, the rest by event."""
    n, first = len(visit), day << 32
    kind = np.searchsorted(np.cumsum(list(KINDS.values()))[:-1], random.random(n), side="right")
    nobody = (random.random(len(user)) < ANONYMOUS)[visit]
    sessions = hex_ids(mixed(np.arange(first, first + len(user), dtype=np.uint64)))
    begins_us = round((FIRST_DAY + timedelta(days=day)).timestamp() * 1e6)
    known = {
        "event_id": hex_ids(mixed(np.arange(first, first + n, dtype=np.uint64))),
        "event_time": pa.array(begins_us + second * 1_000_000).cast(pa.timestamp("us", tz="UTC")),
        "kind": named(tuple(KINDS), kind),
        "user_id": shop.user_ids.take(pa.array(user[visit], mask=nobody)),
        "key_version": pa.array(np.ones(n, np.int8), mask=nobody),
        "session_id": sessions.take(pa.array(visit)),
        "item_id": shop.items["item_id"].chunk(0).take(pa.array(item)),
        "quantity": pa.array(np.ones(n, np.int32), mask=kind != list(KINDS).index("purchase")),
        "price": shop.items["price"].chunk(0).take(pa.array(item)),
        "country": named(COUNTRIES, user[visit]),
        "device": named(DEVICES, user[visit] // len(COUNTRIES)),
    }
    return filled(known, arrow_schema(EVENTS))
