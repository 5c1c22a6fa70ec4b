"""Nulls a file just written has where its table allows none."""

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.tables import TABLES


def refuse_nulls(data: bytes, table: str, key: str) -> None:
    """Raise ValueError when a column, or a list in it, has nulls the schema does not allow."""
    file = pq.ParquetFile(pa.BufferReader(data))
    for column in (column for column in TABLES[table].columns if not column.nullable):
        nulls = count_nulls(file.metadata, column.name)
        if nulls and column.type.startswith("list<"):  # statistics count empty lists, too: look
            values = file.read([column.name])[column.name]
            nulls = values.null_count + sum(chunk.flatten().null_count for chunk in values.chunks)
        if nulls:
            raise ValueError(f"{key}: {table}.{column.name} has {nulls} nulls; allowed: none")


def count_nulls(footer: pq.FileMetaData, name: str) -> int:
    """Nulls of a column's leaf, as the footer counts them; a group without statistics counts as none."""
    paths = [footer.schema.column(k).path for k in range(footer.num_columns)]
    leaf = next(k for k, path in enumerate(paths) if path.partition(".")[0] == name)
    found = [footer.row_group(group).column(leaf).statistics for group in range(footer.num_row_groups)]
    return sum(statistics.null_count or 0 for statistics in found if statistics is not None)
