"""What the step interactions is given and gives, whichever engine adds up."""

import pyarrow as pa
from lake_fixtures import rows
from pyspark.sql import SparkSession
from spark_fixture import as_frame

from jobs.rim.base import Base
from jobs.rim.means import Means

ROOM = 1 << 30


class Held:
    """Rows as ``StoredRows`` has them, in memory."""

    def __init__(self, content: pa.Table):
        self.content, self.num_rows = content, content.num_rows

    def arrow(self, columns: list[str], dictionaries: list[str]) -> pa.Table:
        return self.content.select(columns)

    def frame(self, session: SparkSession):
        return as_frame(session, "interactions", self.content)


def told(session: SparkSession, events: pa.Table, weights, dictionary: pa.Table, base: Base, n_parts: int = 1) -> dict:
    """Inputs of ``transform``; Spark gets the events in so many partitions."""

    def in_spark(table: str):
        if table == "item_dictionary":
            return as_frame(session, table, dictionary)
        frame = as_frame(session, table, events)
        return frame if n_parts == 1 else frame.repartition(n_parts)

    means = Means(ROOM, ROOM, in_spark)
    given = {"events": events, "event_weights": rows("event_weights", *weights), "item_dictionary": dictionary}
    return given | {"base": base, "means": means}


def made(result: dict) -> pa.Table:
    """The rows of what ``transform`` gave, as the lake's table has them."""
    found, like = result["interactions"], rows("interactions")
    if isinstance(found, list):
        return pa.concat_tables([like, *(part.select(like.column_names).cast(like.schema) for part in found)])
    return found.select(like.column_names).toArrow()
