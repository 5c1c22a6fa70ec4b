"""What a step is given and gives that chooses between loops of its own and Spark."""

from collections.abc import Mapping

import pyarrow as pa
from lake_fixtures import rows
from pyspark.sql import SparkSession
from spark_fixture import as_frame

from jobs.rim.means import Means

ROOM = 1 << 30
STORED = ("interactions", "user_factors", "candidates")  # what steps read when they know whether it fits


class Held:
    """Rows of a table as ``StoredRows`` has them, in memory."""

    def __init__(self, table: str, content: pa.Table):
        self.table, self.content, self.num_rows = table, content, content.num_rows
        self.num_bytes = content.nbytes

    def parts(self) -> list["Held"]:
        return [self]

    def arrow(self, columns: list[str], dictionaries: list[str]) -> pa.Table:
        return self.content.select(columns)

    def frame(self, session: SparkSession):
        return as_frame(session, self.table, self.content)


def told(session: SparkSession, tables: Mapping[str, pa.Table], n_parts: int = 1) -> dict:
    """Inputs of ``transform``; Spark gets a table in so many partitions."""

    def in_spark(table: str):
        frame = as_frame(session, table, tables[table])
        return frame if n_parts == 1 else frame.repartition(n_parts)

    given = {name: Held(name, table) if name in STORED else table for name, table in tables.items()}
    return given | {"means": Means(ROOM, ROOM, in_spark)}


def made(found, table: str) -> pa.Table:
    """The rows of what ``transform`` gave for a table, as the lake has them."""
    like = rows(table)
    if isinstance(found, list):
        return pa.concat_tables([like, *(part.select(like.column_names).cast(like.schema) for part in found)])
    return found.select(like.column_names).toArrow()
