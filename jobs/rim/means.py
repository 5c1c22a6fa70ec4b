"""What a job that can do without Spark has at hand, so that it can choose."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Means:
    """``kernel_bytes``: what it may plan to fill in this process. ``in_spark`` gives an input table as a DataFrame,
    and starts Spark for it.
    """

    kernel_bytes: int
    in_spark: Callable[[str], "DataFrame"]
