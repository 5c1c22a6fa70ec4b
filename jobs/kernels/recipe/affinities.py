"""How well does an item suit a user, beside what the sources say? Category, price, circumstances and searches.

Items and users have vectors; a column for the ranker is the product of two of them, or their difference. A user's
category and price are those of what they took; shares of devices, countries, hours and age bands are of their own
events, and an item's are the logarithm of how much more often than other items it is taken there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from jobs.kernels.compiled import kernel
from jobs.kernels.recipe.context import UNKNOWN, Searches
from jobs.kernels.recipe.people import DAY_S, People

if TYPE_CHECKING:
    from jobs.kernels.recipe.past import Past

CIRCUMSTANCES = ("device", "country", "hour", "age_band")
PRODUCTS = (*CIRCUMSTANCES, "search")  # an item's vector times a user's
CATEGORY, PRICE = "category", "price"  # of items only
ITEM_SIDE = (*PRODUCTS, CATEGORY, PRICE)
AFFINITY_NAMES = ("category_affinity", "category_lately", "price_above_usual", *(f"{name}_fit" for name in PRODUCTS))
N_SLOTS = 8  # values of a circumstance that are told apart: the most frequent ones, and all others
HOURS_A_SLOT = 3
FADING_DAYS = 90  # half-life of an event's circumstances
SEARCHED_DAYS = 7  # and of a search
SMOOTHING = 5.0  # events that every item is lent, and items that every user is

Vectors = Mapping[str, np.ndarray]  # by name: (n_items, …) or (n_users, …), float32; what nothing is known of is absent


@dataclass(frozen=True)
class Affinities:
    """``users`` by the positions of the people who are scored, as a source by factors has its own."""

    users: Vectors
    items: Vectors


def of_past(past: "Past") -> Affinities:
    """Of its users and items; nothing where the past has no context."""
    users, items = {}, {}
    if past.context is None:
        return Affinities(users, items)
    codes = {**past.context.circumstances, "hour": (past.time_s % DAY_S // (3600 * HOURS_A_SLOT)).astype(np.int32)}
    for name in CIRCUMSTANCES:
        slot = slots(codes.get(name, np.full(len(past.item), UNKNOWN)))
        if slot.max(initial=UNKNOWN) > 0:
            users[name], items[name] = shares_and_lifts(past, slot)
    if len(past.context.searches.user):
        users["search"] = searched(past.context.searches, past.now, past.n_users)
        items["search"] = past.context.words.toarray().astype(np.float32)
    if past.context.category.max(initial=UNKNOWN) >= 0:
        items[CATEGORY] = categories(past)
    price = prices(past)
    if np.isfinite(price).any():
        items[PRICE] = price[:, None]
    return Affinities(users, items)


def slots(codes: np.ndarray) -> np.ndarray:
    """0 for the most frequent code, and so on; of equals the lower; ``N_SLOTS`` - 1 for all the rest."""
    known = codes[codes >= 0]
    order = np.argsort(-np.bincount(known), kind="stable")
    slot = np.empty(len(order) + 1, np.int8)
    slot[order] = np.minimum(np.arange(len(order)), N_SLOTS - 1)
    slot[-1] = UNKNOWN  # what an unknown code, -1, finds
    return slot[codes]


def shares_and_lifts(past: "Past", slot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each user the share of events in each slot; of each item the log of its share over everybody's, smoothed."""
    of_users, of_items = (np.zeros((n, int(slot.max()) + 1)) for n in (past.n_users, past.n_items))
    add_weights(past.user, past.item, slot, past.time_s, past.now, FADING_DAYS * DAY_S, of_users, of_items)
    usual = of_items.sum(axis=0) / of_items.sum()
    lifts = np.log((of_items / usual + SMOOTHING) / (of_items.sum(axis=1, keepdims=True) + SMOOTHING))
    return over_sum(of_users).astype(np.float32), lifts.astype(np.float32)


@kernel
def add_weights(user, item, slot, time_s, now, half_life_s, of_users, of_items):
    """Each event's weight, which halves with its age, to its user's and its item's slot."""
    for at in range(len(user)):
        if slot[at] >= 0:
            weight = np.exp2(-(now - time_s[at]) / half_life_s)
            of_users[user[at], slot[at]] += weight
            of_items[item[at], slot[at]] += weight


