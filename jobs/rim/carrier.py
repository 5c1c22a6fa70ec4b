"""Carries parcels to the servers that own their keys, the list of a parcel's keys before the keys themselves."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import redis

from jobs.rim.errors import TemporaryError
from jobs.rim.link import ATTEMPTS, Link, Moved, Sent, pause_of
from jobs.rim.parcels import Life, Parcel, set_command
from jobs.rim.roads import Roads
from schemas.keys import Keys


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was sent under one list of keys: its number, and what reading the keys back must give."""

    number: int
    n_keys: int
    n_bytes: int
    n_answer: int
    crc32: int


class Carrier:
    """For one thread: a connection to each server it had to do with. ``numbers`` counts lists, for all threads."""

    def __init__(self, roads: Roads, keys: Keys, tag: str, life: Life, numbers: Iterator[int]):
        self.roads, self.keys, self.tag, self.life, self.numbers = roads, keys, tag, life, numbers
        self.links: dict[int, Link] = {}

    def carry(self, parcel: Parcel, owner: int) -> Receipt:
        """Send one parcel; its replies are read with those of the next, or by ``settle``. Raises as ``Link.send``."""
        number = next(self.numbers)
        index = self.keys.index(self.tag, number)
        if self.roads.many:  # the list has another owner than its keys: it is there before they are sent
            self.through_client([set_command(index.encode(), parcel.names, self.life.longest_s)])
            self.guarded(owner, lambda link: link.send((parcel.commands,), parcel.n_keys))
        else:
            head = set_command(index.encode(), parcel.names, self.life.longest_s)
            self.guarded(owner, lambda link: link.send((head, parcel.commands), parcel.n_keys + 1))
        return Receipt(number, parcel.n_keys, parcel.n_bytes, parcel.n_answer, parcel.crc32)

    def settle(self) -> None:
        """Wait for all replies."""
        for owner in list(self.links):
            self.guarded(owner, Link.settle)

    def guarded(self, owner: int, work) -> None:
        try:
            work(self.link(owner))
        except Moved as moved:
            self.roads.refresh()
            for sent in moved.waiting:
                self.through_client(self.commands_of(sent))

    def link(self, owner: int) -> Link:
        if owner not in self.links:
            self.links[owner] = Link(
                lambda: self.roads.connection(owner),
                lambda connection: self.roads.give_back(owner, connection),
                stays=not self.roads.many,
            )
        return self.links[owner]

    @staticmethod
    def commands_of(sent: Sent) -> list[bytes]:
        return [bytes(part) for part in sent.commands]

    def through_client(self, streams: list[bytes]) -> None:
        """Send SETs one by one through the Cluster's client, which follows slots wherever they go meanwhile."""
        for attempt in range(ATTEMPTS):
            try:
                pipe = self.roads.client.pipeline(transaction=False)
                for stream in streams:
                    for key, value, ttl in sets_of(stream):
                        pipe.set(key, value, ex=int(ttl))
                if not all(pipe.execute()):
                    raise TemporaryError("Redis did not answer OK to all SETs; what was live still is")
                return
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, redis.exceptions.ClusterError):
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(pause_of(attempt))
                self.roads.refresh()

    def close(self) -> None:
        for link in self.links.values():
            link.close()


def sets_of(stream: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Key, value and TTL of each ``SET key value EX ttl`` of a stream."""
    at = 0
    while at < len(stream):
        words, at = [], stream.index(b"\n", at) + 1
        for _ in range(5):
            line = stream.index(b"\r\n", at)
            begin = line + 2
            at = begin + int(stream[at + 1 : line]) + 2
            words.append(stream[begin : at - 2])
        yield words[1], words[2], words[4]
