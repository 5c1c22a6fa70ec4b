"""Copies a worker holds of what is public: the memory-mapped catalogue, trending and the hottest lists, their release.

They live in ``serving.cache_dir`` too, each file complete or absent, so that a worker that starts while Redis is away
answers from them. Nobody's personal list is ever copied.
"""

import mmap
import os
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import orjson

from schemas.catalogue import Catalogue
from schemas.codec import Slate, unpack_list
from schemas.release import CatalogueRelease, Published, Release, from_json

COPY_NAME = "public.json"
LISTS_NAME = "neighbors.json"
COPY_VERSION = 1


class Trending(NamedTuple):
    """All trending lists of one generation, by segment."""

    generation: str
    generated_at: str
    lists: Mapping[str, Slate]
    packed: Mapping[str, bytes]


class Snapshot(NamedTuple):
    """What a request is answered from, from its first to its last line."""

    release: Release
    raw: bytes
    catalogue: Catalogue
    trending: Trending | None


def trending_from(entry: Published, packed: Mapping[str, bytes]) -> Trending:
    """Raise ValueError when a list cannot be read."""
    lists = {segment: unpack_list(value) for segment, value in packed.items()}
    return Trending(entry.base, entry.generated_at, lists, packed)


class CopyFolder:
    """The files of ``serving.cache_dir``; several workers may share it."""

    def __init__(self, folder: str):
        self.folder = Path(folder)

    def catalogue(self, wanted: CatalogueRelease) -> Catalogue | None:
        """The memory-mapped catalogue of that checksum; None when there is no sound copy."""
        try:
            with open(self.path(wanted), "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # ValueError: an empty file cannot be mapped
            return None
        if sha256(mapped).hexdigest() != wanted.sha:
            mapped.close()
            return None
        return Catalogue(mapped)

    def path(self, wanted: CatalogueRelease) -> Path:
        return self.folder / f"catalogue-{wanted.sha}"

    def keep_catalogue(self, wanted: CatalogueRelease, packed: bytes) -> Catalogue:
        """Store a catalogue and map it.

        Raises:
            ValueError: the bytes do not have the checksum the release names.
        """
        if sha256(packed).hexdigest() != wanted.sha:
            raise ValueError(f"catalogue {wanted.sha[:12]}: the chunks in Redis have another checksum")
        try:
            self.write(self.path(wanted), packed)
        except OSError:  # a full or read-only disk: hold it in memory
            return Catalogue(packed)
        return self.catalogue(wanted) or Catalogue(packed)

    def keep(self, snapshot: Snapshot) -> None:
        """Store release and trending lists, then drop older catalogues; who maps one keeps it until it lets go."""
        trending = snapshot.trending
        lists = {name: b64encode(value).decode() for name, value in trending.packed.items()} if trending else None
        value = {"version": COPY_VERSION, "release": snapshot.raw.decode(), "trending": lists}
        self.write(self.folder / COPY_NAME, orjson.dumps(value))
        for old in self.folder.glob("catalogue-*"):
            if old != self.path(snapshot.release.catalogue):
                old.unlink(missing_ok=True)

    def load(self) -> Snapshot | None:
        """The stored snapshot; None where there is none or it is damaged."""
        try:
            value = orjson.loads((self.folder / COPY_NAME).read_bytes())
            if value["version"] != COPY_VERSION:
                return None
            release = from_json(value["release"])
            catalogue = self.catalogue(release.catalogue)
            packed = {name: b64decode(text) for name, text in (value["trending"] or {}).items()}
            entry = release.live("trending")
            trending = trending_from(entry, packed) if entry and packed else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if catalogue is None:
            return None
        return Snapshot(release, value["release"].encode(), catalogue, trending)

    def keep_lists(self, lists: Mapping[tuple[int, str], bytes | None]) -> None:
        """Store neighbor lists by item and tag, the one asked last first; what is None is not stored."""
        rows = [(idx, tag, b64encode(value).decode()) for (idx, tag), value in lists.items() if value is not None]
        self.write(self.folder / LISTS_NAME, orjson.dumps({"version": COPY_VERSION, "lists": rows}))

    def load_lists(self, tags: Collection[str]) -> dict[tuple[int, str], bytes]:
        """The stored lists of these tags, the one asked last at the end; none where the file is damaged or absent."""
        try:
            value = orjson.loads((self.folder / LISTS_NAME).read_bytes())
            rows = value["lists"] if value["version"] == COPY_VERSION else []
            return {(int(idx), tag): b64decode(text) for idx, tag, text in reversed(rows) if tag in tags}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def write(self, path: Path, data: bytes) -> None:
        """Whole or not at all, also with several workers writing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(name, path)
        except OSError:
            os.unlink(name)
            raise
