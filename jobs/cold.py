"""Whom and what does nobody know yet? Lists for newcomers by what is known of them, and likenesses of new items.

People who did nothing so far get what people of their country, age, gender and occupation take, item by item for the
time each has been there; items hardly anybody took are likened to known ones by what is written about both.
"""

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from conf.settings import Settings
from jobs.kernels.cold_items import exposure_days, item_rates
from jobs.kernels.cold_users import by_combination, combinations, lifts
from jobs.kernels.content import content_vectors, head_of_rows, labels, price_bands, words
from jobs.kernels.recipe.candidates import best_columns
from jobs.kernels.rules.night import categories_of
from jobs.rim.lineage import Job
from schemas.arrow import arrow_schema
from schemas.tables import CONTENT_NEIGHBORS, SEGMENT_LISTS

ATTRIBUTES = SEGMENT_LISTS.key
HALF_LIFE_DAYS = 14.0  # of popularity among newcomers' like
LENT_DAYS = 0.5  # for which its like speak for a new item
DAY_US = 86_400e6
COMBINATIONS_AT_ONCE = 256
ITEMS_AT_ONCE = 256


def transform(inputs: Mapping[str, pa.Table], as_of: datetime, settings: Settings) -> dict:
    """interactions, items, users, item_dictionary → content_neighbors, segment_lists."""
    liked = inputs["interactions"].filter(pc.greater(inputs["interactions"]["weight_micro"], 0))
    known = by_index(inputs["items"], inputs["item_dictionary"])
    n_people = np.bincount(liked["item_idx"].to_numpy(), minlength=known.num_rows)
    near = likenesses(known, n_people < settings.cold.max_people, settings.cold.n_items)
    lists = newcomers(liked, inputs["users"], known, near, as_of, settings.cold.n_items)
    return {
        "content_neighbors": neighbor_rows(near),
        "segment_lists": lists,
        "measured": {"n_new_items": int((n_people < settings.cold.max_people).sum())},
    }


def by_index(items: pa.Table, dictionary: pa.Table) -> pa.Table:
    """One row per item_idx, which leaves no gaps; all null for an item without a row in ``items``."""
    ids = dictionary.sort_by("item_idx")["item_id"]
    return items.take(pc.index_in(ids, items["item_id"].combine_chunks()))


def likenesses(known: pa.Table, new: np.ndarray, n_top: int) -> sp.csr_matrix:
    """``(n_items, n_items)``: of each new item the ``n_top`` most alike known ones; other rows are empty."""
    vectors = content_vectors(described(known))
    of_known = sp.diags((~new).astype(float)) @ vectors
    by_token, rows = of_known.T.tocsr(), np.flatnonzero(new)
    parts = [sp.csr_matrix((0, len(new)))]
    for start in range(0, len(rows), ITEMS_AT_ONCE):
        parts.append(head_of_rows((vectors[rows[start : start + ITEMS_AT_ONCE]] @ by_token).toarray(), n_top))
    found = sp.vstack(parts).tocoo()
    return sp.csr_matrix((found.data, (rows[found.row], found.col)), (len(new), len(new)))


def described(known: pa.Table) -> dict:
    """What is written about each item, as tokens by field."""
    price = pc.fill_null(known["price"], np.nan).to_numpy()
    return {
        "title": words(known["title"].to_pylist()),
        "text": words(known["text"].to_pylist()),
        "category": labels(known["category"].to_pylist()),
        "tags": [tags or [] for tags in known["tags"].to_pylist()],
        "price": price_bands(price),
    }


def neighbor_rows(near: sp.csr_matrix) -> pa.Table:
    rows, cells = np.flatnonzero(np.diff(near.indptr)), near.tocoo()
    order = np.lexsort((cells.col, -cells.data, cells.row))
    offsets = np.append(near.indptr[rows], near.nnz).astype(np.int32)
    lists = (pa.ListArray.from_arrays(offsets, pa.array(values[order])) for values in (cells.col, cells.data))
    return pa.table([pa.array(rows), *lists], CONTENT_NEIGHBORS.names).cast(arrow_schema(CONTENT_NEIGHBORS))


