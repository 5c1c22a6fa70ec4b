"""A real Kafka broker for the tests of a module, and what they ask of it."""

import uuid

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from conftest import NEED

from benchmarks.broker import JARS, Broker


@pytest.fixture(scope="module")
def kafka():
    """A broker without topics."""
    if not JARS.is_dir():
        pytest.skip(NEED.format(what="the jars of a Kafka broker", command="make kafka"))
    broker = Broker()
    yield broker
    broker.close()


class Topic:
    """A topic of a test's own."""

    def __init__(self, broker: Broker, partitions: int = 1, **config: str):
        self.name, self.broker = f"events-{uuid.uuid4().hex[:8]}", broker
        self.admin = AdminClient({"bootstrap.servers": broker.servers})
        self.create(partitions, **config)

    def create(self, partitions: int, **config: str) -> None:
        settings = {name.replace("_", "."): value for name, value in config.items()}
        self.done(self.admin.create_topics([NewTopic(self.name, partitions, 1, config=settings)]))

    def grow(self, partitions: int) -> None:
        self.done(self.admin.create_partitions([NewPartitions(self.name, partitions)]))

    def remove(self) -> None:
        self.done(self.admin.delete_topics([self.name]))

    def cut(self, partition: int, offset: int) -> None:
        """Delete what lies before an offset, as retention does."""
        self.done(self.admin.delete_records([TopicPartition(self.name, partition, offset)]))

    @staticmethod
    def done(futures: dict) -> None:
        for future in futures.values():
            future.result(30)

    def send(self, *lines: bytes | None, partition: int = 0, **options: str) -> None:
        """Write messages and wait until the broker has them."""
        producer = Producer({"bootstrap.servers": self.broker.servers, "linger.ms": 5} | options)
        for line in lines:
            while True:
                try:
                    producer.produce(self.name, line, partition=partition)
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(60) == 0

    def deal(self, lines: list[bytes]) -> None:
        """Every other message to the other of two partitions."""
        for partition in (0, 1):
            self.send(*lines[partition::2], partition=partition)
