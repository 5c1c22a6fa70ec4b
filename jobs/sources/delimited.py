"""CSV and its kin. A block of lines goes through Arrow's parser; where lines and rows may differ, through Python's.

The two agree on every row (a test compares them); Python's also tells which line cannot be read, and why.
"""

import csv
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from jobs.rim.errors import UsageError
from jobs.sources.chunk import BadLine, Chunk
from jobs.sources.files import BLOCK_BYTES, Input
from jobs.sources.layout import Layout

MAX_RECORD_LINES = 50  # a quoted cell that spans more is taken for a stray quote
UNIT = "\x1f"  # stands in for delimiters of two characters


class OpenQuote(ValueError):
    """The lines at hand end inside a quoted cell."""


class Lines:
    """Feeds lines to ``csv.reader``, one record at a time."""

    def __init__(self, lines: list[bytes]):
        self.lines, self.at, self.start, self.broken = lines, 0, 0, False

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        if self.at == len(self.lines) or self.at - self.start >= MAX_RECORD_LINES:
            raise StopIteration if self.at == self.start else OpenQuote
        line = self.lines[self.at]
        self.at += 1
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.broken = True
            return line.decode(errors="replace")

    def begin(self) -> None:
        self.start, self.broken = self.at, False

    def record(self) -> bytes:
        return b"".join(self.lines[self.start : self.at])


class Delimited:
    """Reads one file; ``read`` gives a chunk for each block of it."""

    def __init__(self, layout: Layout, name: str):
        delimiter = layout.delimiter_of(name)
        self.file, self.encoding = name, layout.encoding
        self.wide = delimiter.encode() if len(delimiter) == 2 else b""
        self.delimiter = UNIT if self.wide else delimiter
        self.quote = layout.quote
        self.names, self.header = list(layout.names), layout.header

    def read(self, source: Input) -> Iterator[Chunk]:
        """All rows of the file."""
        at, carried = 1, b""
        for block, final in blocks(source):
            text = self.utf8(block)
            if at == 1 and not carried:
                refuse_utf16(self.file, block)
                text, at = self.begin(text)
            text = carried + text
            if text:
                chunk, carried = self.parse(text, at, final)
                at += text.count(b"\n") - carried.count(b"\n")
                yield chunk

    def begin(self, text: bytes) -> tuple[bytes, int]:
        """Take the byte order mark and the header off the first block; the rest, and the number of its first line."""
        text = text.removeprefix(b"\xef\xbb\xbf")
        if not self.header or not text:
            return text, 1
        line, _, rest = text.partition(b"\n")
        self.names = [cell.strip() for cell in first_row(self.file, line, self.reader)]
        twice = [name for name in self.names if self.names.count(name) > 1]
        if not self.names or twice:
            raise UsageError(
                f"{self.file}: line 1 is no header: {f'{twice[0]!r} stands twice' if twice else 'it is empty'}"
            )
        return rest, 2

    def utf8(self, block: bytes) -> bytes:
        if self.encoding != "utf-8":
            block = recode(block, self.encoding)
        return block.replace(self.wide, UNIT.encode()) if self.wide else block

    def reader(self, lines):
        quoting = {"quotechar": self.quote} if self.quote else {"quoting": csv.QUOTE_NONE}
        return csv.reader(lines, delimiter=self.delimiter, **quoting)

    def parse(self, block: bytes, first: int, final: bool) -> tuple[Chunk, bytes]:
        """Rows of a block, and what of it belongs to the next."""
        table = self.fast(block)
        if table is not None:
            lines = np.arange(first, first + table.num_rows, dtype=np.int64)
            return Chunk(self.file, lines, table, frozenset(self.names)), b""
        return self.slow(split_lines(block), first, final)

    def fast(self, block: bytes) -> pa.Table | None:
        """The rows when each is exactly one line, else None."""
        block = block if block.endswith(b"\n") else block + b"\n"
        doubtful = (
            (self.quote and block.count(self.quote.encode()) % 2)
            or b"\n\n" in block
            or b"\n\r\n" in block
            or block[:1] in (b"\n", b"\r")
            or block.count(b"\r") != block.count(b"\r\n")
        )
        if doubtful:
            return None
        try:
            table = pacsv.read_csv(
                pa.BufferReader(block),
                pacsv.ReadOptions(column_names=self.names, block_size=len(block) + 1),
                pacsv.ParseOptions(delimiter=self.delimiter, quote_char=self.quote or False, ignore_empty_lines=False),
                pacsv.ConvertOptions(column_types={name: pa.string() for name in self.names}),
            )
        except pa.ArrowInvalid:
            return None
        never_closed = "\n" in table[self.names[-1]][-1].as_py()  # Arrow lets the last cell be
        return table if table.num_rows == block.count(b"\n") and not never_closed else None

    def slow(self, lines: list[bytes], first: int, final: bool) -> tuple[Chunk, bytes]:
        """The same row by row; a record unfinished at the end of a block that is not the last is carried over."""
        rows, numbers, bad, feed = [], [], [], Lines(lines)
        reader = self.reader(feed)
        while feed.at < len(lines):
            feed.begin()
            try:
                row, reason = next(reader), "bad_encoding" if feed.broken else ""
            except OpenQuote:
                if feed.at == len(lines) and feed.at - feed.start < MAX_RECORD_LINES and not final:
                    break
                row, reason, feed.at = [], "open_quote", feed.start + 1
            except csv.Error:
                row, reason = [], "unreadable_line"
            if reason in ("open_quote", "unreadable_line"):
                reader = self.reader(feed)
            elif row and not reason and len(row) != len(self.names):
                reason = "wrong_columns"
            if reason:
                bad.append(BadLine(first + feed.start, reason, self.as_written(feed.record())))
            elif row:
                rows.append(row)
                numbers.append(first + feed.start)
            feed.begin()
        carried = b"".join(lines[feed.start :])
        lines = np.array(numbers, np.int64)
        return Chunk(self.file, lines, self.table(rows), frozenset(self.names), bad=bad), carried

    def table(self, rows: list[list[str]]) -> pa.Table:
        columns = zip(*rows, strict=True) if rows else ([] for _ in self.names)
        return pa.table({n: pa.array(c, pa.string()) for n, c in zip(self.names, columns, strict=True)})

    def as_written(self, line: bytes) -> bytes:
        return line.replace(UNIT.encode(), self.wide) if self.wide else line


