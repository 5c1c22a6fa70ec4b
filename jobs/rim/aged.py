"""A key of a store with its age: what is needed to tell leftovers from work in progress."""

from datetime import datetime
from typing import NamedTuple


class Aged(NamedTuple):
    """A key, its bytes, and when it was written last."""

    key: str
    bytes: int
    modified: datetime
