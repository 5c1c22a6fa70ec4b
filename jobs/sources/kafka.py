"""Reads a topic of Kafka by offsets, one partition after the other, as a consumer that belongs to no group."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from conf.settings import Kafka as KafkaSettings
from jobs.rim.errors import TemporaryError, UsageError
from jobs.sources.layout import Stream
from jobs.sources.streams import Known, Messages, Stretch

try:
    from confluent_kafka import (
        Consumer,
        IsolationLevel,
        KafkaError,
        KafkaException,
        Message,
        TopicCollection,
        TopicPartition,
    )
    from confluent_kafka.admin import AdminClient, OffsetSpec
except ImportError:
    raise UsageError("to read Kafka install confluent-kafka, as nightshelf[kafka] does") from None

AT_ONCE = 20_000  # messages asked for at a time
PATIENCE_S = 0.25  # fewer come where a transaction or a compaction left gaps: do not wait long for what is not there
NO_GROUP = "nightshelf"  # librdkafka wants a name; nothing is ever committed under it
FIXED = {  # what exactly once rests on
    "group.id": NO_GROUP,
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
}


class Topic:
    """One topic; its end is where it ended when it was first asked."""

    def __init__(self, stream: Stream, settings: KafkaSettings, accept_loss: bool):
        self.stream, self.settings, self.accept_loss = stream, settings, accept_loss
        self.more = False
        self.troubles: list[KafkaError] = []
        self.ends: dict[int, int] = {}  # behind the last message: when first asked
        self.now: dict[int, int] = {}  # and when last asked
        if not settings.servers:
            raise UsageError(f"{stream.name}: kafka.servers is empty; set it to host:port of your brokers")
        options = {name: value.get_secret_value() for name, value in settings.options.items()}
        options |= {"bootstrap.servers": settings.servers, "error_cb": self.troubles.append}
        options.setdefault("log_level", "0")  # what librdkafka would say on stderr is told in our own errors
        with self.trouble():
            self.admin, self.consumer = AdminClient(options), Consumer(options | FIXED)

    def close(self) -> None:
        self.consumer.close()

    def ahead(self, known: Known, most: int) -> list[Stretch]:
        """The stretches behind what is known, of each partition its share of ``most``."""
        topic, starts = self.look(known)
        wanted = {p: self.first_of(p, start, known, topic) for p, start in starts.items() if p in self.ends}
        waiting = {p: max(self.ends[p] - first, 0) for p, (first, _) in wanted.items()}
        total = sum(waiting.values())
        self.more = total > most
        stretches = []
        for p, (first, told) in sorted(wanted.items()):
            share = waiting[p] if not self.more else min(waiting[p], max(1, most * waiting[p] // total))
            if share or told or str(p) not in known:
                stretches.append(Stretch(str(p), first, first + share - 1, {"id": topic} | told))
        return stretches

    def look(self, known: Known) -> tuple[str, dict[int, int]]:
        """The topic's own id, and the first offset each partition can be read from."""
        with self.trouble():
            found = self.admin.describe_topics(TopicCollection([self.stream.kafka]), request_timeout=self.patience)
            topic = found[self.stream.kafka].result()
        partitions = [partition.id for partition in topic.partitions]
        self.now = self.offsets(partitions, OffsetSpec.latest())
        self.ends = self.ends or self.now
        starts = self.offsets(partitions, OffsetSpec.earliest())
        if not known and self.stream.start != "earliest":
            at = self.offsets(partitions, OffsetSpec.for_timestamp(int(self.stream.start.timestamp() * 1000)))
            starts = {p: self.ends.get(p, starts[p]) if at[p] < 0 else at[p] for p in partitions}
        return str(topic.topic_id), starts

    def offsets(self, partitions: list[int], at: OffsetSpec) -> dict[int, int]:
        """Of each partition the offset at a place of it; nothing of a transaction that is still open counts."""
        asked = {TopicPartition(self.stream.kafka, p): at for p in partitions}
        level = IsolationLevel.READ_COMMITTED
        with self.trouble():
            told = self.admin.list_offsets(asked, isolation_level=level, request_timeout=self.patience)
            return {place.partition: future.result().offset for place, future in told.items()}

    def first_of(self, partition: int, start: int, known: Known, topic: str) -> tuple[int, dict]:
        """Where to go on, and what was lost on the way there.

        Raises:
            UsageError: messages are gone that were never read, and nobody said to go on without them.
        """
        before = known.get(str(partition))
        if not known:
            return start, {}
        where = f"{self.stream.name}/{partition}"
        if before and (before["id"] != topic or self.now[partition] <= before["last"]):
            what = f"not the topic that was read up to offset {before['last']}: made anew, or another cluster's"
            return self.lose(start, {"anew": before["id"]}, f"{where}: {what}")
        wanted = before["last"] + 1 if before else 0
        if start <= wanted:
            return wanted, {}
        what = f"offsets {wanted} to {start - 1} were deleted before they were read"
        return self.lose(start, {"lost": [wanted, start - 1]}, f"{where}: {what}")

    def lose(self, start: int, told: dict, what: str) -> tuple[int, dict]:
        if not self.accept_loss:
            raise UsageError(f"{what}; --accept-loss goes on at offset {start}, and the batch tells what was lost")
        print(f"warning: {what}; going on at offset {start}")
        return start, told

    def read(self, stretch: Stretch) -> Iterator[Messages]:
        """The messages at offsets ``first`` to ``last``; fewer where a transaction or a compaction left gaps."""
        at, end = stretch.first, stretch.last + 1
        if at == end:
            return
        self.consumer.assign([TopicPartition(self.stream.kafka, int(stretch.part), at)])
        heard = time.monotonic()
        while at < end:
            with self.trouble():
                got = self.consumer.consume(min(AT_ONCE, end - at), PATIENCE_S)
            if got:
                heard = time.monotonic()
                notes = [message for message in got if message.error() is not None]
                self.check(notes)
                plain = not notes and got[-1].offset() < end
                messages = got if plain else [m for m in got if m.error() is None and m.offset() < end]
                yield Messages([m.value() or b"" for m in messages], [m.offset() + 1 for m in messages])
                at = got[-1].offset() + (got[-1].error() is None)
            elif time.monotonic() - heard > self.patience:
                where = f"{self.stream.name}/{stretch.part}"
                raise TemporaryError(f"{where}: no message from offset {at} in {self.patience} s{self.heard_of()}")
        self.consumer.unassign()

    def check(self, notes: list[Message]) -> None:
        """Raise what failed; that a partition ended at a note's offset is no failure."""
        for error in (note.error() for note in notes):
            if error.code() != KafkaError._PARTITION_EOF:
                with self.trouble():
                    raise KafkaException(error)

    @property
    def patience(self) -> int:
        return self.settings.timeout_s

    def heard_of(self) -> str:
        self.admin.poll(0)
        return f" ({self.troubles[-1].str()})" if self.troubles else ""

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """Kafka's errors as ours: what it refuses is a wrong setting or a missing topic, all else is temporary."""
        try:
            yield
        except KafkaException as error:
            known = error.args[0]
            heard = self.heard_of() if hasattr(self, "admin") else ""
            kind = UsageError if FINAL.intersection(e.code() for e in (known, *self.troubles)) else TemporaryError
            told = f"{self.stream.name}: {known.str()}{heard}; kafka.servers = {self.settings.servers}"
            raise kind(told) from None


FINAL = {
    KafkaError._INVALID_ARG,
    KafkaError._AUTHENTICATION,
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