def newcomers(
    liked: pa.Table, users: pa.Table, known: pa.Table, near: sp.csr_matrix, as_of: datetime, n: int
) -> pa.Table:
    """The list of every combination of attributes there is, if anything is known of its people."""
    codes, values = coded(users)
    distinct = combinations(codes)[0] if users.num_rows else np.empty((0, len(ATTRIBUTES)), np.int64)
    distinct = distinct[(distinct >= 0).any(axis=1)]
    if not len(distinct) or not liked.num_rows:
        return arrow_schema(SEGMENT_LISTS).empty_table()
    people, of_user = takers(liked, known.num_rows, as_of)
    place = pc.fill_null(pc.index_in(of_user, users["user_id"].combine_chunks()), -1).to_numpy()
    category = np.unique(categories_of(known)[0], return_inverse=True)[1]
    found = [lifts(people, np.where(place >= 0, code[place], -1), category) for code in codes]
    share = fresh_share(people, known, near, as_of)
    parts = [
        best_of(by_combination(share, found, distinct[start : start + COMBINATIONS_AT_ONCE]), n)
        for start in range(0, len(distinct), COMBINATIONS_AT_ONCE)
    ]
    items, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    names = [
        pa.array(value).take(pa.array(code, mask=code < 0)) for value, code in zip(values, distinct.T, strict=True)
    ]
    offsets = np.arange(0, items.size + 1, items.shape[1], dtype=np.int32)
    lists = (pa.ListArray.from_arrays(offsets, pa.array(cells.ravel())) for cells in (items, scores))
    return pa.table([*names, *lists], SEGMENT_LISTS.names).cast(arrow_schema(SEGMENT_LISTS))


def coded(users: pa.Table) -> tuple[list[np.ndarray], list[pa.Array]]:
    """Of each attribute a code for every user, -1 where it is unknown, and the values the codes stand for."""
    values = [pc.unique(users[name].combine_chunks()).drop_null() for name in ATTRIBUTES]
    codes = [
        pc.fill_null(pc.index_in(users[name].combine_chunks(), value), -1).to_numpy().astype(np.int64)
        for name, value in zip(ATTRIBUTES, values, strict=True)
    ]
    return codes, values


def takers(liked: pa.Table, n_items: int, as_of: datetime) -> tuple[sp.csr_matrix, pa.Array]:
    """``(n_people, n_items)``, faded by age, and whose the rows are. A pair stands once in ``liked``."""
    users = liked["user_id"].dictionary_encode().unify_dictionaries().combine_chunks()
    age_days = (round(as_of.timestamp() * 1e6) - liked["last_time"].cast(pa.int64()).to_numpy()) / DAY_US
    shape = (len(users.dictionary), n_items)
    cells = (users.indices.to_numpy(), liked["item_idx"].to_numpy())
    return sp.csr_matrix((0.5 ** (age_days / HALF_LIFE_DAYS), cells), shape), users.dictionary


def fresh_share(people: sp.csr_matrix, known: pa.Table, near: sp.csr_matrix, as_of: datetime) -> np.ndarray:
    """What everybody takes of each item for the time it has been there, adding up to 1; nothing of what is gone."""
    created = known["created_at"].to_numpy().astype("datetime64[us]")
    age_days = (np.datetime64(round(as_of.timestamp() * 1e6), "us") - created) / np.timedelta64(1, "D")
    window = np.nanmax(age_days, initial=1.0)
    exposure = exposure_days(age_days, window, HALF_LIFE_DAYS)
    rates = item_rates(people.sum(axis=0).A1, exposure, near, LENT_DAYS)
    rates[~pc.fill_null(known["available"], True).to_numpy(zero_copy_only=False)] = 0
    return rates / max(rates.sum(), 1e-300)


def best_of(scores: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns of the ``n`` highest scores of each row and those over the row's highest."""
    columns = best_columns(scores, n)
    values = np.take_along_axis(scores, columns, axis=1)
    return columns.astype(np.int32), (values / values[:, :1]).astype(np.float32)


JOB = Job(
    name="cold",
    inputs=("interactions", "items", "users", "item_dictionary"),
    outputs=("content_neighbors", "segment_lists"),
    settings=("cold",),
    engine="local",
    transform=transform,
    columns={"interactions": ("user_id", "item_idx", "weight_micro", "last_time")},
)
