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
TAKEN = ("device", "country", "price")
SEARCHED = ("user_id", "event_time", "query")


def context_of(
    taken: pa.Table,
    user: np.ndarray,
    item: np.ndarray,
    searches: pa.Table,
    user_ids: np.ndarray,
    item_ids: np.ndarray,
    items: pa.Table | None = None,
    users: pa.Table | None = None,
) -> Context:
    """``taken``: a row an event, with columns ``TAKEN``, beside its codes; ``searches`` with columns ``SEARCHED``.

    ``user_ids`` and ``item_ids`` spell the codes. ``items`` and ``users`` are the lake's tables, one row each;
    None: nothing is known of them. An event without a price is at the catalogue's.
    """
    price, category = pc.fill_null(taken["price"], np.nan).to_numpy(), np.full(len(item_ids), UNKNOWN)
    documents = [[] for _ in item_ids]
    if items is not None:
        known = rows_of(items, "item_id", pa.array(item_ids, pa.string()))
        usual = pc.fill_null(known["price"], np.nan).to_numpy()
        price = np.where(np.isnan(price), usual[item], price)
        category = codes(known["category"])
        texts = (words(known[name].to_pylist()) for name in WORDED)
        documents = [title + group for title, group in zip(*texts, strict=True)]
    circumstances = {name: codes(taken[name]) for name in ("device", "country")}
    if users is not None:
        circumstances["age_band"] = codes(rows_of(users, "user_id", pa.array(user_ids, pa.string()))["age_band"])[user]
    return Context(
        {name: code for name, code in circumstances.items() if code.max(initial=UNKNOWN) >= 0},
        price,
        category,
        hashed(documents),
        searches_of(searches, user_ids),
    )


def rows_of(table: pa.Table, key: str, ids: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The row of each id; nulls where there is none."""
    return table.take(pc.index_in(ids, table[key].combine_chunks()))


def codes(values: pa.ChunkedArray) -> np.ndarray:
    """0 for the lowest value that is there, and so on; ``UNKNOWN`` for null."""
    distinct, code = coded(values)
    used = np.unique(code[code >= 0])
    rank = np.full(len(distinct) + 1, UNKNOWN, np.int32)  # the last is what null, -1, finds
    rank[used[np.argsort(distinct[used], kind="stable")]] = np.arange(len(used))
    return rank[code]


def coded(values: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct texts, in any order and perhaps with some that no row has, and each row's position or -1 for null.

    ``values`` may be dictionary-encoded, each chunk by a dictionary of its own.
    """
    encoded = values.unify_dictionaries() if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    whole = encoded.combine_chunks()
    return whole.dictionary.to_numpy(zero_copy_only=False).astype(str), pc.fill_null(whole.indices, -1).to_numpy()


def searches_of(searches: pa.Table, user_ids: np.ndarray) -> Searches:
    """Of known users, by user, then time."""
    ids, who = coded(searches["user_id"])
    place = pc.index_in(pa.array(ids, pa.string()), pa.array(user_ids, pa.string()))
    user = np.append(pc.fill_null(place, UNKNOWN).to_numpy(), UNKNOWN)[who]
    query, time_s = codes(searches["query"]), searches["event_time"].cast(pa.int64()).to_numpy() / MICROSECONDS
    order = np.lexsort((query, time_s, user))
    order = order[user[order] >= 0]
    texts = pc.unique(searches["query"]).drop_null().cast(pa.string()).sort()  # as they are coded
    return Searches(user[order], time_s[order], counted(words(texts.to_pylist()))[query[order]])


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
