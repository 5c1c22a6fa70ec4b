"""A starting description of files nobody described yet, from their names, their columns and their first rows."""

import json
import re
from datetime import UTC, datetime

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from jobs.rim.errors import UsageError
from jobs.sources.chunk import Chunk
from jobs.sources.columns import raw_column
from jobs.sources.convert import UTC_US, to_float, to_time
from jobs.sources.delimited import first_row, refuse_utf16
from jobs.sources.files import Input
from jobs.sources.layout import Layout
from jobs.sources.readers import damage_told, read_chunks
from schemas.tables import KINDS

SAMPLE_ROWS = 1_000
DELIMITERS = ("::", "\t", "|", ";", ",")
NAMES = {  # ours → what others call it, without case and punctuation; the first found wins
    "event_id": "eventid",
    "event_time": "eventtime timestamp datetime time date ts invoicedate orderdate purchasedate createdat occurredat",
    "user_id": "userid user customerid customer visitorid memberid clientid accountid uid",
    "session_id": "sessionid session visitid",
    "item_id": "itemid item productid product sku stockcode movieid articleid asin bookid isbn trackid",
    "basket_id": "basketid orderid order invoiceno invoice transactionid cartid",
    "query": "query searchterm searchquery keywords",
    "value": "value rating score stars",
    "quantity": "quantity qty units count pieces",
    "price": "price unitprice amount",
    "country": "country market region",
    "device": "device platform devicetype",
}
TITLES = "title itemtitle productname itemname name description"
KIND_NAMES = "kind event eventtype eventname type action activity behavior"
KIND_WORDS = {
    "view": "view pageview productview detail detailview impressiondetail pv visit",
    "click": "click clicks",
    "search": "search searches",
    "add_to_cart": "addtocart cart addcart basket addtobasket",
    "purchase": "purchase buy order transaction sale checkout bought",
    "return": "return refund cancel",
    "rating": "rating rate review",
    "like": "like fav favorite favourite wishlist upvote",
    "dislike": "dislike downvote",
    "impression": "impression shown exposure",
}
TIME_FORMATS = (
    "iso", "epoch_s", "epoch_ms", "%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%Y/%m/%d %H:%M:%S", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y",
    "%Y%m%d",
)  # fmt: skip


def guess(file: Input, now: datetime) -> str:
    """TOML of a description that reads this file of events, as well as can be told.

    Raises:
        UsageError: the file is empty or no moment in time is found in it.
    """
    layout, lines = guess_layout(file)
    chunk = next(read_chunks(file, layout, json_fields(file) if layout.format == "jsonl" else [], SAMPLE_ROWS), None)
    if chunk is None or not len(chunk.lines):
        raise UsageError(f"{file.name}: holds no rows to guess from")
    names = {plain(name): name for name in chunk.table.column_names}
    columns = {ours: names[w] for ours, words in NAMES.items() for w in reversed(words.split()) if w in names}
    format = guess_time(chunk, columns, layout, now)
    if layout.names:
        guess_unnamed(chunk, columns, layout)
    kind = guess_kind(chunk, names, columns, layout)
    mapped = [f"{ours} = {reference(chunk, ours, columns[ours], layout)}" for ours in NAMES if ours in columns]
    times = [f"time_formats = [{quoted(format)}]", 'zone = "UTC" # where its clock is, such as "Europe/London"']
    head = ['name = "my-source" # change it', "", "[[events]]", f"files = [{quoted(file.name)}]", *lines, *times]
    if "basket_id" in columns and "session_id" not in columns:
        head.append(f"anonymous_session = {quoted(columns['basket_id'])} # of rows without a user")
    told = guess_titles(names, columns)
    return "\n".join([*head, "", "[events.columns] # ours = yours", *mapped, "", "[events.kind]", *kind, "", *told])


def reference(chunk: Chunk, ours: str, theirs: str, layout: Layout) -> str:
    """The column, without the .0 that ids get when a tool took them for numbers."""
    values = raw_column(chunk, theirs, layout)
    is_id = ours.endswith("_id") and pa.types.is_string(values.type) and pc.count(values).as_py() > 0
    if is_id and pc.all(pc.match_substring_regex(values, r"^\d+\.0$")).as_py():
        return f"{{ column = {quoted(theirs)}, remove = '\\.0$' }}"
    return quoted(theirs)


def guess_titles(names: dict[str, str], columns: dict[str, str]) -> list[str]:
    """``[items_from_events]`` where the rows name their items."""
    title = next((names[word] for word in TITLES.split() if word in names), None)
    if title is None:
        return []
    price = [f"price = {quoted(columns['price'])}"] if "price" in columns else []
    return ["[items_from_events]", f"title = {quoted(title)}", *price, ""]


