"""Streams as sources: where a batch goes on reading, how far, and what its manifest says of it.

The manifests alone say what was read. A batch names, for each partition it read, the first and the last message; the
next one goes on behind that. A batch is created once and only on top of the batches its reader saw, so a message is in
exactly one batch, whoever is killed or runs twice; what a broker remembers of readers plays no part.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from conf.settings import Settings
from jobs.rim.lineage import content_hash
from jobs.rim.manifest import Batch
from jobs.sources.chunk import Chunk, regroup
from jobs.sources.description import Description, Events
from jobs.sources.gather import Gather
from jobs.sources.identify import Seen
from jobs.sources.layout import Stream
from jobs.sources.prefetch import prefetched
from jobs.sources.readers import jsonl_chunk, kept_fields

CHUNK_ROWS = 250_000  # at most: while one is computed with, the next is read
Known = dict[str, dict]  # partition -> what the newest manifest that names it says


@dataclass
class Stretch:
    """What one batch takes of one partition: ``first`` and ``last`` are positions as manifests tell them.

    ``told`` holds what else the manifest is to say, such as which messages were gone; ``news`` says whether that and
    its messages are worth a batch.
    """

    part: str
    first: int | str
    last: int | str
    told: dict
    news: bool = True
    messages: int = 0
    rows: int = 0
    bytes: int = 0


@dataclass
class Messages:
    """Some messages in order: their bytes, a number of each for people, and, where that is not enough to tell equal
    ones apart for ever, what is.
    """

    values: list[bytes]
    numbers: Sequence[int]
    marks: list[str] | None = None


class Reader(Protocol):
    """One stream, open for the time of a command. ``more``: messages wait beyond the stretches last asked for."""

    more: bool

    def ahead(self, known: Known, most: int) -> list[Stretch]:
        """The stretches to read behind what is known, ``most`` messages in all."""

    def read(self, stretch: Stretch) -> Iterator[Messages]:
        """The messages of a stretch; ``last`` is right when it ends."""

    def close(self) -> None: ...


def open_reader(stream: Stream, settings: Settings, accept_loss: bool) -> Reader:
    """Imports the client of the stream's kind only."""
    if stream.kafka:
        from jobs.sources.kafka import Topic

        return Topic(stream, settings.kafka, accept_loss)
    from jobs.sources.kinesis import DataStream

    return DataStream(stream, settings.kinesis, accept_loss)


class Streams:
    """All streams of a source (a history by ``--path`` has none), for the time of a command; ends are those of its
    start.
    """

    def __init__(self, source: Description, settings: Settings, accept_loss: bool, hourly: bool):
        self.source, self.most = source, settings.ingest.max_messages
        specs = [spec for spec in source.events if spec.stream and hourly]
        self.readers = [(spec, open_reader(spec.stream, settings, accept_loss)) for spec in specs]

    def __enter__(self) -> "Streams":
        return self

    def __exit__(self, *_: object) -> None:
        for _, reader in self.readers:
            reader.close()

    def ahead(self, batches: list[Batch]) -> "Ahead":
        """What the next batch is to read on top of these."""
        most = max(self.most // max(len(self.readers), 1), 1)
        parts = [
            (spec, reader, stretch)
            for spec, reader in self.readers
            for stretch in reader.ahead(known_of(self.source, spec.stream, batches), most)
        ]
        return Ahead(self.source, parts, len(batches))


class Ahead:
    """The stretches that one batch takes on top of ``number`` others."""

    def __init__(self, source: Description, parts: list[tuple[Events, Reader, Stretch]], number: int):
        self.source, self.parts, self.number = source, parts, number

    @property
    def more(self) -> bool:
        """Whether messages wait beyond them; certain once they are read."""
        return any(reader.more for _, reader, _ in self.parts)

    def read(self, gathered: Gather) -> list[dict]:
        """Take all messages; what the manifest says of each stretch."""
        for spec, chunk in prefetched(self.chunks(gathered)):
            gathered.take(chunk, spec, Seen())
        return [entry_of(spec.stream, stretch, self.source) for spec, _, stretch in self.parts]

    def chunks(self, gathered: Gather) -> Iterator[tuple[Events, Chunk]]:
        n_rows = min(gathered.chunk_rows, CHUNK_ROWS)
        for spec, reader, stretch in self.parts:
            pieces = chunks(spec, reader, stretch, gathered.columns_of(spec))
            yield from ((spec, chunk) for chunk in regroup(pieces, n_rows))

    @property
    def news(self) -> bool:
        """Whether there is anything to commit; certain once they are read."""
        return any(stretch.news for _, _, stretch in self.parts)

    def follows(self, batches: list[Batch]) -> bool:
        """Whether no batch since took messages of these streams: else they must be read again from behind it."""
        names = {spec.stream.name for spec, _, _ in self.parts}
        return not any(
            entry.get("stream") in names
            for batch in batches[self.number :]
            if batch.source == self.source.name
            for entry in batch.inputs
        )


def known_of(source: Description, stream: Stream, batches: list[Batch]) -> Known:
    """What the newest batch says of each partition of a stream."""
    return {
        entry["part"]: entry
        for batch in batches
        if batch.source == source.name
        for entry in batch.inputs
        if entry.get("stream") == stream.name
    }


def chunks(spec: Events, reader: Reader, stretch: Stretch, used: list[str]) -> Iterator[Chunk]:
    """The rows of a stretch; a message without content is no row, as a blank line is none."""
    name, kept = f"{spec.stream.name}/{stretch.part}", kept_fields(spec, "jsonl")
    for messages in reader.read(stretch):
        chunk = jsonl_chunk(name, messages.values, messages.numbers, used, kept)
        chunk.marks = chunk.lines.tolist()
        if messages.marks is not None:
            mark_of = dict(zip(messages.numbers, messages.marks, strict=True))
            chunk.marks = [mark_of[number] for number in chunk.marks]
        stretch.messages += len(messages.values)
        stretch.rows += chunk.n_read
        stretch.bytes += sum(map(len, messages.values))
        yield chunk


def entry_of(stream: Stream, stretch: Stretch, source: Description) -> dict:
    told = {"stream": stream.name, "part": stretch.part, "first": stretch.first, "last": stretch.last} | stretch.told
    counts = {"messages": stretch.messages, "rows": stretch.rows, "bytes": stretch.bytes}
    lasting = {name: value for name, value in told.items() if name != "until"}  # when, and not what
    name = {"name": f"{stream.name}/{stretch.part}", "hash": content_hash(lasting)}
    return name | told | counts | {"description": source.content_hash}
