"""Rows of the lake as keys and packed values. Pure: takes Arrow data, gives pairs of bytes."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.item_values import Alike, Found, item_values
from jobs.rim.manifest import DataFile
from schemas.catalogue import CatalogueRow
from schemas.codec import CODEC_VERSION, MAX_ITEMS, NONE, SOURCE_CODES, pack_list
from schemas.keys import Keys
from schemas.user_codec import USER_VERSION

SLATE_COLUMNS = ["user_id", "items", "scores", "sources", "because_of", "seen"]
NEIGHBOR_COLUMNS = ["item_idx", "kind", "rank", "neighbor_idx", "score"]
CONTENT_COLUMNS = ["item_idx", "others", "weights"]
TRENDING_COLUMNS = ["segment", "rank", "item_idx", "score"]
Entries = Iterator[tuple[str, bytes]]


def generation_id(surface: str, as_of: str, files: Iterable[DataFile], dictionary: int, key_version: int) -> str:
    """``<surface>-<as_of>-<12 hex digits>``: equal data, as_of, dictionary, key and codec give an equal id.

    The data counts by its files' rows, bytes and checksums, not by their names or order.
    """
    content = sorted((file.rows, file.bytes, file.crc32) for file in files)
    codec = USER_VERSION if surface == "for_you" else CODEC_VERSION
    made_of = orjson.dumps([surface, as_of, content, dictionary, key_version, codec])
    stamp = as_of.replace("-", "").replace(":", "")
    return f"{surface}-{stamp}-{hashlib.blake2b(made_of, digest_size=6).hexdigest()}"


def neighbor_entries(rows: pa.Table, alike: pa.Table, keys: Keys, tag: str, kinds: tuple[str, ...]) -> Entries:
    """One key an item: its neighbors out of item_neighbors, by kind and rank, then those out of content_neighbors
    (``alike``).
    """
    for item_idx, value in item_values(found_of(rows, kinds), alike_of(alike)):
        yield keys.neighbors(item_idx, tag), value


def found_of(rows: pa.Table, kinds: tuple[str, ...]) -> Found:
    """The rows of these kinds, of each item the first kind first."""
    rows = rows.filter(pc.is_in(rows["kind"], pa.array(kinds)))
    order = pc.index_in(rows["kind"].cast(pa.string()), pa.array(kinds))
    rows = rows.append_column("order", order).sort_by(
        [("item_idx", "ascending"), ("order", "ascending"), ("rank", "ascending")]
    )
    item, begins = np.unique(rows["item_idx"].to_numpy(), return_index=True)
    codes = np.array([SOURCE_CODES[kind] for kind in kinds])
    columns = (rows[name].to_numpy() for name in ("neighbor_idx", "score"))
    return Found(item, np.append(begins, rows.num_rows), *columns, codes[rows["order"].to_numpy()])


def alike_of(alike: pa.Table) -> Alike:
    begins = np.append(0, pc.list_value_length(alike["others"]).to_numpy().cumsum())
    flat = (pc.list_flatten(alike[name]).to_numpy() for name in ("others", "weights"))
    return Alike(alike["item_idx"].to_numpy(), begins, *flat)


def trending_entries(rows: pa.Table, keys: Keys, tag: str) -> Entries:
    """One key a segment, and one that lists the segments."""
    rows = rows.sort_by([("segment", "ascending"), ("rank", "ascending")])
    columns = [rows[name].to_pylist() for name in ("segment", "item_idx", "score")]
    segments = []
    for segment, group in groupby(zip(*columns, strict=True), key=lambda row: row[0]):
        chosen = list(group)[:MAX_ITEMS]
        _, items, scores = zip(*chosen, strict=True)
        segments.append(segment)
        yield keys.trending(segment, tag), pack_list(items, scores, ["trending"] * len(items), [NONE] * len(items))
    yield keys.segments(tag), orjson.dumps(segments)


def catalogue_rows(dictionary: pa.Table, items: pa.Table) -> Iterator[CatalogueRow]:
    """The catalogue's rows by item_idx; an item the items table does not know may be recommended.

    Raises:
        ValueError: the dictionary's indices are not 0, 1, 2, ...
    """
    columns = [items[name].to_pylist() for name in ("item_id", "title", "category", "available", "price")]
    known = {item_id: rest for item_id, *rest in zip(*columns, strict=True)}
    dictionary = dictionary.sort_by("item_idx")
    for place, idx in enumerate(dictionary["item_idx"].to_pylist()):
        if place != idx:
            raise ValueError(f"item_dictionary has item_idx {idx} at place {place}; allowed: 0, 1, 2, … without gaps")
    for item_id in dictionary["item_id"].to_pylist():
        yield CatalogueRow(item_id, *known.get(item_id, (None, None, True, None)))
