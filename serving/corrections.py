"""What holds within seconds, whatever was published: availability and promotions, followed beside the release.

A value that cannot be read, or is gone from Redis, changes nothing: the last good one holds, and is on disk for a
worker that starts while Redis is away.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from schemas.availability import UNCORRECTED, Availability, corrected, unpack_availability
from schemas.catalogue import Catalogue
from schemas.promotions import NO_PROMOTIONS, Promotions, read_promotions
from serving.copies import CopyFolder
from serving.release_watch import ReleaseWatch

log = logging.getLogger("nightshelf.serving")
Value = TypeVar("Value")


class Followed(Generic[Value]):
    """The last good value of one key; ``now`` is ``nothing`` until there was one."""

    def __init__(self, name: str, folder: CopyFolder, read: Callable[[bytes], Value], nothing: Value):
        self.name, self.folder, self.read = name, folder, read
        self.nothing = nothing
        self.now, self.raw, self.refused = nothing, b"", b""
        with suppress(OSError):  # there is no copy yet
            self.take((folder.folder / name).read_bytes(), keep=False)

    def take(self, raw: bytes | None, keep: bool = True) -> None:
        """Adopt a value read from Redis; None (none there) changes nothing."""
        if raw is None or raw in (self.raw, self.refused):
            return
        try:
            self.now = self.read(raw)
        except ValueError as error:
            self.refused = raw  # told once
            log.warning("%s not adopted, the one before holds: %s", self.name, error)
            return
        self.raw = raw
        if keep:
            self.keep(raw)

    def keep(self, raw: bytes) -> None:
        try:
            self.folder.write(self.folder.folder / self.name, raw)
        except OSError as error:
            log.warning("no copy of %s on disk: %s", self.name, error)


class Corrections:
    """Availability and promotions as last heard of; make it before the watch starts, for its first poll reads them."""

    def __init__(self, watch: ReleaseWatch):
        self.watch = watch
        self._availability = Followed("availability", watch.folder, unpack_availability, UNCORRECTED)
        self._promotions = Followed("promotions", watch.folder, read_promotions, NO_PROMOTIONS)
        self._merged: tuple[Catalogue, Availability, Callable[[int], bool]] | None = None
        watch.follow(watch.keys.availability, self.take_availability)
        watch.follow(watch.keys.promotions, self._promotions.take)

    @property
    def availability(self) -> Availability:
        return self._availability.now

    @property
    def promotions(self) -> Promotions:
        return self._promotions.now

    def take_availability(self, raw: bytes | None) -> None:
        """Also merged with the catalogue here, in the background: that takes a millisecond per 100,000 items."""
        self._availability.take(raw)
        if self.watch.snapshot is not None:
            self.available(self.watch.snapshot.catalogue)

    def available(self, catalogue: Catalogue) -> Callable[[int], bool]:
        """Whether an item may be recommended now: the catalogue's flag, corrected."""
        merged, now = self._merged, self.availability
        if merged is None or merged[0] is not catalogue or merged[1] is not now:
            merged = self._merged = (catalogue, now, corrected(catalogue.flags, now))
        return merged[2]
