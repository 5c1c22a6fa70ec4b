"""What a description makes of the first rows of its files: for people who write one."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from jobs.rim.errors import UsageError
from jobs.sources.catalogue import map_items, map_users, used_columns
from jobs.sources.chunk import Chunk
from jobs.sources.columns import require_columns
from jobs.sources.description import Description, Events, Items, Users
from jobs.sources.files import Input
from jobs.sources.mapping import map_events
from jobs.sources.readers import read_chunks
from jobs.sources.rules import BUILT_IN, UNREADABLE

SAMPLE_ROWS = 1_000
ADVICE = {
    "unreadable_json": "write one JSON object a line",
    "unreadable_line": "check delimiter and quote",
    "open_quote": 'quote = "" when quotes are ordinary characters',
    "wrong_columns": "check delimiter, quote, header and names",
    "bad_encoding": "check encoding: utf-8, latin-1 or cp1252",
    "bad_time": "check time_formats",
    "unknown_kind": "add the word to kind.map",
    "time_out_of_range": "check time_formats and zone",
    "not_a_product": "expected, or correct item_pattern",
    "missing_item": "name the item's column under columns.item_id",
    "missing_user": "name a column under columns.user_id, columns.session_id or anonymous_session",
    "bad_number": "check columns.value, columns.quantity and columns.price",
    "missing_value": "name the rating's column under columns.value",
    "quantity_not_positive": "list kinds that are written as negative under make_positive",
}


@dataclass
class Sample:
    """The first rows of one file: what was found and what would become of it."""

    file: str
    what: str
    fields: list[str] = field(default_factory=list)
    mapped: dict[str, str] = field(default_factory=dict)
    first: list[dict] = field(default_factory=list)
    read: int = 0
    accepted: int = 0
    quarantined: Counter = field(default_factory=Counter)
    first_line: dict[str, int] = field(default_factory=dict)
    error: str = ""

    @property
    def usable(self) -> bool:
        return not self.error and self.accepted > 0

    def problems(self) -> list[str]:
        """One line each: what, where, what to do."""
        lines = [self.error] if self.error else []
        for reason, n in sorted(self.quarantined.items()):
            meaning = BUILT_IN.get(reason) or UNREADABLE.get(reason) or "a rule of the description"
            at = self.first_line[reason]
            advice = ADVICE.get(reason, "expected, or correct the rule")
            lines.append(f"{self.file} line {at}: {reason}, {n} of {self.read} rows: {meaning}; {advice}")
        if not self.error and not self.accepted:
            lines.append(f"{self.file}: no row of the sample can be used")
        return lines


def take_sample(file: Input, layout: Events | Items | Users, source: Description, now: datetime) -> Sample:
    """Read the first rows of a file as an ingest would."""
    is_events = isinstance(layout, Events)
    what = "events" if is_events else "items" if isinstance(layout, Items) else "users"
    sample = Sample(file.name, what)
    used = layout.used if is_events else used_columns(layout)
    try:
        chunk = next(read_chunks(file, layout, used, SAMPLE_ROWS), None)
        if chunk is None:
            raise UsageError(f"{file.name}: holds no rows")
        sample.fields = [name for name in chunk.table.column_names if name in chunk.fields]
        sample.fields += sorted(chunk.fields - set(sample.fields))
        sample.mapped = {our: ref.column for our, ref in layout.columns if ref is not None}
        require_columns(chunk, used, layout)
    except UsageError as error:
        sample.error = str(error)
        return sample
    judge(sample, chunk, *mapped(chunk, layout, source, now))
    return sample


def mapped(
    chunk: Chunk, layout: Events | Items | Users, source: Description, now: datetime
) -> tuple[pa.Table, pa.Array]:
    """The rows as mapped, and why each would be refused."""
    if isinstance(layout, Events):
        rows = map_events(chunk, layout, source, now)
        return rows.drop_columns("reason"), rows["reason"].combine_chunks()
    return map_items(chunk, layout) if isinstance(layout, Items) else map_users(chunk, layout, b"only a sample")


def judge(sample: Sample, chunk: Chunk, rows: pa.Table, reasons: pa.Array) -> None:
    """Fill in the accounts and the first rows that would be accepted."""
    sound = rows.filter(pc.is_null(reasons))
    sample.read, sample.accepted = chunk.n_read, sound.num_rows
    sample.first = sound.slice(0, 3).to_pylist()
    places = [(bad.reason, bad.line) for bad in chunk.bad]
    places += [(reason, line) for reason, line in zip(reasons.to_pylist(), chunk.lines.tolist(), strict=True) if reason]
    for reason, line in places:
        sample.quarantined[reason] += 1
        sample.first_line[reason] = min(line, sample.first_line.get(reason, line))


def describe(sample: Sample, used: list[str]) -> list[str]:
    """The sample as lines for people; problems apart."""
    lines = [f"{sample.what} from {sample.file}", f"  columns found:  {', '.join(sample.fields) or 'none'}"]
    arrows = [f"{our} <- {theirs}" for our, theirs in sample.mapped.items() if theirs in sample.fields]
    lines.append(f"  mapped:         {', '.join(arrows) or 'none'}")
    unmapped = [name for name in sample.fields if name not in used]
    lines.append(f"  not used:       {', '.join(unmapped) or 'none'}")
    for row in sample.first:
        plain = {name: value for name, value in row.items() if value is not None}
        lines.append(f"  first:          {orjson.dumps(plain).decode()}")
    counts = f"{sample.accepted:,} accepted" + "".join(f", {n:,} {r}" for r, n in sorted(sample.quarantined.items()))
    return [*lines, f"  of {sample.read:,} rows:  {counts}"]
