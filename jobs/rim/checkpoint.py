"""What tidying made of the batches so far, in one object: they themselves, and the files theirs were merged into."""

import gzip
from dataclasses import asdict, dataclass

import orjson

from jobs.rim.manifest import Batch, DataFile, from_record

FOLDER = "checkpoints"
LEVEL = 6  # of gzip: manifests say the same words over and over


@dataclass(frozen=True)
class Stored:
    """A file of a raw table, and how many rows of which batch it holds, in the order they lie; events say that in their
    own column once they are merged, and have no ``runs`` then.
    """

    file: DataFile
    runs: list[tuple[int, int]]


@dataclass(frozen=True)
class Checkpoint:
    """``batches`` 1..snapshot; ``merged`` files by table; ``replaced``: path of a file nobody reads any more, when it
    was replaced (ISO).
    """

    number: int
    created_at: str
    batches: list[Batch]
    merged: dict[str, list[Stored]]
    replaced: dict[str, str]

    @property
    def snapshot(self) -> int:
        return len(self.batches)

    def commit(self, store) -> bool:
        """Write it; False when another was made meanwhile under its number."""
        return store.put_if_absent(key_of(self.number), gzip.compress(orjson.dumps(asdict(self)), LEVEL, mtime=0))


def key_of(number: int) -> str:
    return f"{FOLDER}/{number:010d}.json.gz"


def newest_checkpoint(store) -> Checkpoint | None:
    """The one of the highest number; None where nothing was ever tidied."""
    while keys := store.list(FOLDER):
        if (data := store.get(keys[-1])) is not None:  # else a newer one was made, and this one removed
            return from_bytes(data)
    return None


def from_bytes(data: bytes) -> Checkpoint:
    record = orjson.loads(gzip.decompress(data))
    batches = [from_record(Batch, batch) for batch in record["batches"]]
    merged = {
        table: [Stored(DataFile(**one["file"]), [(number, rows) for number, rows in one["runs"]]) for one in files]
        for table, files in record["merged"].items()
    }
    return Checkpoint(record["number"], record["created_at"], batches, merged, record["replaced"])
