"""What lies in the lake and belongs to nothing: attempts that died or lost a race, files that were replaced.

Files are listed before the manifests are read, so that whatever is committed in between is named; and an attempt goes
as a whole, by its youngest file, so that one that is still being written stays.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from jobs.rim.aged import Aged
from jobs.rim.lake import Lake
from jobs.rim.manifest import Manifest, decode, iso
from schemas.tables import TABLES

COMMITS = ("batches", "manifests", "checkpoints", "retired", "gate", "reports", "releases", "generations")
RETIRED = "retired"  # manifests of runs nobody needs; their files stay as long again as any other garbage
READ_THREADS = 8


@dataclass(frozen=True)
class Garbage:
    """Keys that go first, and those that go when none of the first is left: what says that they may go."""

    files: list[Aged]
    last: list[Aged]

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in (*self.files, *self.last))

    def __len__(self) -> int:
        return len(self.files) + len(self.last)


def find_garbage(lake: Lake, before: datetime) -> Garbage:
    """What nothing names, and nobody has touched since a moment."""
    found = {folder: lake.store.aged(folder) for folder in (*TABLES, *COMMITS)}
    needed = named(lake, before, found[RETIRED])
    data = [one for table in TABLES for one in found[table]]
    youngest: dict[str, datetime] = {}
    for one in data:
        attempt = attempt_of(one.key)
        youngest[attempt] = max(one.modified, youngest.get(attempt, one.modified))
    files = [one for one in data if owner(one.key) not in needed and youngest[attempt_of(one.key)] < before]
    halves = [one for folder in COMMITS for one in found[folder] if is_half(one.key) and one.modified < before]
    retired = [one for one in found[RETIRED] if not is_half(one.key) and one.modified < before]
    return Garbage([*files, *halves, *old_checkpoints(found["checkpoints"], before)], retired)


def old_checkpoints(found: list[Aged], before: datetime) -> list[Aged]:
    """All but the newest."""
    whole = sorted(one for one in found if not is_half(one.key))
    return [one for one in whole[:-1] if one.modified < before]


def remove(lake: Lake, garbage: Garbage, before: datetime) -> None:
    """Killed half-way, the next one finds the rest."""
    lake.store.delete([one.key for one in garbage.files])
    lake.store.delete([one.key for one in garbage.last])
    for folder in (*TABLES, *COMMITS):
        lake.store.remove_empty_folders(folder, before)


def named(lake: Lake, before: datetime, retired: Iterable[Aged]) -> set[str]:
    """Paths of all files somebody may read: of batches, of what they were merged into, of runs."""
    fresh = [one.key for one in retired if one.modified >= before and not is_half(one.key)]
    return {*batch_files(lake, before), *run_files(lake, [*lake.store.walk("manifests"), *fresh])}


def batch_files(lake: Lake, before: datetime) -> Iterator[str]:
    """Those of batches and checkpoint, without what was replaced before a moment."""
    made = lake.log.checkpoint
    replaced = made.replaced if made else {}
    gone = {path for path, moment in replaced.items() if moment < iso(before)}
    yield from replaced.keys() - gone
    for files in (files for batch in lake.batches() for files in batch.files.values()):
        yield from (file.path for file in files if file.path not in gone)
    for stored in (stored for files in (made.merged.values() if made else ()) for stored in files):
        yield stored.file.path


def run_files(lake: Lake, keys: list[str]) -> Iterator[str]:
    """Those of the runs whose manifests lie under some keys."""
    with ThreadPoolExecutor(READ_THREADS) as pool:
        for data in pool.map(lake.store.get, keys):
            manifest: Manifest | None = decode(Manifest, data) if data else None  # retired meanwhile
            for files in manifest.files.values() if manifest else ():
                yield from (file.path for file in files)


def owner(key: str) -> str:
    """The file a key belongs to: Hadoop writes the checksum of ``part`` beside it as ``.part.crc``."""
    folder, _, name = key.rpartition("/")
    return f"{folder}/{name[1:-4]}" if name.startswith(".") and name.endswith(".crc") else key


def attempt_of(key: str) -> str:
    """What one writer wrote in one go: a folder below a computed table's version, or files of one stem."""
    parts = key.split("/")
    if len(parts) > 4 and parts[1].startswith("as_of="):
        return "/".join(parts[:4])
    return parts[-1].rpartition("-")[0] or key


def is_half(key: str) -> bool:
    """Whether it is a commit on its way (``FileStore.put_if_absent``)."""
    return key.rpartition("/")[2].startswith(".")
