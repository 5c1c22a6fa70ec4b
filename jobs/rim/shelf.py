"""What the lake holds for a publish: generations and the catalogue, only as the gate has passed them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.fs as pafs

from jobs.rim.errors import GateRefused, TemporaryError, UsageError
from jobs.rim.history import History, Origin, Run
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage
from jobs.rim.manifest import DataFile, Manifest, iso
from jobs.rim.packing import (
    CONTENT_COLUMNS,
    NEIGHBOR_COLUMNS,
    TRENDING_COLUMNS,
    Entries,
    catalogue_rows,
    generation_id,
    neighbor_entries,
    trending_entries,
)
from jobs.rim.slate_files import SlateFiles
from jobs.rim.verdict import read_verdict
from schemas.catalogue import pack_catalogue
from schemas.keys import Keys, tag_of

TABLES_OF = {
    "for_you": ("slates",),
    "similar": ("item_neighbors", "content_neighbors"),
    "bought_together": ("item_neighbors",),
    "trending": ("trending",),
}
KINDS_OF = {"similar": ("viewed_together", "bought_together"), "bought_together": ("bought_together",)}


@dataclass(frozen=True)
class Generation:
    """One generation to publish; ``entries`` gives its keys and packed values, or its slates, afresh each time.

    ``origin`` says how the lake makes it again, where it came from one.
    """

    surface: str
    name: str
    as_of: str
    generated_at: str
    dictionary: int
    entries: Callable[[], Entries | SlateFiles]
    origin: Origin | None = None


@dataclass(frozen=True)
class Shelf:
    """Everything one publish needs; ``catalogue()`` packs the items as known at ``as_of``.

    ``named``: somebody asked for these very generations, so that they go live though what is live is newer.
    """

    generations: tuple[Generation, ...]
    as_of: str
    dictionary: int
    key_version: int
    catalogue: Callable[[], bytes]
    named: bool = False


def read_shelf(lineage: Lineage, surfaces: tuple[str, ...], keys: Keys) -> Shelf:
    """What the lake holds for these surfaces.

    Raises:
        TemporaryError: a table has not been computed yet.
        GateRefused: the gate has not passed exactly this version of it.
    """
    wanted = dict.fromkeys(table for surface in surfaces for table in TABLES_OF[surface])
    manifests = {table: passed(lineage, table) for table in wanted}
    generations = tuple(generation(lineage, surface, manifests, keys) for surface in surfaces)
    n_items, key_version = lineage.batches[-1].n_items, lineage.settings.identity.key_version
    catalogue = catalogue_at(lineage.lake, lineage.snapshot, lineage.as_of, n_items)
    return Shelf(generations, iso(lineage.as_of), n_items, key_version, catalogue)


def recorded_shelf(history: History, names: Iterable[str], keys: Keys) -> Shelf:
    """The generations of these ids once more, out of the runs they were made of: nothing is computed or judged again.

    Packed by a newer codec, a generation has another id.

    Raises:
        UsageError: nobody published such a generation out of this lake, or two are of one surface.
        TemporaryError: a run it was made of, or a file of one, is not in the lake any more.
    """
    origins = [history.origin(name) for name in dict.fromkeys(names)]
    if len({origin.surface for origin in origins}) < len(origins):
        raise UsageError("two generations of one surface; allowed: one of each")
    generations = tuple(repacked(origin, history.lake, keys) for origin in origins)
    last = max(origins, key=lambda origin: (origin.dictionary, origin.as_of))
    moment = datetime.fromisoformat(last.as_of)
    catalogue = catalogue_at(history.lake, last.snapshot, moment, last.dictionary)
    return Shelf(generations, last.as_of, last.dictionary, last.key_version, catalogue, named=True)


def with_lost(shelf: Shelf, fresh: list[Generation], lost: list[Shelf]) -> Shelf:
    """What is fresh of a shelf, with what else must be loaded; the catalogue is the one that knows most."""
    most = max([shelf, *lost], key=lambda part: (part.dictionary, part.as_of))
    generations = [*fresh, *(generation for part in lost for generation in part.generations)]
    slates = [part for part in lost for generation in part.generations if generation.surface == "for_you"]
    key_version = (slates or [shelf])[0].key_version
    return replace(most, generations=tuple(generations), key_version=key_version, named=shelf.named)


def repacked(origin: Origin, lake: Lake, keys: Keys) -> Generation:
    files = {table: run.manifest(lake).files[table] for table, run in origin.runs.items()}
    every = [file for table in files for file in files[table]]
    require_files(lake, origin.generation, every)
    name = generation_id(origin.surface, origin.as_of, every, origin.dictionary, origin.key_version)
    entries = entries_of(lake, origin.surface, files, keys, tag_of(name))
    again = replace(origin, generation=name)
    return Generation(origin.surface, name, origin.as_of, origin.generated_at, origin.dictionary, entries, again)


def require_files(lake: Lake, generation: str, files: list[DataFile]) -> None:
    """Raise TemporaryError for a file that is not there, before anything is loaded."""
    found = lake.store.fs.get_file_info([lake.store.path(file.path) for file in files])
    gone = [file.path for file, info in zip(files, found, strict=True) if info.type != pafs.FileType.File]
    if gone:
        raise TemporaryError(f"{generation}: {gone[0]} is not in the lake any more ({len(gone)} of {len(files)} files)")


def catalogue_at(lake: Lake, snapshot: int, as_of: datetime, n_items: int) -> Callable[[], bytes]:
    """How to pack the catalogue of a snapshot, the items as known at a moment."""

    def catalogue() -> bytes:
        items = lake.current("items", snapshot, as_of)
        return pack_catalogue(catalogue_rows(lake.dictionary(snapshot), items), n_items)

    return catalogue


def passed(lineage: Lineage, table: str) -> Manifest:
    """The committed run of a table the gate has let pass."""
    manifest = lineage.resolve(table)
    verdict = read_verdict(table, lineage)
    if verdict is None:
        raise GateRefused(
            f"{table} {manifest.version}, as of {manifest.as_of}, was not judged: run `nightshelf gate --tables "
            f"{table} --as-of {manifest.as_of} --snapshot {lineage.snapshot}` first"
        )
    if not verdict.passed:
        raise GateRefused(f"{table} {manifest.version} did not pass the gate: {', '.join(verdict.failures)}")
    return manifest


def generation(lineage: Lineage, surface: str, manifests: Mapping[str, Manifest], keys: Keys) -> Generation:
    files = {table: manifests[table].files[table] for table in TABLES_OF[surface]}
    name = generation_name(lineage, surface, files)
    made = max(manifests[table].created_at for table in files)
    entries = entries_of(lineage.lake, surface, files, keys, tag_of(name))
    n_items, key_version = lineage.batches[-1].n_items, lineage.settings.identity.key_version
    runs = {table: Run.of(manifests[table]) for table in files}
    origin = Origin(name, surface, iso(lineage.as_of), made, n_items, key_version, lineage.snapshot, runs)
    return Generation(surface, name, iso(lineage.as_of), made, n_items, entries, origin)


def generation_name(lineage: Lineage, surface: str, files: Mapping[str, list[DataFile]]) -> str:
    """The id a publish of this surface gives to the files of its tables."""
    every = [file for table in TABLES_OF[surface] for file in files[table]]
    n_items, key_version = lineage.batches[-1].n_items, lineage.settings.identity.key_version
    return generation_id(surface, iso(lineage.as_of), every, n_items, key_version)


def entries_of(
    lake: Lake, surface: str, files: Mapping[str, list[DataFile]], keys: Keys, tag: str
) -> Callable[[], Entries | SlateFiles]:
    """How to make the keys and packed values of a surface from the files of its tables."""

    def rows(table: str, columns: list[str]) -> pa.Table:
        return lake.read(table, files.get(table, []), columns)

    if surface == "for_you":
        return lambda: SlateFiles(lake, files["slates"])
    if surface == "trending":
        return lambda: trending_entries(rows("trending", TRENDING_COLUMNS), keys, tag)
    return lambda: neighbor_entries(
        rows("item_neighbors", NEIGHBOR_COLUMNS),
        rows("content_neighbors", CONTENT_COLUMNS),  # none for a surface that is not made of it
        keys,
        tag,
        KINDS_OF[surface],
    )
