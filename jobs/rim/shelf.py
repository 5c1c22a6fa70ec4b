"""What the lake holds for a publish: generations and the catalogue, only as the gate has passed them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from jobs.rim.errors import GateRefused
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
    """One generation to publish; ``entries`` gives its keys and packed values, or its slates, afresh each time."""

    surface: str
    name: str
    as_of: str
    generated_at: str
    dictionary: int
    entries: Callable[[], Entries | SlateFiles]


@dataclass(frozen=True)
class Shelf:
    """Everything one publish needs; ``catalogue()`` packs the items as known at ``as_of``."""

    generations: tuple[Generation, ...]
    as_of: str
    dictionary: int
    key_version: int
    catalogue: Callable[[], bytes]


def read_shelf(lineage: Lineage, surfaces: tuple[str, ...], keys: Keys) -> Shelf:
    """What the lake holds for these surfaces.

    Raises:
        TemporaryError: a table has not been computed yet.
        GateRefused: the gate has not passed exactly this version of it.
    """
    wanted = dict.fromkeys(table for surface in surfaces for table in TABLES_OF[surface])
    manifests = {table: passed(lineage, table) for table in wanted}
    generations = tuple(generation(lineage, surface, manifests, keys) for surface in surfaces)
    n_items = lineage.batches[-1].n_items

    def catalogue() -> bytes:
        items = lineage.lake.current("items", lineage.snapshot, lineage.as_of)
        return pack_catalogue(catalogue_rows(lineage.lake.dictionary(lineage.snapshot), items), n_items)

    return Shelf(generations, iso(lineage.as_of), n_items, lineage.settings.identity.key_version, catalogue)


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
    return Generation(surface, name, iso(lineage.as_of), made, lineage.batches[-1].n_items, entries)


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
