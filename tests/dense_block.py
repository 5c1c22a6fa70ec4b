"""Candidates from a score for every user and item: what ``quick_block`` must give."""

import numpy as np
import scipy.sparse as sp

from jobs.kernels.recipe.candidates import best_columns, unseen
from jobs.kernels.recipe.model import FAR, N_CANDIDATES, N_RANKED, Model
from jobs.kernels.recipe.people import People


def block(
    model: Model, people: People, users: np.ndarray, offset: int, barred: sp.csr_matrix
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of users, items, and for each source its score over the user's best and the log of its rank."""
    taken = np.zeros((len(users), people.n_items), bool)
    out = barred[users].nonzero()
    scored = [ranked(unseen(source.score(people, users), out, model.warm), taken) for source in model.sources.values()]
    for first in model.popular:
        new = barred[users][:, first].toarray() == 0
        taken[:, first] |= new & (np.cumsum(new, axis=1) <= N_CANDIDATES)
    row, item = taken.nonzero()
    columns = [column for score, rank in scored for column in (score[row, item], rank[row, item])]
    return row + offset, item, np.column_stack(columns)


def ranked(scores: np.ndarray, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores over the row's best, log2 of 1 + place; marks the first with a score above 0 in ``taken``."""
    top = best_columns(scores, N_RANKED)
    values = np.take_along_axis(scores, top, axis=1)
    ranks = np.full(scores.shape, FAR, np.float32)
    places = np.log2(1 + np.arange(top.shape[1], dtype=np.float32))
    np.put_along_axis(ranks, top, np.where(values > 0, places, FAR), axis=1)
    first = top[:, :N_CANDIDATES]
    already = np.take_along_axis(taken, first, axis=1)
    np.put_along_axis(taken, first, already | (values[:, :N_CANDIDATES] > 0), axis=1)
    return scores / np.maximum(values[:, :1], 1e-9), ranks