def refuse_utf16(file: str, start: bytes) -> None:
    """Raise UsageError for the byte order marks of UTF-16."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{file}: is UTF-16: convert it to UTF-8 first, as `iconv -f UTF-16 -t UTF-8` does")


def first_row(file: str, line: bytes, reader: Callable = csv.reader) -> list[str]:
    """The cells of a file's first line.

    Raises:
        UsageError: the line shows that the file is no text, or that its lines end as no reader here expects.
    """
    if b"\0" in line:
        raise UsageError(f"{file}: line 1 holds NUL bytes: no text file, or UTF-16; give CSV in UTF-8")
    try:
        return next(reader([line.decode(errors="replace")]), [])
    except csv.Error as error:
        if b"\r" not in line.rstrip(b"\r"):
            raise UsageError(f"{file}: line 1 is no header: {error}") from None
        raise UsageError(
            f"{file}: line 1 holds a bare CR: lines end as on an old Mac, or it is no CSV; end lines with LF, as "
            "`tr '\\r' '\\n'` does"
        ) from None


def blocks(source: Input) -> Iterator[tuple[bytes, bool]]:
    """Whole lines, about ``BLOCK_BYTES`` at a time, and whether they are the last."""
    rest = b""
    with source.stream() as stream:
        while data := stream.read(BLOCK_BYTES):
            head, newline, tail = (rest + data).rpartition(b"\n")
            rest = tail
            if newline:
                yield head + newline, False
    yield rest, True


def split_lines(block: bytes) -> list[bytes]:
    """Lines end with ``\\n`` only (``bytes.splitlines`` also cuts at a lone ``\\r``)."""
    lines = [line + b"\n" for line in block.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def recode(block: bytes, encoding: str) -> bytes:
    """UTF-8 of a block; bytes the encoding does not know stay and are refused line by line."""
    try:
        return block.decode(encoding).encode()
    except UnicodeDecodeError:
        return b"".join(recode_line(line, encoding) for line in split_lines(block))


def recode_line(line: bytes, encoding: str) -> bytes:
    try:
        return line.decode(encoding).encode()
    except UnicodeDecodeError:
        return line
