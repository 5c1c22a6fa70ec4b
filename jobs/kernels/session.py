"""What goes with the few things somebody has just looked at? Items of the same visits, the newest weighing most.

For people of a handful of events and for visits without a log-in. A session is any contributor: a basket, a visit or a
user's day. Two items that never met are as near as their content says, so that a new item has neighbors, too.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from jobs.kernels.cold_users import newest_of_each
from jobs.kernels.content import strongest_others


def session_neighbors(
    sessions: sp.csr_matrix, content: sp.csr_matrix, shrink: float, content_share: float, n_top: int
) -> sp.csr_matrix:
    """``(n_items, n_items)``: in each row the ``n_top`` items nearest by sessions, shrunk towards content.

    (c_ij + shrink · content_share · content_ij) / (√(n_i · n_j) + shrink), where c and n are those of ``shared_out``:
    the cosine of sessions for items often met, ``content_share`` times the content's cosine for others. ``sessions``
    ``(n_sessions, n_items)`` holds weights, ``content`` is ``content.content_neighbors``; both may be empty.
    Ties: score descending, then the lower item. ValueError when ``shrink`` is not above 0.
    """
    if shrink <= 0:
        raise ValueError(f"shrink is {shrink}, wanted above 0")
    shared = shared_out(sessions)
    by_item = shared.T.tocsr()
    norm = np.sqrt(by_item.multiply(by_item).sum(axis=1).A1)
    prior = content * (shrink * content_share)

    def rows_of(start: int, stop: int) -> sp.csr_matrix:
        found = (by_item[start:stop] @ shared + prior[start:stop]).tocoo()
        found.data /= norm[start + found.row] * norm[found.col] + shrink
        return found

    return strongest_others(rows_of, sessions.shape[1], n_top)


def shared_out(sessions: sp.csr_matrix) -> sp.csr_matrix:
    """√(weight / number of items in the session): the products of two columns add up weight / number.

    So that a long visit, or a bot's, adds no more to an item than a short one.
    """
    n_items = np.diff(sessions.indptr)
    data = np.sqrt(sessions.data / np.repeat(n_items, n_items))
    return sp.csr_matrix((data, sessions.indices, sessions.indptr), sessions.shape)


def recent_weights(
    person: np.ndarray, item: np.ndarray, age_days: np.ndarray, fade: float, n_last: int, shape: tuple[int, int]
) -> sp.csr_matrix:
    """``(n_persons, n_items)``: 1 for the item a person touched last, ``fade`` for the one before, then fade² …

    The ``n_last`` newest distinct items count. ``person``, ``item`` and ``age_days`` have an entry an event. Ties in
    age: the lower item is newer.
    """
    newest = newest_of_each(person, item, age_days)
    newest = newest[np.lexsort((item[newest], age_days[newest], person[newest]))]
    back = np.arange(len(newest)) - np.searchsorted(person[newest], person[newest])
    newest, back = newest[back < n_last], back[back < n_last]
    return sp.csr_matrix((fade ** back.astype(float), (person[newest], item[newest])), shape)


def mix(parts: Sequence[tuple[float, np.ndarray]]) -> np.ndarray:
    """Σ weight · share of each item within its row, over ``(weight, scores)`` of one shape ``(n_users, n_items)``.

    Scores are at least 0. Where a part has no score for a user, the others have their say: their weights count as all.
    Rows add up to 1, or 0 where no part has any.
    """
    total = sum(weight * row_shares(scores) for weight, scores in parts)
    return row_shares(total)


def row_shares(scores: np.ndarray) -> np.ndarray:
    mass = scores.sum(axis=1, keepdims=True)
    return np.divide(scores, mass, out=np.zeros(scores.shape), where=mass > 0)
