"""How files are written and their columns referred to, the part every description of files shares; and streams."""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

FORMATS = ("auto", "csv", "tsv", "jsonl", "parquet")
DELIMITERS = {"csv": ",", "tsv": "\t"}
TIME_WORDS = ("iso", "epoch_s", "epoch_ms")


def check_pattern(text: str) -> str:
    """A regular expression that RE2 can read."""
    try:
        pc.match_substring_regex(pa.array([""]), text)
    except pa.ArrowInvalid as error:
        raise ValueError(f"no regular expression (RE2): {error}") from None
    return text


def as_reference(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


Pattern = Annotated[str, Field(min_length=1), BeforeValidator(check_pattern)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reference(Part):
    """One of their columns; ``remove`` deletes what matches from each value, ``values`` replaces whole values."""

    column: str = Field(min_length=1)
    remove: Pattern | None = None
    values: dict[str, str] = Field(default_factory=dict)


Ref = Annotated[Reference, BeforeValidator(as_reference)]


class Layout(Part):
    """How some files are written."""

    files: tuple[str, ...] = Field(min_length=1)
    optional: bool = False
    format: Literal[FORMATS] = "auto"
    encoding: Literal["utf-8", "latin-1", "cp1252"] = "utf-8"
    delimiter: str = Field(default="", max_length=2)
    quote: str = Field(default='"', max_length=1)
    header: bool = True
    names: tuple[str, ...] = ()
    null: tuple[str, ...] = ("",)
    zone: str = "UTC"
    time_formats: tuple[str, ...] = Field(default=("iso",), min_length=1)
    missing_ok: bool = False

    @field_validator("zone")
    @classmethod
    def known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (KeyError, OSError, ValueError):
            raise ValueError("no such IANA zone; allowed: names such as Europe/London or UTC") from None
        return zone

    @field_validator("time_formats")
    @classmethod
    def known_formats(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        for item in formats:
            if item not in TIME_WORDS and "%" not in item:
                raise ValueError(
                    f"{item!r} is no time format; allowed: {', '.join(TIME_WORDS)} or one like %d/%m/%Y %H:%M"
                )
        return formats

    @model_validator(mode="after")
    def names_without_header(self):
        if self.header == bool(self.names):
            raise ValueError("either header = true and no names, or header = false and names = [...]")
        if len(set(self.names)) < len(self.names):
            raise ValueError("names has a name twice")
        return self

    def format_of(self, name: str) -> str:
        """csv, jsonl or parquet, stated or told from the file's name; tsv is csv with another delimiter."""
        if self.format != "auto":
            return self.format
        suffix = re.sub(r"\.gz$", "", name.lower()).rpartition(".")[2]
        return {"json": "jsonl", "ndjson": "jsonl", "pq": "parquet"}.get(suffix, suffix if suffix in FORMATS else "csv")

    def delimiter_of(self, name: str) -> str:
        return self.delimiter or DELIMITERS.get(self.format_of(name), ",")


class Stream(Part):
    """A topic of Kafka or a data stream of Kinesis: each message is one row, a JSON object.

    ``start`` is where it is read from at first: its earliest message, or the first written at a moment or later.
    """

    kafka: Annotated[str, Field(min_length=1)] | None = None
    kinesis: Annotated[str, Field(min_length=1)] | None = None
    start: datetime | Literal["earliest"] = "earliest"

    @field_validator("start")
    @classmethod
    def in_utc(cls, start: datetime | str) -> datetime | str:
        if isinstance(start, datetime):
            return start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
        return start

    @model_validator(mode="after")
    def one_kind(self):
        if (self.kafka is None) == (self.kinesis is None):
            raise ValueError("give exactly one of kafka (a topic) and kinesis (a data stream)")
        return self

    @property
    def name(self) -> str:
        """Such as ``kafka:shop-events``; manifests have it."""
        return f"kafka:{self.kafka}" if self.kafka else f"kinesis:{self.kinesis}"
