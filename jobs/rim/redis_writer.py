"""The one place that writes Redis: loads a generation or a catalogue, reads back what it wrote.

Every load leaves its trace before its first key: a field of ``{ctl}:loads``, then, ahead of each parcel of keys, a list
of them (``{g:<tag>}:<k>``, see ``key_lists``). So any later run can unlink whatever no release names, without SCAN and
without the lake, however the loader died.
"""

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256

import orjson
import redis

from conf.settings import Publish
from jobs.rim.carrier import Receipt
from jobs.rim.errors import TemporaryError
from jobs.rim.replicas import wait_for_replicas
from jobs.rim.roads import Roads
from jobs.rim.shipment import Shipment
from jobs.rim.slate_files import SlateFiles
from schemas.keys import Keys
from schemas.release import CatalogueRelease

CHUNK_BYTES = 1 << 20
SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one load wrote: keys, bytes of values, and the CRC-32 of its parcels' CRC-32s, sorted."""

    n_keys: int
    n_bytes: int
    crc32: int
    receipts: tuple[Receipt, ...] = ()


class Writer:
    """Loads and verifies; keeps a few parcels of keys in memory for each of its connections.

    ``heartbeat`` is called before each batch, or twice a second; what it raises stops the writer there.
    """

    def __init__(
        self, client: redis.Redis, keys: Keys, settings: Publish, heartbeat: Callable[[], None] = lambda: None
    ):
        self.client, self.keys, self.settings, self.heartbeat = client, keys, settings, heartbeat

    def load(self, generation: str, entries: Iterable[tuple[str, bytes]] | SlateFiles) -> Loaded:
        """Write all entries of a generation (one after another, or slates side by side), then read them all back.

        Raises:
            TemporaryError: a reply was not OK, or what Redis gives back is not what was written.
            ValueError: a slate cannot be packed.
        """
        self.client.hset(self.keys.loads, generation, orjson.dumps({"state": "loading"}))
        shipment = Shipment(self.client, self.keys, generation, self.settings, self.heartbeat)
        receipts = shipment.slates(entries) if isinstance(entries, SlateFiles) else shipment.pairs(entries)
        self.verify(generation, receipts)
        loaded = summed(receipts)
        state = {"state": "loaded", "n_keys": loaded.n_keys, "n_bytes": loaded.n_bytes, "crc32": loaded.crc32}
        self.client.hset(self.keys.loads, generation, orjson.dumps(state | {"n_chunks": len(receipts)}))
        return loaded

    def verify(self, generation: str, receipts: Iterable[Receipt]) -> None:
        """Read back the keys of these receipts: their number, and the length and CRC-32 of all values.

        Raises:
            TemporaryError: a key is missing, or not as written.
        """
        receipts = list(receipts)
        shipment = Shipment(self.client, self.keys, generation, self.settings, self.heartbeat)
        n_keys, found = sum(receipt.n_keys for receipt in receipts), shipment.found(receipts)
        if found != n_keys:
            raise TemporaryError(f"{generation}: {n_keys:,} keys written, {found:,} found; nothing was switched")

    def recheck(self, generation: str, loaded: Loaded) -> None:
        """As ``verify``, of as few lists, evenly chosen, as hold ``verify_sample`` keys: for after a fail-over."""
        wanted = max(1, -(-self.settings.verify_sample * len(loaded.receipts) // max(1, loaded.n_keys)))
        step = max(1, len(loaded.receipts) // wanted)
        self.verify(generation, loaded.receipts[::step])

    def settled(self, n_replicas: int, timeout_s: float) -> None:
        """Wait until that many replicas of each server have all that was written so far.

        Raises:
            TemporaryError: they have not within ``timeout_s``.
        """
        wait_for_replicas(Roads(self.client), self.keys, n_replicas, timeout_s)

    def load_catalogue(self, packed: bytes, n_items: int, dictionary: int, as_of: str) -> CatalogueRelease:
        """Write the chunks of a packed catalogue and read them all back."""
        sha = sha256(packed).hexdigest()
        parts = [packed[at : at + CHUNK_BYTES] for at in range(0, len(packed), CHUNK_BYTES)]
        self.client.hset(self.keys.loads, f"catalogue:{sha}", orjson.dumps({"n_chunks": len(parts)}))
        for number, part in enumerate(parts):
            self.client.set(self.keys.catalogue(sha, number), part, ex=self.settings.ttl_days * SECONDS_A_DAY)
        if any(self.client.get(self.keys.catalogue(sha, number)) != part for number, part in enumerate(parts)):
            raise TemporaryError(f"catalogue {sha[:12]} does not read back as written; nothing was switched")
        return CatalogueRelease(sha, len(parts), len(packed), n_items, dictionary, as_of)


def summed(receipts: list[Receipt]) -> Loaded:
    """In the order of their lists; the CRC does not depend on which loader was faster."""
    receipts = sorted(receipts, key=lambda receipt: receipt.number)
    crc = zlib.crc32(b"".join(b"%08x" % crc for crc in sorted(receipt.crc32 for receipt in receipts)))
    n_keys, n_bytes = sum(r.n_keys for r in receipts), sum(r.n_bytes for r in receipts)
    return Loaded(n_keys, n_bytes, crc, tuple(receipts))
