"""One generation on its way into Redis: packed and sent by several loaders at once, then read back the same way."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import groupby, islice

import numpy as np
import redis
from redis.crc import key_slot

from conf.settings import Publish
from jobs.kernels.cluster_slots import slots_of
from jobs.rim.carrier import Carrier, Receipt
from jobs.rim.parcels import Life, UserRows, parcel_of_pairs
from jobs.rim.progress import Progress
from jobs.rim.read_back import ReadBack
from jobs.rim.roads import Roads
from jobs.rim.side_by_side import Shared, side_by_side
from jobs.rim.slate_files import SlateFiles
from schemas.keys import Keys, tag_of

Pair = tuple[str, bytes]


class Shipment:
    """Loads one generation; memory: a record batch and a few parcels of ``pipeline_keys`` keys for each loader."""

    def __init__(
        self, client: redis.Redis, keys: Keys, generation: str, settings: Publish, heartbeat: Callable[[], None]
    ):
        self.roads, self.keys, self.generation, self.settings = Roads(client), keys, generation, settings
        self.tag, self.life, self.heartbeat = tag_of(generation), Life.of_days(settings.ttl_days), heartbeat
        self.numbers = itertools.count()  # of lists: its next() is one step, for all threads

    def carrier(self) -> Carrier:
        return Carrier(self.roads, self.keys, self.tag, self.life, self.numbers)

    def pairs(self, entries: Iterable[Pair]) -> list[Receipt]:
        """Send keys and values batch by batch; each is acknowledged before the next is asked for."""
        receipts = []
        with closing(self.carrier()) as carrier, closing(Progress(self.generation, 0)) as progress:
            for batch in batched(entries, self.settings.pipeline_keys):
                self.heartbeat()
                for owner, mine in self.by_owner(batch):
                    receipts.append(carrier.carry(parcel_of_pairs(mine, self.life), owner))
                carrier.settle()
                progress.add(len(batch))
        return receipts

    def by_owner(self, batch: list[Pair]) -> Iterator[tuple[int, list[Pair]]]:
        if not self.roads.many:
            yield 0, batch
            return
        owned = [(int(self.roads.owner_of_slot[key_slot(pair[0].encode())]), pair) for pair in batch]
        for owner, mine in groupby(sorted(owned, key=lambda one: one[0]), key=lambda one: one[0]):
            yield owner, [pair for _, pair in mine]

    def slates(self, files: SlateFiles) -> list[Receipt]:
        """Send the slates of all parts, several at once."""
        receipts: list[Receipt] = []  # appending is one step
        with closing(Progress(self.generation, files.n_rows)) as progress:

            def work(parts: Shared) -> None:
                with closing(self.carrier()) as carrier:
                    for part in parts:
                        for batch in files.batches(part):
                            for rows, owner, users in self.parcels(batch):
                                parts.go_on()
                                receipts.append(carrier.carry(users.parcel(rows, self.life), owner))
                                progress.add(len(rows))
                    carrier.settle()

            side_by_side(files.parts(), work, self.settings.connections, self.heartbeat)
        return receipts

    def parcels(self, batch) -> Iterator[tuple[np.ndarray, int, UserRows]]:
        """Which rows of a record batch go together, to whom: by slices, so that a slot that moved is noticed soon."""
        users, size = UserRows(batch, self.keys, self.tag), self.settings.pipeline_keys
        if not self.roads.many:
            for first in range(0, len(users), size):
                yield np.arange(first, min(first + size, len(users))), 0, users
            return
        slots = slots_of(users.names, users.name_begins, b"u:")
        for first in range(0, len(users), size):
            owners = self.roads.owner_of_slot[slots[first : first + size]]
            for owner in np.unique(owners).tolist():
                yield first + np.flatnonzero(owners == owner), owner, users

    def found(self, receipts: list[Receipt]) -> int:
        """How many keys of what was sent are there; raises TemporaryError when a value is another."""
        counts: list[int] = []

        def work(mine: Shared) -> None:
            with closing(ReadBack(self.roads, self.keys, self.tag)) as reading:
                for receipt in mine:
                    counts.append(reading.found(receipt))

        side_by_side(receipts, work, min(self.settings.connections, max(1, len(receipts))), self.heartbeat)
        return sum(counts)


def batched(entries: Iterable[Pair], size: int) -> Iterator[list[Pair]]:
    source = iter(entries)
    while batch := list(islice(source, size)):
        yield batch
