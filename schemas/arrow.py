"""Arrow schemas of the tables. Needs pyarrow: serving does not import this module."""

import pyarrow as pa

from schemas.tables import Table

ARROW_TYPES = {
    "string": pa.string(),
    "int8": pa.int8(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of a type name of ``schemas.tables``."""
    if name.startswith("list<"):
        return pa.list_(arrow_type(name[5:-1]))
    return ARROW_TYPES[name]


def arrow_schema(table: Table) -> pa.Schema:
    """The table's columns in order, with nullability."""
    return pa.schema([pa.field(c.name, arrow_type(c.type), c.nullable) for c in table.columns])


def in_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of a file in the columns of a schema; a column younger than the file is null."""
    for field in (field for field in schema if field.name not in rows.column_names):
        rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
    return rows.select(schema.names).cast(schema)
