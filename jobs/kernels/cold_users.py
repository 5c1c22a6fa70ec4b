"""What do people like a newcomer take? Popularity by segment, shrunk to the whole, attributes combined.

Two levels: what a segment makes of a category, shrunk towards what everybody does, and what it makes of an item, shrunk
towards that. Attributes are combined as naive Bayes does. Scores are made per distinct combination of attributes, of
which there are few, not per user. An attribute is an integer code per person, -1 for unknown, which changes nothing.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

STRENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)  # m that are tried, in decayed people
MOST_CELLS = 5_000_000  # that tell which m is best; each takes 60 bytes meanwhile


def newest_of_each(person: np.ndarray, item: np.ndarray, age_days: np.ndarray) -> np.ndarray:
    """Positions of the newest event of each person with each item, in order of person, then item."""
    order = np.lexsort((age_days, item, person))
    pairs = np.stack([person, item])[:, order]
    return order[np.r_[True, (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)][: len(order)]]


def shares(people: sp.csr_matrix) -> np.ndarray:
    """Each column's share of all counts, ``(n_columns,)``, never 0: one count in all is spread evenly."""
    counts = people.sum(axis=0).A1
    return (counts + 1 / max(len(counts), 1)) / (counts.sum() + 1)


def lifts(people: sp.csr_matrix, code: np.ndarray, category: np.ndarray) -> np.ndarray:
    """How much likelier each value of an attribute makes each item, ``(n_values + 1, n_items)``; the last row is 1.

    That row is for code -1. ``people`` is ``(n_persons, n_items)``, ``code`` ``(n_persons,)``, ``category``
    ``(n_items,)`` of codes from 0, all 0 where there are none. How much is shrunk is chosen at each level.
    """
    n_items = people.shape[1]
    belongs = sp.csr_matrix((np.ones(n_items), (np.arange(n_items), category)))
    by_category = (people @ belongs).tocsr()
    of_item, of_category = shares(people), shares(by_category)
    parent = of_item * (fitted(by_category, code, of_category) / of_category)[:, category]
    found = fitted(people, code, parent / parent.sum(axis=1, keepdims=True)) / of_item
    return np.vstack([found, np.ones(n_items)])


def fitted(people: sp.csr_matrix, code: np.ndarray, parent: np.ndarray) -> np.ndarray:
    """Shares of each value shrunk towards the parent's by the best strength, ``(n_values, n_items)``."""
    counts = by_value(people, code)
    return shrunk(counts, parent, best_strength(people, code, counts, parent))


def by_value(people: sp.csr_matrix, code: np.ndarray) -> np.ndarray:
    """Counts of the persons of each value, dense ``(n_values, n_items)``; those of code -1 count nowhere."""
    known = np.flatnonzero(code >= 0)
    shape = (int(code.max(initial=-1)) + 1, len(code))
    return (sp.csr_matrix((np.ones(len(known)), (code[known], known)), shape) @ people).toarray()


def shrunk(counts: np.ndarray, parent: np.ndarray, strength: float) -> np.ndarray:
    """(n_value_item + m · p_parent) / (n_value + m), ``(n_values, n_items)``.

    m = 0 gives the value's own shares, m → ∞ the parent's. ``parent`` adds up to 1 and is ``(n_items,)`` or has a row
    for each value. A value without people and m = 0 is NaN.
    """
    return (counts + strength * parent) / (counts.sum(axis=1, keepdims=True) + strength)


def best_strength(people: sp.csr_matrix, code: np.ndarray, counts: np.ndarray, parent: np.ndarray) -> float:
    """The m of ``STRENGTHS`` under which persons are likeliest given the others of their value; of equals the greatest.

    A person is left out whole: what they take hangs together. The parent still holds them, one among all. Of more than
    ``MOST_CELLS`` every so many-th person is asked.
    """
    step = max(people.nnz // MOST_CELLS, 1)
    people, code = people[::step], code[::step]
    row = np.repeat(np.arange(people.shape[0]), np.diff(people.indptr))
    known = code[row] >= 0
    row, item, own = row[known], people.indices[known], people.data[known]
    value, total = code[row], people.sum(axis=1).A1[row]
    others = np.maximum(counts[value, item] - own, 0)
    of_all = np.maximum(counts.sum(axis=1)[value] - total, 0)
    prior = np.broadcast_to(parent, counts.shape)[value, item]
    return max((own @ np.log((others + m * prior) / (of_all + m)), m) for m in STRENGTHS)[1]


def combinations(codes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows of codes ``(n_combinations, n_attributes)``, and which is each person's ``(n_persons,)``."""
    distinct, whose = np.unique(np.stack(codes, axis=1), axis=0, return_inverse=True)
    return distinct, whose.ravel()


def by_combination(share: np.ndarray, attribute_lifts: Sequence[np.ndarray], distinct: np.ndarray) -> np.ndarray:
    """Share of each item · Π of its lifts, scaled to add up to 1: ``(n_combinations, n_items)``, dense.

    ``share`` ``(n_items,)`` is what everybody takes, 0 for what must not be shown. With more than some thousand
    combinations, pass them in blocks. Naive Bayes: given the item, attributes are taken to be independent.
    """
    scores = np.tile(share, (len(distinct), 1))
    for lift, code in zip(attribute_lifts, distinct.T, strict=True):
        scores *= lift[code]
    return scores / scores.sum(axis=1, keepdims=True)
