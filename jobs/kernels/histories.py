"""What everybody dealt with and is like, in this process: blocks of users are cut from it, one user's rows together."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.grouping import begins_of, by_code
from jobs.kernels.proposals import Block, Night
from jobs.kernels.recipe.stored import matrix_of
from jobs.kernels.rules.rebuy import NEVER
from jobs.kernels.text_codes import TextCodes

READ = ("user_id", "item_idx", "weight_micro", "first_time", "last_time", "last_purchase_time")
VECTORS = ("user_id", "source", "vector")


@dataclass(frozen=True)
class Histories:
    """Users by code: their ids, whether they like anything, and where their rows begin, in ``order`` if there is one.

    ``cells`` are the columns of ``Block`` but for the users; ``vectors`` ``(n_users, width)`` by name.
    """

    user_ids: pa.StringArray
    like: np.ndarray
    begins: np.ndarray
    order: np.ndarray | None
    user: np.ndarray
    cells: tuple[np.ndarray, ...]
    vectors: Mapping[str, np.ndarray]

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    def block(self, first: int, last: int) -> Block:
        """Those of the users ``[first, last)`` who like anything."""
        like = self.like[first:last]
        rows = slice(self.begins[first], self.begins[min(last, self.n_users)])
        rows = rows if self.order is None else self.order[rows]
        of_user = self.user[rows] - first
        kept = like[of_user]
        cells = (column[rows][kept] for column in self.cells)
        vectors = {name: rows[first:last][like] for name, rows in self.vectors.items()}
        user_ids = self.user_ids.slice(first, last - first).filter(pa.array(like))
        return Block(user_ids, (np.cumsum(like) - 1)[of_user[kept]], *cells, vectors)

    def liking(self) -> pa.StringArray:
        """The ids of those who like anything."""
        return self.user_ids.filter(pa.array(self.like))


def histories_of(interactions: pa.Table, user_factors: pa.Table, night: Night) -> Histories:
    """Out of the columns ``READ`` and ``VECTORS`` of both tables, in any order."""
    users = TextCodes()
    user = users.of(interactions["user_id"])
    user_ids = users.texts()
    cells = tuple(numbers(interactions[name]) for name in READ[1:])
    like = np.zeros(len(user_ids), bool)
    like[user[cells[READ.index("weight_micro") - 1] > 0]] = True
    begins = begins_of(user, len(user_ids))
    order = by_code(user, begins) if (user[1:] < user[:-1]).any() else None
    vectors = {name: vectors_of(name, user_factors, users, len(user_ids), night) for name in night.by_vector}
    return Histories(user_ids, like, begins, order, user, cells, vectors)


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Times in microseconds since 1970, ``NEVER`` for null."""
    times = pa.types.is_timestamp(column.type)
    return (pc.fill_null(column.cast(pa.int64()), NEVER) if times else column).to_numpy()


def vectors_of(name: str, user_factors: pa.Table, users: TextCodes, n_users: int, night: Night) -> np.ndarray:
    """``(n_users, width)``; zeros for users the fit does not know."""
    rows = user_factors.filter(pc.equal(user_factors["source"], name))
    found = np.zeros((n_users, night.stored.width(name)), np.float32)
    code = users.of(rows["user_id"])
    known = code < n_users  # whom interactions do not tell of got a code just now
    found[code[known]] = matrix_of(rows["vector"], found.shape[1])[known]
    return found
