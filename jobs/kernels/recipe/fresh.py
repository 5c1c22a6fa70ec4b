"""New items, which no source knows: those described like what a user took."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from jobs.kernels.content import head_of_rows
from jobs.kernels.recipe.people import People
from jobs.kernels.recipe.reasons import strongest
from jobs.kernels.recipe.stored import Stored

CELLS_AT_ONCE = 20_000_000  # users times new items, dense


@dataclass(frozen=True)
class NewItems:
    """``weights`` ``(n_items, n_new)`` from the items of a model to the new ones: ``item_idx``, rising."""

    item_idx: np.ndarray
    weights: sp.csr_matrix

    def alike(self, people: People, n: int, user: np.ndarray, item_idx: np.ndarray) -> tuple[np.ndarray, ...]:
        """Parallel by user: positions of users, item_idx, scores over the user's best, reasons as item codes.

        The ``n`` new items most alike to what each user took, the latest weighing most; ``user`` and ``item_idx`` are
        parallel and name what may not be shown.
        """
        found = [sp.csr_matrix((0, len(self.item_idx)))]
        height = max(CELLS_AT_ONCE // max(len(self.item_idx), 1), 1)
        barred = self.cells(user, item_idx, people.n_users)
        for start in range(0, people.n_users if n and len(self.item_idx) else 0, height):
            scores = (people.by_time[start : start + height] @ self.weights).toarray()
            scores[barred[start : start + height].nonzero()] = 0
            found.append(head_of_rows(scores, n))
        cells = sp.vstack(found, format="csr").tocoo()
        best = np.zeros(people.n_users)
        np.maximum.at(best, cells.row, cells.data)
        reason = strongest(people.by_time, self.weights, cells.row, cells.col)
        return cells.row, self.item_idx[cells.col], cells.data / best[cells.row], reason

    def cells(self, user: np.ndarray, item_idx: np.ndarray, n_users: int) -> sp.csr_matrix:
        """``(n_users, n_new)``: 1 for each pair of a user and a new item."""
        column = np.searchsorted(self.item_idx, item_idx)
        new = np.flatnonzero(np.isin(item_idx, self.item_idx))
        shape = (n_users, len(self.item_idx))
        return sp.csr_matrix((np.ones(len(new)), (user[new], column[new])), shape)


def new_items(content_neighbors: pa.Table, stored: Stored) -> NewItems:
    """Out of the table content_neighbors."""
    content_neighbors = content_neighbors.sort_by("item_idx")
    lengths = pc.list_value_length(content_neighbors["others"]).to_numpy()
    code = stored.codes(pc.list_flatten(content_neighbors["others"]).to_numpy())
    column, weights = np.repeat(np.arange(len(lengths)), lengths), pc.list_flatten(content_neighbors["weights"])
    known = code >= 0
    cells = (weights.to_numpy()[known], (code[known], column[known]))
    shape = (len(stored.item_idx), len(lengths))
    return NewItems(content_neighbors["item_idx"].to_numpy().astype(np.int64), sp.csr_matrix(cells, shape))
