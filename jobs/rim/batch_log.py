"""The numbered batches: what was committed, in order, and where its rows are by now.

A checkpoint holds all batches up to one in a single object, and the files that small ones were merged into. It changes
no reader's rows: it is read in the place of what it replaces, at any snapshot.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from jobs.rim.checkpoint import Checkpoint, Stored, newest_checkpoint
from jobs.rim.errors import UsageError
from jobs.rim.manifest import Batch, decode, encode

READ_THREADS = 8


@dataclass
class BatchLog:
    """Batches never change, so each is read once; one object looks at one checkpoint all its life."""

    store: object
    _known: list[Batch] = field(default_factory=list)
    _checkpoint: Checkpoint | None = None
    _looked: bool = False

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The newest when it was first asked for; None before any was made."""
        if not self._looked:
            self._checkpoint, self._looked = newest_checkpoint(self.store), True
        return self._checkpoint

    def batches(self, snapshot: int | None = None) -> list[Batch]:
        """Batches 1..snapshot in order (all when None).

        Raises:
            UsageError: the snapshot is below 0 or newer than the lake.
        """
        if snapshot is None or not 0 <= snapshot <= len(self._known):
            self.catch_up()
        if snapshot is not None and not 0 <= snapshot <= len(self._known):
            raise UsageError(f"there is no snapshot {snapshot}: the lake has {len(self._known)} batches")
        return self._known[:snapshot]

    def catch_up(self) -> None:
        """Read the batches that came since."""
        known = self._known or (self.checkpoint.batches if self.checkpoint else [])
        keys = self.store.list("batches", after=batch_key(len(known)))
        with ThreadPoolExecutor(READ_THREADS) as pool:
            self._known = [*known, *(decode(Batch, data) for data in pool.map(self.store.get, keys))]

    def newest(self) -> int:
        """Number of the newest batch; 0 for an empty lake."""
        keys = self.store.list("batches", after=batch_key(len(self._known)))
        return int(keys[-1].rpartition("/")[2].removesuffix(".json")) if keys else len(self._known)

    def commit(self, batch: Batch) -> bool:
        """See ``Lake.commit_batch``."""
        if batch.number > 1 and self.store.get(batch_key(batch.number - 1)) is None:
            raise ValueError(f"batch {batch.number} after {self.newest()} batches; numbers leave no gaps")
        return self.store.put_if_absent(batch_key(batch.number), encode(batch))

    def stored(self, table: str, snapshot: int) -> list[Stored]:
        """The files with a table's rows of batches 1..snapshot; of those merged, rows of later ones may lie beside."""
        batches, made = self.batches(snapshot), self.checkpoint
        merged = made.merged.get(table, []) if made else []
        gone = made.replaced if made else {}
        own = [
            Stored(file, [(batch.number, file.rows)])
            for batch in batches
            for file in batch.files.get(table, ())
            if file.path not in gone
        ]
        return [*merged, *own]

    def unseen(self, snapshot: int) -> frozenset[str]:
        """Ids of batches after the snapshot that merged files may hold rows of."""
        made = self.checkpoint
        return frozenset(batch.batch_id for batch in made.batches[snapshot:]) if made else frozenset()


def batch_key(number: int) -> str:
    return f"batches/{number:010d}.json"
