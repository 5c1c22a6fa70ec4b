"""What a table is like as a whole, for the gate: numbers only. A share of nothing is 1."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.compiled import kernel
from jobs.kernels.grouping import begins_of, by_code
from jobs.kernels.metrics import churn
from jobs.kernels.rules.context import NO_REASON
from schemas.tables import UNEXPLAINED

ROWS_AT_ONCE = 50_000
OWN, BARRED, LISTED = 1, 2, 4  # marks of items
BESIDE = ("scores", "sources", "because_of", "propensities")  # columns parallel to the items of a slate
BROKEN = (
    *("n_repeated_items", "n_seen_items", "n_unavailable_items", "n_out_of_order", "n_without_own_reason"),
    *("n_bad_propensities", "n_uneven"),
)


def slate_statistics(
    slates: pa.Table,
    owned: pa.Table,
    comes_back: np.ndarray,
    active: pa.Array,
    available: np.ndarray,
    known: np.ndarray,
    n_wanted: int,
) -> dict[str, float]:
    """Counts of broken promises and shares of coverage.

    ``owned`` has a row per user_id, perhaps as dictionaries, and item_idx they dealt with, ``comes_back`` says of each
    row whether the user may be shown it again, ``active`` holds the users of the last day, ``available`` the item_idx
    that may be shown, ``known`` those that anybody dealt with. An item without a reason, -1, is no fault where its
    source is one of ``UNEXPLAINED``; ``explained`` is the share of items with a reason.
    """
    user_ids = pc.unique(slates["user_id"])
    owners = Owners.of(owned, comes_back, user_ids)
    shown, counts = Shown.of(available, max(owners.item.max(initial=-1), known.max(initial=-1))), Counter()
    for start in range(0, slates.num_rows, ROWS_AT_ONCE):  # flat copies of all rows would not fit memory
        counts.update(broken(slates.slice(start, ROWS_AT_ONCE), user_ids, owners, shown))
    n_rows, n_items, n_explained = slates.num_rows, counts.pop("n_items", 0), counts.pop("n_explained", 0)
    reached = np.intersect1d(available, known)
    return dict.fromkeys(BROKEN, 0) | {
        **counts,
        "n_rows": n_rows,
        "n_repeated_users": n_rows - len(user_ids),
        "fill": share(n_items / n_rows if n_rows else 0, min(n_wanted, max(len(reached), 1))),
        "user_coverage": share(pc.is_in(active, user_ids).true_count, len(active)),
        "item_coverage": share(int(shown.seen.sum()), len(reached)),
        "explained": share(n_explained, n_items),
    }


@dataclass(frozen=True)
class Owners:
    """What users dealt with, by user: ``begins`` ``(n_users + 1,)``, items, and whether each may be shown again."""

    begins: np.ndarray
    item: np.ndarray
    back: np.ndarray

    @classmethod
    def of(cls, owned: pa.Table, comes_back: np.ndarray, user_ids: pa.Array) -> "Owners":
        column = owned["user_id"]
        coded = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        coded = coded.combine_chunks()
        place = pc.fill_null(pc.index_in(coded.dictionary.cast(pa.string()), user_ids), -1).to_numpy()
        code = place[coded.indices.to_numpy()].astype(np.int32)
        listed = np.flatnonzero(code >= 0)
        begins = begins_of(code[listed], len(user_ids))
        listed = listed[by_code(code[listed], begins)]
        return cls(begins, owned["item_idx"].to_numpy()[listed].astype(np.int32), comes_back[listed])


@dataclass(frozen=True)
class Shown:
    """Bool of item_idx: may be shown; stands in any list (``seen``, filled on the way)."""

    allowed: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, available: np.ndarray, highest: int) -> "Shown":
        allowed = np.zeros(max(highest, available.max(initial=-1)) + 1, bool)
        allowed[available] = True
        return cls(allowed, np.zeros(len(allowed), bool))


def broken(slates: pa.Table, user_ids: pa.Array, owners: Owners, shown: Shown) -> dict[str, int]:
    """``BROKEN`` of some rows, and how many items they have, and of these with a reason."""
    columns = {name: slates[name].combine_chunks() for name in ("items", *BESIDE)}
    lengths = {name: pc.list_value_length(column).to_numpy() for name, column in columns.items()}
    at = {name: np.append(0, lengths[name].cumsum()) for name in columns}
    items, because = flat(columns["items"], np.int64), flat(columns["because_of"], np.int64)
    scores, chances = flat(columns["scores"], np.float64), flat(columns["propensities"], np.float64)
    spoken = pc.is_in(columns["sources"].flatten(), pa.array(UNEXPLAINED)).to_numpy(zero_copy_only=False)
    user = pc.index_in(slates["user_id"].combine_chunks(), user_ids).to_numpy()
    row = np.repeat(np.arange(slates.num_rows), lengths["scores"])
    lists = (at["items"], items, at["because_of"], because, at["sources"], spoken)
    repeated, owned, gone, unexplained = promises(
        *lists, user, owners.begins, owners.item, owners.back, shown.allowed, shown.seen
    )
    return {
        "n_repeated_items": repeated,
        "n_seen_items": owned,
        "n_unavailable_items": gone,
        "n_out_of_order": int(((row[1:] == row[:-1]) & ~(np.diff(scores) <= 0)).sum()),  # NaN is out of order, too
        "n_without_own_reason": unexplained,
        "n_bad_propensities": int((~((chances > 0) & (chances <= 1))).sum()),
        "n_uneven": int((np.stack([lengths[name] for name in BESIDE]) != lengths["items"]).any(axis=0).sum()),
        "n_items": len(items),
        "n_explained": int((because >= 0).sum()),
    }


@kernel
def promises(item_at, items, because_at, because, source_at, spoken, user, own_at, own, back, allowed, seen):
    """How many items stand twice in a list, are their user's own and may not come back, may not be shown at all, and
    how many reasons are none of the user's own items, where one is wanted. What is shown is marked in ``seen``.
    """
    marks = np.zeros(len(allowed), np.int8)
    repeated, owned, gone, unexplained = 0, 0, 0, 0
    for row in range(len(item_at) - 1):
        mine = own[own_at[user[row]] : own_at[user[row] + 1]]
        for at in range(len(mine)):
            marks[mine[at]] = OWN if back[own_at[user[row]] + at] else OWN | BARRED
        for at in range(item_at[row], item_at[row + 1]):
            item = items[at]
            if item < 0 or item >= len(allowed):
                gone += 1
                continue
            gone += not allowed[item]
            owned += marks[item] & BARRED != 0
            repeated += marks[item] & LISTED != 0
            marks[item] |= LISTED
            seen[item] = True
        for at in range(because_at[row], because_at[row + 1]):
            reason, place = because[at], source_at[row] + at - because_at[row]
            if reason == NO_REASON:
                unexplained += not (place < source_at[row + 1] and spoken[place])
            else:
                unexplained += not (0 <= reason < len(allowed) and marks[reason] & OWN)
        for item in mine:
            marks[item] = 0
        for item in items[item_at[row] : item_at[row + 1]]:
            if 0 <= item < len(allowed):
                marks[item] = 0
    return repeated, owned, gone, unexplained


def neighbor_statistics(neighbors: pa.Table) -> dict[str, float]:
    """Counts of broken promises in item_neighbors; ``n_one_sided`` counts pairs whose n_pair differs by direction."""
    item, other, n_pair = (
        neighbors[name].to_numpy().astype(np.int64) for name in ("item_idx", "neighbor_idx", "n_pair")
    )
    kind = neighbors["kind"].combine_chunks().dictionary_encode().indices.to_numpy() if len(item) else item
    pair = (kind.astype(np.int64) << 62) | (np.minimum(item, other) << 31) | np.maximum(item, other)
    order = np.argsort(pair)
    begins = np.flatnonzero(np.diff(pair[order], prepend=-1))
    n_pair = n_pair[order]
    most, least = (pick.reduceat(n_pair, begins) if len(begins) else begins for pick in (np.maximum, np.minimum))
    return {
        "n_rows": len(item),
        "n_own_neighbors": int((item == other).sum()),
        "n_one_sided": int((most != least).sum()),
        "n_items": len(np.unique(item)),
    }


def content_statistics(alike: pa.Table, n_items: int) -> dict[str, float]:
    """Counts of broken promises in content_neighbors, where an item_idx is below ``n_items``."""
    item = alike["item_idx"].to_numpy().astype(np.int64)
    others, weights = flat(alike["others"], np.int64), flat(alike["weights"], np.float64)
    n_others, n_weights = (pc.list_value_length(alike[name]).to_numpy() for name in ("others", "weights"))
    row, weighed_row = (np.repeat(np.arange(len(item)), lengths) for lengths in (n_others, n_weights))
    named = np.concatenate([item, others])
    inside = weighed_row[1:] == weighed_row[:-1]
    return {
        "n_rows": len(item),
        "n_repeated_rows": len(item) - len(np.unique(item)),
        "n_repeated_items": len(others) - len(np.unique(row * (2**32) + others)),
        "n_own_neighbors": int((item[row] == others).sum()),
        "n_unknown_items": int(((named < 0) | (named >= n_items)).sum()),
        "n_bad_weights": int((~((weights > 0) & (weights <= 1))).sum()),  # so that NaN is bad, too
        "n_out_of_order": int((inside & ~(np.diff(weights) <= 0)).sum()),
        "n_uneven": int((n_others != n_weights).sum()),
    }


def trending_statistics(trending: pa.Table) -> dict[str, float]:
    """Rows, segments, and how long the list for everybody is; ``n_gaps`` counts ranks that are missing or doubled."""
    sizes = trending.group_by("segment").aggregate([("rank", "count"), ("rank", "max"), ("rank", "count_distinct")])
    count, top, distinct = (sizes[f"rank_{name}"].to_numpy() for name in ("count", "max", "count_distinct"))
    return {
        "n_rows": trending.num_rows,
        "n_segments": sizes.num_rows,
        "n_for_all": pc.sum(pc.equal(trending["segment"], "all")).as_py() or 0,
        "n_gaps": int(((count != top) | (count != distinct)).sum()),
    }


def first_places(lists: pa.ListArray, n: int) -> np.ndarray:
    """``(n_lists, n)`` int64: the first values of each list, then -1."""
    values, offsets = lists.values.to_numpy(), lists.offsets.to_numpy()
    at = offsets[:-1, None] + np.arange(n)
    inside = at < offsets[1:, None]
    return np.where(inside, values[np.where(inside, at, 0)] if len(values) else -1, -1).astype(np.int64)


def moved(before: tuple[pa.Array, np.ndarray], after: tuple[pa.Array, np.ndarray], k: int) -> float:
    """Churn at ``k`` of the users two nights share, NaN without any; each is user_ids and ``(n_users, width)``."""
    row = pc.index_in(after[0], before[0])
    both = row.is_valid().to_numpy(zero_copy_only=False)
    return churn(before[1][row.drop_null().to_numpy()], after[1][both], k)


def flat(lists: pa.ChunkedArray | pa.ListArray, kind: type) -> np.ndarray:
    """All values in one array; a null is -1, which is nobody's index."""
    whole = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    return pc.fill_null(whole.flatten(), -1).to_numpy(zero_copy_only=False).astype(kind)


def share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 1.0
