"""Manifests: what a commit consists of. Readers take file lists from here, never from listings."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import orjson


@dataclass(frozen=True)
class DataFile:
    """One Parquet file: its key, rows, bytes and CRC-32; for events, the rows of each UTC hour it holds."""

    path: str
    rows: int
    bytes: int
    crc32: int
    hours: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Exclusion:
    """From its batch on nobody sees events of these hours (ISO, end exclusive) of a source (None: of any); or, with
    ``undo``, everybody does again.
    """

    first_hour: str
    end_hour: str
    source: str | None
    reason: str
    undo: bool = False

    def same_rows(self, other: "Exclusion") -> bool:
        return (self.first_hour, self.end_hour, self.source) == (other.first_hour, other.end_hour, other.source)

    def covers(self, hour: str, source: str) -> bool:
        """Whether it is about an hour (``2010-12-01T08``) of a source."""
        return self.first_hour[:13] <= hour < self.end_hour[:13] and self.source in (None, source)


@dataclass(frozen=True)
class Batch:
    """One ingest: the raw rows it brought and what became of every row read. Batches are numbered from 1 without gaps.

    ``first_hour``/``end_hour`` (ISO, end exclusive) are the hours it covers, rows or none; ``n_items`` is the length,
    and so the version, of the append-only item dictionary after it. An ``exclusion`` brings and covers nothing.
    """

    number: int
    batch_id: str
    source: str
    created_at: str
    first_hour: str
    end_hour: str
    schema_version: int
    code_version: str
    key_version: int
    n_items: int
    inputs: list[dict]
    accounts: dict
    files: dict[str, list[DataFile]]
    exclusion: Exclusion | None = None

    def hours(self) -> dict[str, int]:
        """Accepted events by UTC hour (``2010-12-01T08``)."""
        totals: dict[str, int] = {}
        for file in self.files.get("events", ()):
            for hour, rows in file.hours.items():
                totals[hour] = totals.get(hour, 0) + rows
        return totals


@dataclass(frozen=True)
class Manifest:
    """One run of one job for one ``as_of``: its version, what went in, what came out, by table."""

    job: str
    as_of: str
    version: str
    created_at: str
    schema_version: int
    code_version: str
    settings_hash: str
    snapshot: int
    inputs: dict[str, str]
    files: dict[str, list[DataFile]]
    measured: dict

    def rows(self, table: str) -> int:
        return sum(file.rows for file in self.files[table])


def encode(record: Batch | Manifest) -> bytes:
    return orjson.dumps(asdict(record), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def decode(kind: type, data: bytes):
    """A Batch or Manifest from its JSON."""
    return from_record(kind, orjson.loads(data))


def from_record(kind: type, record: dict):
    """A Batch or Manifest from what its JSON says."""
    files = {t: [DataFile(**file) for file in files] for t, files in record["files"].items()}
    told = record.get("exclusion")
    return kind(**record | {"files": files} | ({"exclusion": Exclusion(**told)} if told else {}))


def iso(moment: datetime) -> str:
    """UTC, to the second, such as ``2010-12-01T08:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def compact(moment: datetime) -> str:
    """For paths: ``20101201T080000Z``."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
