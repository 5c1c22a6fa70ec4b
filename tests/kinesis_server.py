"""An emulator of Kinesis (moto's server) for the tests of a module, and data streams of it."""

import boto3
import pytest
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer

REGION = "us-east-1"
SPACE = 2**128  # of the hash keys


@pytest.fixture(scope="module")
def kinesis_server():
    """Its endpoint. Any keys are good, or those of an emulated S3 in the same process."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


class DataStream:
    """A data stream of a test's own."""

    def __init__(self, endpoint: str, name: str, shards: int):
        self.client = boto3.client("kinesis", endpoint_url=endpoint, region_name=REGION)
        self.name, self.shards = name, shards
        self.client.create_stream(StreamName=name, ShardCount=shards)

    def send(self, *lines: bytes, shard: int = 0) -> None:
        """Write records that belong to one of the shards it was made with."""
        key = str(SPACE // self.shards * shard)
        records = [{"Data": line, "PartitionKey": "x", "ExplicitHashKey": key} for line in lines]
        for start in range(0, len(records), 500):
            self.client.put_records(StreamName=self.name, Records=records[start : start + 500])

    def deal(self, lines: list[bytes]) -> None:
        """Every other record to the other of two shards."""
        for shard in (0, 1):
            self.send(*lines[shard::2], shard=shard)

    @property
    def emulated(self):
        return get_backend("kinesis")[DEFAULT_ACCOUNT_ID][REGION].streams[self.name]

    def split(self, shard: str, at: int) -> None:
        """Split a shard as Kinesis does: its records stay, new ones go to its children. The emulator differs."""
        parent = self.emulated.shards[shard]
        records = parent.records.copy()
        self.client.split_shard(StreamName=self.name, ShardToSplit=shard, NewStartingHashKey=str(at))
        parent.records, parent.starting_hash, parent.ending_hash = records, 0, 0
        for child in (child for child in self.emulated.shards.values() if child.parent == shard):
            child.records.clear()

    def close(self) -> None:
        self.client.delete_stream(StreamName=self.name)
        self.client.close()
