"""Events as the local jobs read them: more than would fit memory as they are spelled."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.rim.manifest import DataFile
from jobs.rim.sight import Sight
from jobs.rim.store import FileStore, S3Store
from schemas.arrow import arrow_schema
from schemas.tables import TABLES


@dataclass(frozen=True)
class EventParts:
    """Events as tables of one file each, read when they are asked for, text as dictionaries: all at once, and spelled
    out in every row, they would fill a machine's memory.
    """

    store: FileStore | S3Store
    files: list[DataFile]
    start: datetime
    end: datetime
    columns: tuple[str, ...]
    sight: Sight

    @property
    def num_rows(self) -> int:
        """Those of the files; a few may lie outside of [start, end)."""
        return sum(file.rows for file in self.files)

    def select(self, columns: Sequence[str]) -> "EventParts":
        return replace(self, columns=tuple(columns))

    def __iter__(self) -> Iterator[pa.Table]:
        names = dict.fromkeys([*self.columns, "event_time", *self.sight.columns])
        fields = [arrow_schema(TABLES["events"]).field(name) for name in names]
        coded = pa.dictionary(pa.int32(), pa.string())
        schema = pa.schema([field.with_type(coded) if field.type == pa.string() else field for field in fields])
        texts = [field.name for field in schema if field.type == coded]
        low, high = (pa.scalar(moment, schema.field("event_time").type) for moment in (self.start, self.end))
        for file in self.files:
            path = self.store.path(file.path)
            rows = pq.read_table(path, filesystem=self.store.fs, columns=schema.names, read_dictionary=texts).cast(
                schema
            )
            inside = pc.and_(pc.greater_equal(rows["event_time"], low), pc.less(rows["event_time"], high))
            inside = pc.and_(inside, self.sight.mask(rows))
            yield (rows if pc.all(inside).as_py() else rows.filter(inside)).select(self.columns)
