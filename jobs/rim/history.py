"""What was published, as the lake remembers it, for a Redis that lost everything: nothing is computed or counted anew.

releases/<namespace>/<epoch>.json    a release, written just before it goes live (a publisher that dies in between
                                     leaves one that never was); epochs are used once, whatever Redis forgets
generations/<generation>.json        what a generation was made of, written before it is loaded, the gate having
                                     passed it
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import orjson

from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.lake import Lake
from jobs.rim.manifest import Manifest
from schemas.keys import GENERATION
from schemas.release import Release, from_json


@dataclass(frozen=True)
class Run:
    """Where a manifest is found: its job, ``as_of`` and version."""

    job: str
    as_of: str
    version: str

    @classmethod
    def of(cls, manifest: Manifest) -> "Run":
        return cls(manifest.job, manifest.as_of, manifest.version)

    def manifest(self, lake: Lake) -> Manifest:
        """Raises:
        TemporaryError: it is not in the lake.
        """
        found = lake.manifest(self.job, datetime.fromisoformat(self.as_of), self.version)
        if found is None:
            raise TemporaryError(f"the run {self.version} of {self.job} as of {self.as_of} is not in the lake any more")
        return found


@dataclass(frozen=True)
class Origin:
    """All that is needed to pack a generation again: its tables' runs, the snapshot its catalogue is read at."""

    generation: str
    surface: str
    as_of: str
    generated_at: str
    dictionary: int
    key_version: int
    snapshot: int
    runs: Mapping[str, Run]  # by table

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, raw: bytes) -> "Origin":
        value = orjson.loads(raw)
        return cls(**value | {"runs": {table: Run(**run) for table, run in value["runs"].items()}})


class History:
    """The releases of one namespace and all generations, in one lake."""

    def __init__(self, lake: Lake, namespace: str):
        self.lake, self.folder = lake, f"releases/{namespace}"

    def epochs(self) -> list[int]:
        """All that were used, rising."""
        return [int(key.rpartition("/")[2].removesuffix(".json")) for key in self.lake.store.list(self.folder)]

    def newest(self) -> Release | None:
        """The release with the highest epoch; None where nothing was ever published.

        Raises:
            TemporaryError: this version does not understand it.
        """
        epochs = self.epochs()
        if not epochs:
            return None
        key = self.key(epochs[-1])
        try:
            return from_json(self.lake.store.get(key))
        except ValueError as error:
            raise TemporaryError(f"{key} cannot be read: {error}; publish with the version that wrote it") from None

    def claim(self, release: Release) -> Release:
        """Write a release under its epoch, or the next one nobody has used; returns it with that epoch."""
        epoch = max(release.epoch, *self.epochs()[-1:], 0)
        while True:
            named = replace(release, epoch=epoch)
            if self.lake.store.put_if_absent(self.key(epoch), named.to_json()):
                return named
            epoch += 1

    def key(self, epoch: int) -> str:
        return f"{self.folder}/{epoch:010d}.json"

    def remember(self, origin: Origin) -> None:
        """Write down what a generation is made of; the first to say so counts: equal ids are equal data."""
        self.lake.store.put_if_absent(generation_key(origin.generation), origin.to_json())

    def origin(self, generation: str) -> Origin:
        """What a generation is made of.

        Raises:
            UsageError: no such id, or nobody published it out of this lake.
        """
        found = self.find(generation)
        if found is None:
            raise UsageError(f"no generation {generation!r} in the lake: `nightshelf generations` lists them")
        return found

    def find(self, generation: str) -> Origin | None:
        """As ``origin``; None where nobody published it out of this lake."""
        raw = self.lake.store.get(generation_key(generation)) if GENERATION.fullmatch(generation) else None
        return None if raw is None else Origin.from_json(raw)

    def generations(self) -> list[str]:
        """Ids of all generations that were published out of this lake, by surface, then by ``as_of``."""
        return [key.rpartition("/")[2].removesuffix(".json") for key in self.lake.store.list("generations")]


def generation_key(generation: str) -> str:
    return f"generations/{generation}.json"
