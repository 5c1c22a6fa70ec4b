"""Reads back what was loaded, all of it: each list's keys in one command, compared by length and CRC-32 alone."""

import zlib

import redis
from redis.crc import key_slot

from jobs.rim.carrier import Receipt
from jobs.rim.errors import TemporaryError
from jobs.rim.key_lists import read_names
from jobs.rim.link import BROKEN
from jobs.rim.roads import Roads
from schemas.keys import Keys

READ_BYTES = 1 << 18
PING, PONG = b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"  # the end of the answers, wherever a key is missing


class ReadBack:
    """For one thread: a connection to each server it had to do with."""

    def __init__(self, roads: Roads, keys: Keys, tag: str):
        self.roads, self.keys, self.tag = roads, keys, tag
        self.connections: dict[int, redis.Connection] = {}

    def found(self, receipt: Receipt) -> int:
        """How many keys of a list there are.

        Raises:
            TemporaryError: all are there, with other values than were written.
        """
        names = read_names(self.roads.client, self.keys, self.tag, receipt.number) or []
        if len(names) == receipt.n_keys and self.is_as_written(names, receipt):
            return len(names)
        return self.look_closely(names, receipt)

    def is_as_written(self, names: list[str], receipt: Receipt) -> bool:
        """Whether the answers have the wanted bytes; False also for a connection that broke."""
        owner = int(self.roads.owner_of_slot[key_slot(names[0].encode())]) if self.roads.many else 0
        head, command = get_commands(names) if self.roads.many else mget_command(names)
        wanted = len(head) + receipt.n_answer + len(PONG)
        try:
            answer = self.ask(owner, command + PING, wanted)
        except BROKEN:
            self.drop(owner)
            return False
        if len(answer) != wanted or zlib.crc32(memoryview(answer)[len(head) : -len(PONG)]) != receipt.crc32:
            self.drop(owner)  # where answers end is not certain any more
            return False
        return True

    def ask(self, owner: int, command: bytes, wanted: int) -> bytearray:
        if owner not in self.connections:
            self.connections[owner] = self.roads.connection(owner)
        connection, found = self.connections[owner], bytearray()
        connection.send_packed_command([command], check_health=False)
        while len(found) < wanted and not found.endswith(PONG):
            got = connection._sock.recv(READ_BYTES)
            if not got:
                raise redis.exceptions.ConnectionError("Connection closed by server.")
            found += got
        return found

    def look_closely(self, names: list[str], receipt: Receipt) -> int:
        """The same with the client's own means, which find a key wherever it is and tell what is missing."""
        pipe = self.roads.client.pipeline(transaction=False)
        for name in names:
            pipe.get(name)
        values = pipe.execute()
        n_found = sum(value is not None for value in values)
        if n_found < len(values) or len(values) != receipt.n_keys:
            return n_found
        answers = b"".join(b"$%d\r\n%b\r\n" % (len(value), value) for value in values)
        if len(answers) != receipt.n_answer or zlib.crc32(answers) != receipt.crc32:
            where = f"{names[0]} or one of the {len(names) - 1:,} keys after it"
            raise TemporaryError(f"{where} does not read back as written; nothing was switched")
        return n_found

    def drop(self, owner: int) -> None:
        if (connection := self.connections.pop(owner, None)) is not None:
            self.roads.give_back(owner, connection)

    def close(self) -> None:
        for owner in list(self.connections):
            self.drop(owner)


def words(names: list[str]) -> list[bytes]:
    coded = [name.encode() for name in names]
    return [b"$%d\r\n%b\r\n" % (len(name), name) for name in coded]


def mget_command(names: list[str]) -> tuple[bytes, bytes]:
    """What stands before the values in the answer, and the command."""
    return b"*%d\r\n" % len(names), b"*%d\r\n$4\r\nMGET\r\n%b" % (len(names) + 1, b"".join(words(names)))


def get_commands(names: list[str]) -> tuple[bytes, bytes]:
    """The same key by key: one command takes keys of one slot only in a Cluster."""
    return b"", b"".join(b"*2\r\n$3\r\nGET\r\n" + word for word in words(names))
