"""Spark schemas of the tables. Needs pyspark: serving does not import this module."""

from pyspark.sql import types as T

from schemas.tables import Table

SPARK_TYPES = {
    "string": T.StringType(),
    "int8": T.ByteType(),
    "int32": T.IntegerType(),
    "int64": T.LongType(),
    "float32": T.FloatType(),
    "float64": T.DoubleType(),
    "bool": T.BooleanType(),
    "timestamp": T.TimestampType(),
}


def spark_type(name: str) -> T.DataType:
    """The Spark type of a type name of ``schemas.tables``."""
    if name.startswith("list<"):
        return T.ArrayType(spark_type(name[5:-1]))
    return SPARK_TYPES[name]


def spark_schema(table: Table) -> T.StructType:
    """The table's columns in order, all nullable: Spark reads Parquet so, and the lake checks nulls on commit."""
    return T.StructType([T.StructField(c.name, spark_type(c.type)) for c in table.columns])
