"""Between Arrow rows and Spark frames, for tests of transforms; the session is the fixture ``spark`` of conftest."""

from collections.abc import Iterator

import pyarrow as pa
import pytest
from lake_fixtures import rows
from pyspark.sql import DataFrame, SparkSession

from schemas.spark import spark_schema
from schemas.tables import TABLES

# Tiny frames cost planning and compiling, not work: interpret them. tests/test_nightly.py runs with Spark's defaults.
QUICK = {
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


@pytest.fixture(scope="module", name="quick")
def quick_spark(spark: SparkSession) -> Iterator[SparkSession]:
    """The shared session, set up for tiny frames while a module's tests run."""
    before = {name: spark.conf.get(name) for name in QUICK}
    for name, value in QUICK.items():
        spark.conf.set(name, value)
    yield spark
    for name, value in before.items():
        spark.conf.set(name, value)


def frame(session: SparkSession, table: str, *overrides: dict) -> DataFrame:
    """Rows of a table as the runner would hand them to a transform."""
    return as_frame(session, table, rows(table, *overrides))


def as_frame(session: SparkSession, table: str, content: pa.Table) -> DataFrame:
    schema = spark_schema(TABLES[table])
    return session.createDataFrame(content, schema) if content.num_rows else session.createDataFrame([], schema)
