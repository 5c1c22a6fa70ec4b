"""Event rows as columns of numpy arrays: what travels between the steps of the generator until it is written."""

import numpy as np

from schemas.tables import KINDS

KIND = {name: code for code, name in enumerate(KINDS)}
UNKNOWN_KIND = len(KINDS)  # the code of a kind that the contract does not know
MS_HOUR = 3_600_000
MS_DAY = 24 * MS_HOUR

# column: (type, value that stands for null). Times are milliseconds since 1970 UTC.
COLUMNS = {
    "time": (np.int64, 0),  # when it happened
    "arrival": (np.int64, 0),  # where in the file it comes
    "number": (np.int64, 0),  # becomes the event_id
    "kind": (np.int8, 0),
    "user": (np.int32, -1),
    "session": (np.int64, -1),
    "item": (np.int32, -1),
    "basket": (np.int64, -1),  # the number of the session that ordered
    "query": (np.int32, -1),
    "stars": (np.int8, -1),
    "quantity": (np.int16, 0),
    "country": (np.int8, -1),
    "device": (np.int8, -1),
    "broken": (np.int8, 0),  # 0 sound, else 1 + position in trouble.BREAKAGES
}
Rows = dict[str, np.ndarray]


def make(n: int, **given) -> Rows:
    """``n`` rows with the given columns (arrays or scalars), null in the others."""
    rows = {}
    for name, (dtype, null) in COLUMNS.items():
        column = np.empty(n, dtype)
        column[:] = given.pop(name, null)
        rows[name] = column
    if given:
        raise KeyError(f"no such column: {', '.join(given)}; there are {', '.join(COLUMNS)}")
    return rows


def take(rows: Rows, index) -> Rows:
    return {name: column[index] for name, column in rows.items()}


def concat(parts: list[Rows]) -> Rows:
    return {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}


def size(rows: Rows) -> int:
    return len(rows["time"])


def draw(rng: np.random.Generator, cumulative: np.ndarray, low, high) -> np.ndarray:
    """Positions drawn in proportion to the steps of ``cumulative``, each between its own ``low`` and ``high`` sum."""
    point = low + rng.random(np.shape(high)) * (high - low)
    return np.minimum(np.searchsorted(cumulative, point, side="right"), len(cumulative) - 1)
