"""What a table is like as a whole, for the gate: numbers only. A share of nothing is 1."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.metrics import churn
from jobs.kernels.rules.context import NO_REASON
from schemas.tables import UNEXPLAINED


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

    ``owned`` has a row per user_id and item_idx they dealt with, ``comes_back`` says of each row whether the user may
    be shown it again, ``active`` holds the users of the last day, ``available`` the item_idx that may be shown,
    ``known`` those that anybody dealt with. An item without a reason, -1, is no fault where its source is one of
    ``UNEXPLAINED``; ``explained`` is the share of items with a reason.
    """
    lengths = pc.list_value_length(slates["items"]).to_numpy()
    owner = np.repeat(np.arange(len(lengths)), lengths)
    items = flat(slates["items"], np.int64)
    scores = flat(slates["scores"], np.float64)
    cells = owner * (2**32) + items
    beside = ("scores", "sources", "because_of", "propensities")
    others = [pc.list_value_length(slates[name]).to_numpy() for name in beside]
    score_owner = np.repeat(np.arange(len(lengths)), others[0])
    users = slates["user_id"].combine_chunks().dictionary_encode()
    user, own_cells = users.indices.to_numpy().astype(np.int64), cells_of(owned, users.dictionary)
    seen_cells = cells_of(owned.filter(pa.array(~comes_back)), users.dictionary) if comes_back.any() else own_cells
    shown = np.repeat(user, lengths) * (2**32) + items
    reasons = np.repeat(user, others[2]) * (2**32) + flat(slates["because_of"], np.int64)
    chances = flat(slates["propensities"], np.float64)
    inside = score_owner[1:] == score_owner[:-1]
    return {
        "n_rows": len(lengths),
        "n_repeated_users": len(lengths) - pc.count_distinct(slates["user_id"]).as_py(),
        "n_repeated_items": len(cells) - len(np.unique(cells)),
        "n_seen_items": int(np.isin(shown, seen_cells).sum()),
        "n_unavailable_items": int((~np.isin(items, available)).sum()),
        "n_out_of_order": int((inside & ~(np.diff(scores) <= 0)).sum()),  # so that NaN is out of order, too
        "n_without_own_reason": int((~np.isin(reasons, own_cells) & ~unexplained(slates)).sum()),
        "n_bad_propensities": int((~((chances > 0) & (chances <= 1))).sum()),
        "n_uneven": int((np.stack(others) != lengths).any(axis=0).sum()),
        "fill": share(
            lengths.mean() if len(lengths) else 0, min(n_wanted, max(len(np.intersect1d(available, known)), 1))
        ),
        "user_coverage": share(pc.is_in(active, slates["user_id"].combine_chunks()).true_count, len(active)),
        "item_coverage": share(len(np.unique(items)), len(np.intersect1d(available, known))),
        "explained": share(int((flat(slates["because_of"], np.int64) >= 0).sum()), len(items)),
    }


def unexplained(slates: pa.Table) -> np.ndarray:
    """Bool, one per value of because_of: -1, and the item at that place is there for nothing its user did."""
    sources, reasons = slates["sources"].combine_chunks(), slates["because_of"].combine_chunks()
    spoken = pc.is_in(sources.flatten(), pa.array(UNEXPLAINED)).to_numpy(zero_copy_only=False)
    return np.isin(places(reasons), places(sources)[spoken]) & (flat(slates["because_of"], np.int64) == NO_REASON)


def places(lists: pa.ListArray) -> np.ndarray:
    """One number per value: row · 2³² + place in its list, whatever other columns hold."""
    row = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
    return row * (2**32) + np.arange(len(row)) - np.searchsorted(row, row)


def cells_of(owned: pa.Table, users: pa.Array) -> np.ndarray:
    """One number per user and item, for the users listed: position in the list · 2³² + item_idx."""
    position = pc.index_in(owned["user_id"].combine_chunks(), users)
    listed = owned.append_column("position", position).filter(pc.is_valid(position))
    return listed["position"].to_numpy().astype(np.int64) * (2**32) + listed["item_idx"].to_numpy()


def neighbor_statistics(neighbors: pa.Table) -> dict[str, float]:
    """Counts of broken promises in item_neighbors; ``n_one_sided`` counts pairs whose n_pair differs by direction."""
    item, other, n_pair = (
        neighbors[name].to_numpy().astype(np.int64) for name in ("item_idx", "neighbor_idx", "n_pair")
    )
    kind = neighbors["kind"].combine_chunks().dictionary_encode().indices.to_numpy() if len(item) else item
    low, high = np.minimum(item, other), np.maximum(item, other)
    pairs, group = np.unique(np.stack([kind, low, high]), axis=1, return_inverse=True)
    most, least = np.zeros(pairs.shape[1], np.int64), np.full(pairs.shape[1], np.iinfo(np.int64).max)
    np.maximum.at(most, group.ravel(), n_pair)
    np.minimum.at(least, group.ravel(), n_pair)
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


def flat(lists: pa.ChunkedArray, kind: type) -> np.ndarray:
    """All values in one array; a null is -1, which is nobody's index."""
    return pc.fill_null(lists.combine_chunks().flatten(), -1).to_numpy(zero_copy_only=False).astype(kind)


def share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 1.0