def guess_layout(file: Input) -> tuple[Layout, list[str]]:
    """How the file is written, and the same as TOML."""
    with file.open() as stream:
        if stream.read(4) == b"PAR1":
            return Layout(files=("*",), format="parquet"), ['format = "parquet"']
    head = read_head(file, 1 << 16)
    refuse_utf16(file.name, head)
    lines = [line for line in head.split(b"\n")[:20] if line.strip()]
    if not lines:
        raise UsageError(f"{file.name}: is empty")
    if lines[0].lstrip(b"\xef\xbb\xbf \t").startswith(b"{"):
        return Layout(files=("*",), format="jsonl"), ['format = "jsonl"']
    first_row(file.name, lines[0])  # raises: no text, or lines that end with a bare CR
    return guess_delimited(head, [line.decode(errors="replace").rstrip("\r") for line in lines[:-1] or lines])


def read_head(file: Input, n_bytes: int) -> bytes:
    """The first bytes of a file, gunzipped.

    Raises:
        UsageError: they cannot be read.
    """
    kind = Layout(files=("*",)).format_of(file.name)
    with damage_told(file.name, kind), file.stream() as stream:
        return stream.read(n_bytes)


def guess_delimited(head: bytes, lines: list[str]) -> tuple[Layout, list[str]]:
    """The delimiter that cuts all lines alike into the most cells; a header is a first line without numbers."""
    delimiter = max(DELIMITERS, key=lambda d: (min(line.count(d) for line in lines), len(d)))
    cells = [cell.strip().strip('"') for cell in lines[0].split(delimiter)]
    header = all(cell and not re.fullmatch(r"[-+.\d:/ TZ]+", cell) for cell in cells) and len(set(cells)) == len(cells)
    names = () if header else tuple(f"column_{n}" for n in range(1, len(cells) + 1))
    encoding = "utf-8" if is_utf8(head) else "cp1252"
    quote = "" if delimiter in ("::", "\t") else '"'
    layout = Layout(
        files=("*",), format="csv", delimiter=delimiter, quote=quote, header=header, names=names, encoding=encoding
    )
    lines = ['format = "csv"', f"delimiter = {quoted(delimiter)}", f"quote = {quoted(quote)}"]
    lines += [f"encoding = {quoted(encoding)}"] if encoding != "utf-8" else []
    return layout, lines if header else [*lines, "header = false", f"names = {json.dumps(names)}"]


def is_utf8(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.end >= len(head) - 3  # a character cut off by the end of the sample
    return True


def json_fields(file: Input) -> list[str]:
    """Field names of the first lines."""
    lines = read_head(file, 1 << 20).split(b"\n")[:SAMPLE_ROWS]
    fields: dict[str, None] = {}
    for line in lines:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        fields |= dict.fromkeys(row) if isinstance(row, dict) else {}
    return list(fields)


def guess_time(chunk: Chunk, columns: dict[str, str], layout: Layout, now: datetime) -> str:
    """The format that reads most of the time column; without a likely name, the column that reads best."""
    candidates = [columns["event_time"]] if "event_time" in columns else chunk.table.column_names
    low, high = pa.scalar(datetime(1990, 1, 1, tzinfo=UTC), UTC_US), pa.scalar(now, UTC_US)

    def n_read(name: str, format: str) -> int:
        values = raw_column(chunk, name, layout)
        if pa.types.is_list(values.type) or pa.types.is_struct(values.type):
            return 0
        times = to_time(values, (format,), "UTC")
        return pc.sum(pc.fill_null(pc.and_(pc.greater(times, low), pc.less_equal(times, high)), False)).as_py() or 0

    best = max(((n_read(name, format), -at, name) for name in candidates for at, format in enumerate(TIME_FORMATS)))
    if not best[0]:
        raise UsageError(
            f"{chunk.file}: no time found in {', '.join(candidates)}; write a description from template.toml"
        )
    columns["event_time"] = best[2]
    return TIME_FORMATS[-best[1]]


def guess_unnamed(chunk: Chunk, columns: dict[str, str], layout: Layout) -> None:
    """Without a header: small numbers of few values are ratings, then come user and item."""
    left = [name for name in chunk.table.column_names if name not in columns.values()]
    for name in left:
        values = to_float(raw_column(chunk, name, layout))
        top = pc.max(values).as_py()
        if values.null_count == 0 and top is not None and top <= 10 and pc.count_distinct(values).as_py() <= 21:
            columns["value"] = name
            left.remove(name)
            break
    columns |= dict(zip(("user_id", "item_id"), left, strict=False))


def guess_kind(chunk: Chunk, names: dict[str, str], columns: dict[str, str], layout: Layout) -> list[str]:
    """The TOML lines of ``[events.kind]``."""
    column = next((names[word] for word in KIND_NAMES.split() if word in names), None)
    if column is None or column in columns.values():
        constant = (
            "rating" if "value" in columns else "purchase" if {"basket_id", "quantity"} & set(columns) else "view"
        )
        return [f"constant = {quoted(constant)} # one of {', '.join(KINDS)}"]
    words = sorted(pc.unique(raw_column(chunk, column, layout).cast(pa.string())).drop_null().to_pylist())[:50]
    ours = {word: kind for kind, theirs in KIND_WORDS.items() for word in [plain(kind), *theirs.split()]}
    lines = [f"column = {quoted(column)}"]
    for word in words:
        known = ours.get(plain(word))
        lines.append(f"map.{quoted(word)} = {quoted(known)}" if known else f'# map.{quoted(word)} = "…"')
    return lines


def plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
