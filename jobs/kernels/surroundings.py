"""What stands beside positive events in the tables of the lake, or of a source, as ``recipe.context.Context``."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from jobs.kernels.content import tfidf, unit_rows, words
from jobs.kernels.recipe.context import N_WORDS, UNKNOWN, Context, Searches

MICROSECONDS = 1e6
WORDED = ("title", "category")  # what searches are compared with
TAKEN = ("user_id", "item_id", "device", "country", "price")
SEARCHED = ("user_id", "event_time", "query")


def context_of(
    taken: pa.Table,
    searches: pa.Table,
    user_ids: np.ndarray,
    item_ids: np.ndarray,
    items: pa.Table | None = None,
    users: pa.Table | None = None,
) -> Context:
    """``taken``: a row an event, in the events' order, with columns ``TAKEN``; ``searches`` with columns ``SEARCHED``.

    ``user_ids`` and ``item_ids`` spell the events' codes. ``items`` and ``users`` are the lake's tables, one row each;
    None: nothing is known of them. An event without a price is at the catalogue's.
    """
    item = rows_of(items, "item_id", pa.array(item_ids, pa.string())) if items is not None else None
    price, category = taken["price"], np.full(len(item_ids), UNKNOWN)
    documents = [[] for _ in item_ids]
    if item is not None:
        price = pc.coalesce(price, rows_of(items, "item_id", taken["item_id"])["price"])
        category = codes(item["category"])
        texts = (words(item[name].to_pylist()) for name in WORDED)
        documents = [title + group for title, group in zip(*texts, strict=True)]
    circumstances = {name: codes(taken[name]) for name in ("device", "country")}
    if users is not None:
        circumstances["age_band"] = codes(rows_of(users, "user_id", taken["user_id"])["age_band"])
    return Context(
        {name: code for name, code in circumstances.items() if code.max(initial=UNKNOWN) >= 0},
        pc.fill_null(price, np.nan).to_numpy(),
        category,
        hashed(documents),
        searches_of(searches, user_ids),
    )


def rows_of(table: pa.Table, key: str, ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The row of each id; nulls where there is none."""
    return table.take(pc.index_in(ids, table[key].combine_chunks()))


def codes(values: pa.ChunkedArray) -> np.ndarray:
    """0 for the lowest value, and so on; ``UNKNOWN`` for null."""
    distinct = pc.unique(values).drop_null().sort()
    return pc.fill_null(pc.index_in(values, distinct), UNKNOWN).to_numpy().astype(np.int64)


def searches_of(searches: pa.Table, user_ids: np.ndarray) -> Searches:
    """Of known users, by user, then time."""
    user = pc.index_in(searches["user_id"], pa.array(user_ids, pa.string()))
    known = searches.append_column("user", user).filter(pc.is_valid(user))
    known = known.sort_by([("user", "ascending"), ("event_time", "ascending"), ("query", "ascending")])
    time_s = known["event_time"].cast(pa.int64()).to_numpy() / MICROSECONDS
    return Searches(known["user"].to_numpy(), time_s, counted(words(known["query"].to_pylist())))


def hashed(documents: list[list[str]]) -> sp.csr_matrix:
    """``(n, N_WORDS)`` unit rows: tf-idf, its columns added up by ``columns_of``."""
    weighted, vocabulary = tfidf(documents), sorted({word for document in documents for word in document})
    column, sign = columns_of(vocabulary)
    fold = sp.csr_matrix((sign, (np.arange(len(column)), column)), (len(column), N_WORDS))
    return unit_rows(weighted @ fold)


def counted(documents: list[list[str]]) -> sp.csr_matrix:
    """``(n, N_WORDS)`` unit rows of word counts."""
    column, sign = columns_of([word for document in documents for word in document])
    row = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    return unit_rows(sp.csr_matrix((sign, (row, column)), (len(documents), N_WORDS)))


def columns_of(vocabulary: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """A column and a sign for each word (feature hashing: Weinberger et al. 2009), the same in every run."""
    digests = (hashlib.blake2b(word.encode(), digest_size=4).digest() for word in vocabulary)
    digest = np.array([int.from_bytes(digest) for digest in digests], np.int64)
    return digest % N_WORDS, np.where(digest // N_WORDS % 2, 1.0, -1.0)
