"""What happens during a visit, from search to purchase; and days later, returns and ratings."""

import numpy as np

from jobs.generator.rows import KIND, MS_DAY, Rows, concat, make, size, take
from jobs.generator.visits import Visits

SEARCH, IMPRESSION, CLICK, OPINION = 0.11, 0.15, 0.22, 0.03  # of looks come with one
TILL_MS = 20_000  # before the visit's end
RETURN, RETURN_DAYS = 0.07, (2, 16)  # of purchases, and after how many days
RATE, RATE_DAYS = 0.25, (1, 11)
QUERIES_PER_ITEM = 3


def rows_of(rng, visits: Visits, item: np.ndarray, suits: np.ndarray, passed_over: np.ndarray) -> Rows:
    """The event rows of the visits; ``session`` is the position of the visit. Nothing is bought that was not viewed.

    ``item`` and ``suits`` belong to the looks, ``passed_over`` is an item shown beside each and not looked at.
    """
    n = len(item)
    in_cart = rng.random(n) < np.clip(0.26 * np.exp(0.45 * suits), 0.02, 0.32)
    opinion = rng.random(n) < OPINION
    liked = suits + rng.normal(0, 1.0, n) > -2.5
    query = item * QUERIES_PER_ITEM + rng.integers(0, QUERIES_PER_ITEM, n)
    quantity = np.minimum(rng.geometric(0.8, n), 6)
    parts = [
        _during(visits, rng.random(n) < SEARCH, 0.0, "search", query=query),
        _during(visits, rng.random(n) < IMPRESSION, 0.05, "impression", item=passed_over),
        _during(visits, rng.random(n) < CLICK, 0.08, "click", item=item),
        _during(visits, np.ones(n, bool), 0.12, "view", item=item),
        _during(visits, in_cart, 0.6, "add_to_cart", item=item, quantity=quantity),
        _during(visits, opinion & liked, 0.8, "like", item=item),
        _during(visits, opinion & ~liked, 0.8, "dislike", item=item),
        _bought(rng, visits, in_cart, item, quantity),
    ]
    rows = concat(parts)
    return _signed(rows, visits)


def _during(visits: Visits, happens: np.ndarray, share_of_dwell: float, kind: str, **columns) -> Rows:
    look = np.flatnonzero(happens)
    time = visits.at[look] + (visits.dwell[look] * share_of_dwell).astype(np.int64)
    columns = {name: column[look] for name, column in columns.items()}
    return make(len(look), time=time, kind=KIND[kind], session=visits.visit[look], **columns)


def _bought(rng, visits: Visits, in_cart: np.ndarray, item: np.ndarray, quantity: np.ndarray) -> Rows:
    """One order at the end of the visit, of most of what is in the cart."""
    look = np.flatnonzero(in_cart & visits.checkout[visits.visit] & (rng.random(len(item)) < 0.9))
    visit = visits.visit[look]
    time = np.maximum(visits.end[visit] - TILL_MS, visits.at[look] + visits.dwell[look].astype(np.int64))
    columns = {"item": item[look], "quantity": quantity[look], "basket": visit}
    return make(len(look), time=np.minimum(time, visits.end[visit]), kind=KIND["purchase"], session=visit, **columns)


def _signed(rows: Rows, visits: Visits) -> Rows:
    """Put on each row who did it (nobody before the log-in), where and on what."""
    visit = rows["session"]
    known = (rows["time"] >= visits.login[visit]) | (rows["kind"] == KIND["purchase"])
    rows["user"] = np.where(known & (visits.login[visit] < np.iinfo(np.int64).max), visits.user[visit], -1)
    rows["user"] = rows["user"].astype(np.int32)
    rows["country"], rows["device"] = visits.country[visit], visits.device[visit]
    rows["arrival"] = rows["time"].copy()
    return rows


def afterwards(rng, rows: Rows, suits_of) -> Rows:
    """Returns and ratings that follow some of the purchases in ``rows`` days later; sessions and numbers not yet given.

    ``suits_of(user, item)`` says how well items suit people.
    """
    bought = take(rows, np.flatnonzero(rows["kind"] == KIND["purchase"]))
    back = take(bought, rng.random(size(bought)) < RETURN)
    rated = take(bought, rng.random(size(bought)) < RATE)
    back["kind"][:], rated["kind"][:] = KIND["return"], KIND["rating"]
    rated["quantity"][:], rated["basket"][:] = 0, -1
    stars = 4.6 + 0.4 * suits_of(rated["user"], rated["item"]) + rng.normal(0, 0.8, size(rated))
    rated["stars"] = np.clip(np.round(stars), 1, 5).astype(np.int8)
    for later, (least, most) in ((back, RETURN_DAYS), (rated, RATE_DAYS)):
        later["time"] += (rng.uniform(least, most, size(later)) * MS_DAY).astype(np.int64)
        later["arrival"] = later["time"].copy()
    return concat([back, rated])


def cut(rows: Rows, n: int) -> Rows:
    """At most ``n`` of the rows: whole visits in the order of their numbers, the last one up to where it fits."""
    if size(rows) <= n:
        return rows
    ends = np.cumsum(np.bincount(rows["session"]))
    last = int(np.searchsorted(ends, n))  # the visit in which the limit falls
    of_last = np.flatnonzero(rows["session"] == last)
    in_time = of_last[np.argsort(rows["time"][of_last], kind="stable")]
    room = n - (int(ends[last - 1]) if last else 0)
    keep = rows["session"] < last
    keep[in_time[:room]] = True
    return take(rows, np.flatnonzero(keep))
