"""Files of a generated set: written beside the final names, moved there together, and never over anybody else's."""

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.rim.errors import UsageError

FILE_ROWS, GROUP_ROWS = 5_000_000, 500_000
STAGING, SUMMARY = ".generating", "generated.json"
OURS = re.compile(r"events\.jsonl|events-\d{5}\.parquet|(items|users)\.(jsonl|parquet)|hidden|generated\.json")


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A staging folder whose files replace the set in ``folder`` if the block succeeds, and vanish if it does not.

    UsageError when ``folder`` is a file or holds anything but an earlier set.
    """
    _refuse_foreign(folder)
    staging = folder / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
        _swap(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file; give a folder")
    present = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    foreign = [name for name in present if name != STAGING and not OURS.fullmatch(name)]
    if present and not foreign and not {STAGING, SUMMARY} & set(present):
        foreign = present  # the right names without our summary: somebody's own data
    if foreign:
        raise UsageError(f"--out {folder} holds {foreign[0]}, which is no generated set; give an empty or new folder")


def _swap(staging: Path, folder: Path) -> None:
    """The summary goes first and comes last, so that a set with a summary is whole."""
    (folder / SUMMARY).unlink(missing_ok=True)
    for old in folder.iterdir():
        if old != staging:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for new in sorted(staging.iterdir(), key=lambda path: path.name == SUMMARY):
        new.rename(folder / new.name)


def write_lines(path: Path, blocks: Iterable) -> None:
    with path.open("wb") as file:
        for block in blocks:
            file.write(block)


def write_rows(path: Path, table: pa.Table) -> None:
    """One JSON object a row; for tables that fit in memory twice."""
    with path.open("wb") as file:
        for batch in table.to_batches(max_chunksize=10_000):
            file.writelines(orjson.dumps(row) + b"\n" for row in batch.to_pylist())


def write_parquet(path: Path, tables: Iterable[pa.Table]) -> None:
    """All the tables, which share one schema, into one file."""
    writer = None
    for table in tables:
        writer = writer or _writer(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


def write_parquet_files(folder: Path, stem: str, tables: Iterable[pa.Table]) -> None:
    """Files stem-00000.parquet and so on of at most five million rows, in memory for one row group."""
    writer, room, number = None, 0, 0
    for group in _regrouped(tables):
        if group.num_rows > room:
            if writer:
                writer.close()
            writer, room = _writer(folder / f"{stem}-{number:05d}.parquet", group.schema), FILE_ROWS
            number += 1
        writer.write_table(group, row_group_size=GROUP_ROWS)
        room -= group.num_rows
    if writer:
        writer.close()


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    # Ids are all different: a dictionary of them would be built for nothing.
    plain = {"event_id", "event_time", "session_id", "basket_id", "valid_from", "created_at"}
    coded = [field.name for field in schema if field.name not in plain and not pa.types.is_list(field.type)]
    return pq.ParquetWriter(path, schema, compression="snappy", use_dictionary=coded)


def _regrouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of GROUP_ROWS, the last one smaller."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        while sum(part.num_rows for part in held) >= GROUP_ROWS:
            whole = pa.concat_tables(held)
            yield whole.slice(0, GROUP_ROWS)
            held = [whole.slice(GROUP_ROWS)]
    if sum(part.num_rows for part in held):
        yield pa.concat_tables(held)
