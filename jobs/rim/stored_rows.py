"""A computed table of the lake that is read when it is asked for: as Arrow or by Spark."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs.rim.lake import Lake
from jobs.rim.manifest import DataFile

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class StoredRows:
    """Rows of some files of one table."""

    lake: Lake
    table: str
    files: list[DataFile]

    @property
    def num_rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def num_bytes(self) -> int:
        """On disk."""
        return sum(file.bytes for file in self.files)

    def parts(self) -> list["StoredRows"]:
        """Each file by itself."""
        return [StoredRows(self.lake, self.table, [file]) for file in self.files]

    def arrow(self, columns: list[str], dictionaries: list[str]) -> pa.Table:
        """As ``Lake.read`` has them."""
        return self.lake.read(self.table, self.files, columns, dictionaries)

    def frame(self, session: "SparkSession") -> "DataFrame":
        from schemas.spark import spark_schema
        from schemas.tables import TABLES

        schema = spark_schema(TABLES[self.table])
        if not self.files:
            return session.createDataFrame([], schema)
        return session.read.schema(schema).parquet(*self.lake.uris(self.files))
