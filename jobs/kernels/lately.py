"""Who did something lately: a set of people by 64 bits of their names, eight bytes a person. Pure.

Two names that share these bits (of ten million people, one chance in 300,000) count as one person: who did nothing is
then taken for somebody who did, never the other way round.
"""

from collections.abc import Iterable
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.compiled import kernel

TOGETHER = 4_000_000  # hashes that wait for their repeats to go
OFFSET, PRIME = np.uint64(14_695_981_039_346_656_037), np.uint64(1_099_511_628_211)


@kernel
def fnv1a(names, begins, out):
    """FNV-1a of each name, 64 bits; ``names`` flat, ``begins`` where each begins in it."""
    for row in range(len(out)):
        found = OFFSET
        for at in range(begins[row], begins[row + 1]):
            found = (found ^ np.uint64(names[at])) * PRIME
        out[row] = found


def hashes(column: pa.Array) -> np.ndarray:
    """``(n,)`` uint64 of a column of texts without nulls."""
    column = column.cast(pa.large_string())
    _, begins, data = column.buffers()
    begins = np.frombuffer(begins, np.int64)[column.offset : column.offset + len(column) + 1]
    out = np.empty(len(column), np.uint64)
    fnv1a(np.frombuffer(data or b"", np.uint8), begins, out)
    return out


class Lately:
    """The people of some rows; ``holds`` tells of others whether they are among them."""

    def __init__(self, people: np.ndarray):
        self.people = people  # rising, each once

    @classmethod
    def since(cls, batches: Iterable[pa.RecordBatch], moment: datetime) -> "Lately":
        """Those with a ``last_time`` at or after a moment, of rows of ``user_id`` and ``last_time``."""
        found, waiting = [np.empty(0, np.uint64)], 0
        for batch in batches:
            late = batch.filter(pc.greater_equal(batch["last_time"], pa.scalar(moment, batch["last_time"].type)))
            found.append(np.unique(hashes(late["user_id"])))
            waiting += len(found[-1])
            if waiting > TOGETHER:
                found, waiting = [np.unique(np.concatenate(found))], 0
        return cls(np.unique(np.concatenate(found)))

    def holds(self, user_ids: pa.Array) -> np.ndarray:
        """``(n,)`` bool."""
        wanted = hashes(user_ids)
        places = np.searchsorted(self.people, wanted)
        inside = places < len(self.people)
        inside[inside] = self.people[places[inside]] == wanted[inside]
        return inside
