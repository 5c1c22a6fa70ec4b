"""The slates of a generation as the lake holds them, part by part, for loaders that work side by side."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.rim.lake import Lake
from jobs.rim.manifest import DataFile
from jobs.rim.packing import SLATE_COLUMNS

BATCH_ROWS = 8_192  # some 15 MB of a loader's memory


@dataclass(frozen=True, slots=True)
class Part:
    """One row group of one file."""

    path: str
    group: int


class SlateFiles:
    """Files of the slates table, or some of their rows; ``n_rows`` counts all."""

    def __init__(self, lake: Lake, files: list[DataFile]):
        self.store, self.files = lake.store, files
        self.n_rows = sum(file.rows for file in files)
        self.chosen: Callable[[pa.Array], np.ndarray] | None = None

    def only(self, chosen: Callable[[pa.Array], np.ndarray]) -> "SlateFiles":
        """The rows of the users for whom ``chosen(user_ids)`` is True."""
        some = copy.copy(self)
        some.chosen = chosen
        return some

    def parts(self) -> Iterator[Part]:
        for file in self.files:
            with self.store.fs.open_input_file(self.store.path(file.path)) as source:
                n_groups = pq.read_metadata(source).num_row_groups
            yield from (Part(file.path, group) for group in range(n_groups))

    def batches(self, part: Part) -> Iterator[pa.RecordBatch]:
        """Record batches of a part; the names of sources as a dictionary, so that none is read twice."""
        with self.store.fs.open_input_file(self.store.path(part.path)) as source:
            metadata = pq.read_metadata(source)
            paths = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
            coded = [path for path in paths if path.startswith("sources.")]
            file = pq.ParquetFile(source, metadata=metadata, read_dictionary=coded)
            groups = [part.group]
            for batch in file.iter_batches(BATCH_ROWS, groups, columns=SLATE_COLUMNS, use_threads=False):
                if self.chosen is not None:
                    batch = batch.filter(pa.array(self.chosen(batch["user_id"])))
                if batch.num_rows:
                    yield batch