def over_sum(rows: np.ndarray) -> np.ndarray:
    """Rows that add up to 1, or stay 0."""
    return rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-12)


def searched(searches: Searches, now: float, n_users: int) -> np.ndarray:
    """The words of each user's searches until ``now``, the latest weighing most: ``(n_users, N_WORDS)``."""
    known = searches.where(searches.time_s <= now)
    weight = np.exp2(-(now - known.time_s) / (SEARCHED_DAYS * DAY_S))
    cells = (weight, (known.user, np.arange(len(weight))))
    return (sp.csr_matrix(cells, (n_users, len(weight))) @ known.words).toarray().astype(np.float32)


def categories(past: "Past") -> np.ndarray:
    """Of each item the code, and the share of all that was taken that is of this category: ``(n_items, 2)``."""
    code = past.context.category
    known = code >= 0
    taken = np.bincount(code[known], past.item_users[known])
    return np.column_stack([code, np.where(known, taken[code] / max(taken.sum(), 1), 0)]).astype(np.float32)


def prices(past: "Past") -> np.ndarray:
    """The mean logarithm of what each item was taken for; NaN where that is unknown."""
    price = past.context.price
    known = np.isfinite(price) & (price > 0)
    n = np.bincount(past.item[known], minlength=past.n_items)
    total = np.bincount(past.item[known], np.log(price[known]), past.n_items)
    return np.divide(total, n, out=np.full(past.n_items, np.nan), where=n > 0).astype(np.float32)


def affinities(known: Affinities, people: People, users: np.ndarray, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """``(n_rows, len(AFFINITY_NAMES))`` float32, NaN or 0 where nothing is known.

    A row is a position in ``users`` (positions in ``people``) and an item.
    """
    rows = people, users, user, item
    columns = [*by_category(known.items, *rows), above_usual(known.items, *rows)]
    for name in PRODUCTS:
        found = np.zeros(len(user), np.float32)
        if name in known.users and name in known.items:
            add_products(known.users[name][users], known.items[name], user, item, found)
        columns.append(found)
    return np.stack(columns, axis=1).astype(np.float32)


def by_category(
    of_items: Vectors, people: People, users: np.ndarray, user: np.ndarray, item: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How much more of the item's category the user took than others do (a logarithm), and its share lately."""
    if CATEGORY not in of_items:
        return np.full(len(user), np.nan), np.full(len(user), np.nan)
    code, usual = of_items[CATEGORY].T
    code = code.astype(np.int64)
    known = np.flatnonzero(code >= 0)
    member = sp.csr_matrix((np.ones(len(known), np.float32), (known, code[known])), (len(code), int(code.max()) + 1))
    n, recent = ((history[users] @ member).toarray() for history in (people.user_items, people.by_time))
    own, total = n[user, code[item]], n.sum(axis=1)[user]
    has_one = code[item] >= 0
    share = np.where(has_one, usual[item], 1.0)
    lift = np.log((own + SMOOTHING * share) / ((total + SMOOTHING) * share))
    return np.where(has_one, lift, np.nan), np.where(has_one, over_sum(recent)[user, code[item]], np.nan)


def above_usual(of_items: Vectors, people: People, users: np.ndarray, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """The logarithm of the item's price over what the user usually takes costs."""
    if PRICE not in of_items:
        return np.full(len(user), np.nan)
    price = of_items[PRICE][:, 0].astype(np.float64)
    history = people.user_items[users]
    n = history @ np.isfinite(price)
    usual = np.divide(history @ np.nan_to_num(price), n, out=np.full(len(users), np.nan), where=n > 0)
    return price[item] - usual[user]


@kernel
def add_products(of_users, of_items, user, item, found):
    """Each row's vectors multiplied, without a copy of them; most people's are of nothing where few people search."""
    silent = np.ones(len(of_users), np.bool_)
    for row in range(len(of_users)):
        for value in of_users[row]:
            silent[row] &= value == 0
    for row in range(len(user)):
        if not silent[user[row]]:
            total = np.float32(0)
            for at in range(of_users.shape[1]):
                total += of_users[user[row], at] * of_items[item[row], at]
            found[row] = total
