"""The rules of one night out of the lake's tables."""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conf.rules import Rules
from jobs.kernels.rules.context import NO_CATEGORY, Catalogue, Context, build_context, rebuyable
from jobs.kernels.rules.rebuy import NEVER, Rebuy
from schemas.tables import SOURCES

PROMOTION = SOURCES.index("promotion")


def rules_tonight(
    rules: Rules, items: pa.Table, dictionary: pa.Table, item_factors: pa.Table, as_of: datetime, n: int
) -> Context:
    """The rules compiled; ``sources`` of the slates they make are positions in ``schemas.tables.SOURCES``."""
    return build_context(rules, catalogue_of(items, dictionary, rules, item_factors), as_of, n, PROMOTION)


def rebuy_tonight(rules: Rules, items: pa.Table, dictionary: pa.Table, as_of: datetime) -> Rebuy:
    codes, names = categories_of(described(items, dictionary))
    again = rebuyable(rules.rebuy.categories, codes, {name: code for code, name in enumerate(names)})
    return Rebuy(again, rules.rebuy.after_days, as_of)


def warnings_of(context: Context) -> list[str]:
    """What somebody should look at, one line each: a misspelt name would silently do nothing."""
    if not context.unknown:
        return []
    return [f"the business rules name what is no item or category: {', '.join(context.unknown)}"]


def catalogue_of(items: pa.Table, dictionary: pa.Table, rules: Rules, item_factors: pa.Table) -> Catalogue:
    """All items of the dictionary; one without a row in ``items`` is available, without category and date."""
    known = described(items, dictionary)
    codes, names = categories_of(known)
    return Catalogue(
        index_of=index_of(dictionary, rules),
        available=pc.fill_null(known["available"], True).to_numpy(),
        category=codes,
        category_names=names,
        created=known["created_at"].to_numpy(),
        vectors=vectors_of(item_factors, len(codes)) if rules.diversity.similarity == "cosine" else None,
    )


def described(items: pa.Table, dictionary: pa.Table) -> pa.Table:
    """One row per item_idx, in its order, which leaves no gaps."""
    told = items.select(["item_id", "category", "created_at", "available"])
    return dictionary.join(told, "item_id", join_type="left outer").sort_by("item_idx")


def categories_of(known: pa.Table) -> tuple[np.ndarray, tuple[str, ...]]:
    """Position of each item's category in the names, which are sorted."""
    names = pc.unique(known["category"]).drop_null()
    names = names.take(pc.array_sort_indices(names))
    codes = pc.fill_null(pc.index_in(known["category"], names), NO_CATEGORY)
    return codes.to_numpy().astype(np.int32), tuple(names.to_pylist())


def index_of(dictionary: pa.Table, rules: Rules) -> dict[str, int]:
    """item_id → item_idx of the items that are promoted."""
    promoted = pa.array(sorted({item for promotion in rules.promotion for item in promotion.items}), pa.string())
    found = dictionary.filter(pc.is_in(dictionary["item_id"], promoted))
    return dict(zip(found["item_id"].to_pylist(), found["item_idx"].to_pylist(), strict=True))


def vectors_of(item_factors: pa.Table, n_items: int) -> np.ndarray:
    """``(n_items, factors)`` float32; zero rows for items without a vector."""
    width = len(item_factors["vector"][0]) if item_factors.num_rows else 1
    vectors = np.zeros((n_items, width), np.float32)
    flat = item_factors["vector"].combine_chunks().flatten().to_numpy()
    vectors[item_factors["item_idx"].to_numpy()] = flat.reshape(-1, width)
    return vectors


def last_purchases(interactions: pa.Table) -> np.ndarray:
    """Microseconds since 1970 of each row's last purchase, NEVER where there was none."""
    return pc.fill_null(interactions["last_purchase_time"].cast(pa.int64()), NEVER).to_numpy()
