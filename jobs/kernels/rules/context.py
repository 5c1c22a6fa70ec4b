"""What the rules need: of one night, compiled once and sent to all tasks, and of one user."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from conf.rules import ANY_CATEGORY, Promotion, Rules

NO_CATEGORY = -1
NO_REASON = -1  # because_of of an item nobody's interaction explains, as in schemas.codec


def none() -> np.ndarray:
    return np.empty(0, np.int32)


@dataclass(frozen=True)
class Catalogue:
    """Items as known at as_of: arrays ``(n_items,)`` by item_idx, which cover every index that occurs."""

    index_of: Mapping[str, int]  # item_id -> item_idx, of promoted items at least
    available: np.ndarray  # bool
    category: np.ndarray  # int32: position in category_names, -1 for none
    category_names: tuple[str, ...]
    created: np.ndarray  # datetime64, UTC; NaT where unknown
    owner: np.ndarray | None = None  # user_id of who sells it, "" for none
    vectors: np.ndarray | None = None  # (n_items, factors); zero rows are like nothing


@dataclass(frozen=True)
class User:
    """Whom a slate is for; ``seen`` and ``bought_days`` are parallel and name every item the user dealt with once."""

    user_id: str
    seen: np.ndarray = field(default_factory=none)
    bought_days: np.ndarray = field(default_factory=none)  # days since the last purchase, -1 where never bought
    blocked: np.ndarray = field(default_factory=none)
    country: str | None = None


@dataclass(frozen=True)
class Campaign:
    """A promotion that holds tonight: ``items`` by item_idx in the order written, or else all of ``category``."""

    items: np.ndarray
    category: int
    slot: int | None
    boost: float | None
    country: str | None


@dataclass(frozen=True)
class Context:
    """The rules of one night, compiled; arrays ``(n_items,)`` by item_idx."""

    n: int
    as_of: str
    rules: Rules
    available: np.ndarray
    category: np.ndarray
    comes_back: np.ndarray | None  # bool: may be bought again; None when nothing may
    new: np.ndarray | None  # bool: may be explored; None when exploration is off
    owner: np.ndarray | None
    unit_vectors: np.ndarray | None  # rows of length 1 (or 0) for the cosine; None when it is not asked for
    campaigns: tuple[Campaign, ...]
    promotion_source: int  # what ``sources`` holds for a promoted item
    unknown: tuple[str, ...]  # item ids and categories the rules name and the catalogue lacks: the job should say so


def build_context(rules: Rules, catalogue: Catalogue, as_of: datetime, n: int, promotion_source: int) -> Context:
    """Compile ``rules`` for slates of ``n`` items made as of ``as_of`` (with its zone).

    Raises:
        ValueError: the rules ask for the cosine of item vectors and the catalogue has none.
    """
    mmr = rules.diversity.mmr_lambda < 1
    codes = {name: code for code, name in enumerate(catalogue.category_names)}
    tonight = [promotion for promotion in rules.promotion if promotion.starts <= as_of < promotion.until]
    return Context(
        n=n,
        as_of=as_of.isoformat(),
        rules=rules,
        available=catalogue.available,
        category=catalogue.category,
        comes_back=rebuyable(rules.rebuy.categories, catalogue.category, codes),
        new=new_items(catalogue.created, as_of, rules.exploration.new_days) if rules.exploration.n_slots else None,
        owner=catalogue.owner,
        unit_vectors=units(catalogue.vectors) if mmr and rules.diversity.similarity == "cosine" else None,
        campaigns=tuple(compiled(promotion, catalogue.index_of, codes) for promotion in tonight),
        promotion_source=promotion_source,
        unknown=unknown_names(rules.rebuy.categories, tonight, catalogue.index_of, codes),
    )


def rebuyable(categories: tuple[str, ...], category: np.ndarray, codes: Mapping[str, int]) -> np.ndarray | None:
    if not categories:
        return None
    if ANY_CATEGORY in categories:
        return np.ones(len(category), bool)
    return np.isin(category, [codes[name] for name in categories if name in codes])


def new_items(created: np.ndarray, as_of: datetime, days: int) -> np.ndarray:
    """Bool: created within ``days`` before ``as_of``; an unknown date is not new."""
    age = np.datetime64(round(as_of.timestamp() * 1e6), "us") - created.astype("datetime64[us]")
    return (age >= np.timedelta64(0)) & (age < np.timedelta64(days, "D"))


def units(vectors: np.ndarray | None) -> np.ndarray:
    if vectors is None:
        raise ValueError("diversity.similarity = 'cosine': no item vectors were given; allowed: 'category'")
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(length > 0, length, 1)).astype(np.float32)


def compiled(promotion: Promotion, index_of: Mapping[str, int], codes: Mapping[str, int]) -> Campaign:
    known = [index_of[item] for item in promotion.items if item in index_of]
    category = codes.get(promotion.category, NO_CATEGORY)
    return Campaign(np.array(known, np.int32), category, promotion.slot, promotion.boost, promotion.country)


def unknown_names(
    categories: tuple[str, ...], tonight: list[Promotion], index_of: Mapping[str, int], codes: Mapping[str, int]
) -> tuple[str, ...]:
    """Sorted; a misspelt name would silently do nothing."""
    named = {*categories, *(p.category for p in tonight if p.category)} - {ANY_CATEGORY} - set(codes)
    return tuple(sorted(named | {item for p in tonight for item in p.items if item not in index_of}))
