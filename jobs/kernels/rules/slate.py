"""One user's row of the table slates, and what it takes of the night."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from jobs.kernels.rules.apply import Columns, apply_rules, moves
from jobs.kernels.rules.context import Context, User
from jobs.kernels.rules.eligible import comes_back
from schemas.arrow import arrow_schema
from schemas.tables import SLATES, SOURCES


@dataclass(frozen=True)
class Night:
    """The compiled rules; ``n_seen`` of what a user has stand beside the slate."""

    rules: Context
    as_of: datetime
    n_seen: int

    @property
    def plain(self) -> bool:
        """Whether the candidates keep their order tonight: rules only leave some out."""
        return not self.rules.campaigns and not moves(self.rules)


def slate_of(candidates: Columns, user: User, night: Night) -> tuple:
    """Values of the columns of slates; codes of ``candidates`` are positions in SOURCES."""
    items, scores, sources, because, propensities = apply_rules(*candidates, user, night.rules)
    names = [SOURCES[code] for code in sources]
    seen = user.seen[~comes_back(user, night.rules)][: night.n_seen]
    return user.user_id, items, scores.astype(np.float32), names, because, propensities, seen


def to_batch(rows: list[tuple]) -> pa.RecordBatch:
    schema = arrow_schema(SLATES)
    columns = list(zip(*rows, strict=True)) if rows else [[] for _ in schema]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema.names)
