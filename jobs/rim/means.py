"""What a job that can do without Spark has at hand, so that it can choose."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Means:
    """What it may plan to fill in this process: ``alone_bytes`` as things are, ``beside_bytes`` once Spark runs, too.

    ``in_spark`` gives an input table as a DataFrame, and starts Spark for it.
    """

    alone_bytes: int
    beside_bytes: int
    in_spark: Callable[[str], "DataFrame"]
