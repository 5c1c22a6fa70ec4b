"""Which items are alike by what is written about them? Tf-idf by field, cosine, the nearest neighbors of each item.

What an item is called and described as is known before anybody has dealt with it: new items have neighbors here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType

import numpy as np
import scipy.sparse as sp

BLOCK_CELLS = 8_000_000  # cells of a product at once, dense: 64 MB, and three times that while they are ranked
WORD = re.compile(r"[^\W_]+")
FIELD_WEIGHTS = MappingProxyType({"category": 2.0, "tags": 1.0, "text": 1.0, "title": 0.5, "price": 0.25})

Documents = Sequence[Sequence[str]]  # tokens of each item


def content_vectors(fields: Mapping[str, Documents], weights: Mapping[str, float] = FIELD_WEIGHTS) -> sp.csr_matrix:
    """``(n_items, n_tokens)`` unit rows out of the tokens of each field; fields may be left out.

    Where two items have every field, their cosine is the mean of the fields' cosines by weight. An item without any
    token is a row of zeros. ValueError when no field is given, a weight is not above 0 or lengths differ.
    """
    sizes, used = {len(documents) for documents in fields.values()}, [weights[name] for name in fields]
    if len(sizes) != 1 or min(used) <= 0:
        raise ValueError(f"fields have {sorted(sizes)} items and weights {used}, wanted one number and above 0")
    parts = [tfidf(documents) * np.sqrt(weights[name]) for name, documents in fields.items()]
    return unit_rows(sp.hstack(parts, format="csr"))


def words(texts: Sequence[str | None]) -> list[list[str]]:
    """Runs of letters and digits of each text, case folded; a null has none."""
    return [WORD.findall((text or "").casefold()) for text in texts]


def labels(values: Sequence[str | None]) -> list[list[str]]:
    """Each value as one token, such as a category of two words; a null has none."""
    return [[] if value is None else [value] for value in values]


def price_bands(price: np.ndarray, n_bands: int = 8) -> list[list[str]]:
    """Two tokens for each of ``(n_items,)`` prices: its band between quantiles and the one above; NaN has none.

    Items of one band share both tokens, those of adjacent bands one, others none.
    """
    known = ~np.isnan(price)
    edges = np.quantile(price[known], np.arange(1, n_bands) / n_bands) if known.any() else np.empty(0)
    bands = np.searchsorted(edges, price, side="right")
    return [[f"{band}", f"{band + 1}"] if is_known else [] for band, is_known in zip(bands, known, strict=True)]


def tfidf(documents: Documents) -> sp.csr_matrix:
    """``(n_items, n_tokens)`` rows of length 1 or 0: (1 + ln count) · ln((1 + n_items) / (1 + items that have it)).

    Columns are the tokens in rising order. What every item has says nothing and weighs 0.
    """
    lengths = [len(tokens) for tokens in documents]
    position = {token: k for k, token in enumerate(sorted(set(chain.from_iterable(documents))))}
    column = np.array([position[token] for token in chain.from_iterable(documents)], np.int64)
    shape = (len(documents), len(position))
    counts = sp.csr_matrix((np.ones(len(column)), (np.repeat(np.arange(shape[0]), lengths), column)), shape)
    n_having = np.bincount(counts.indices, minlength=shape[1])
    counts.data = (1 + np.log(counts.data)) * np.log((1 + shape[0]) / (1 + n_having))[counts.indices]
    return unit_rows(counts)


def unit_rows(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Each row divided by its length; rows of zeros stay, their cells go."""
    matrix = sp.csr_matrix(matrix, copy=True)
    matrix.eliminate_zeros()
    length = np.sqrt(matrix.multiply(matrix).sum(axis=1).A1)
    matrix.data /= np.repeat(length, np.diff(matrix.indptr))
    return matrix


def content_neighbors(vectors: sp.csr_matrix, n_top: int) -> sp.csr_matrix:
    """``(n_items, n_items)``: in each row the cosines of the ``n_top`` nearest others, above 0 only.

    ``vectors`` are unit rows. Ties: cosine descending, then the lower item. Time is quadratic in the items, memory not.
    """
    by_token = vectors.T.tocsr()
    return strongest_others(lambda start, stop: vectors[start:stop] @ by_token, vectors.shape[0], n_top)


def strongest_others(rows_of: Callable[[int, int], sp.csr_matrix], n_items: int, n_top: int) -> sp.csr_matrix:
    """The ``n_top`` greatest cells above 0 of each row of an ``(n_items, n_items)`` matrix, its diagonal left out.

    ``rows_of(start, stop)`` gives its rows, dense only by blocks. Ties: value descending, then the lower column.
    ValueError when ``n_top`` is below 1.
    """
    if n_top < 1:
        raise ValueError(f"n_top is {n_top}, at least 1 is needed")
    height = max(BLOCK_CELLS // max(n_items, 1), 1)
    parts = [sp.csr_matrix((0, n_items))]
    for start in range(0, n_items, height):
        block = rows_of(start, min(start + height, n_items)).toarray()
        np.fill_diagonal(block[:, start:], 0)
        parts.append(head_of_rows(block, n_top))
    return sp.vstack(parts, format="csr")


def head_of_rows(block: np.ndarray, n_top: int) -> sp.csr_matrix:
    """The ``n_top`` greatest cells above 0 of each row of ``(n_rows, n_columns)``, the same shape."""
    at = min(n_top, block.shape[1]) - 1
    least = -np.partition(-block, at, axis=1)[:, at : at + 1]
    row, column = np.nonzero((block >= least) & (block > 0))  # more than n_top where there are ties across the cut
    value = block[row, column]
    order = np.lexsort((column, -value, row))
    row, column, value = row[order], column[order], value[order]
    kept = np.arange(len(row)) - np.searchsorted(row, row) < n_top
    return sp.csr_matrix((value[kept], (row[kept], column[kept])), block.shape)
