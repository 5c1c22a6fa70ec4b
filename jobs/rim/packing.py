"""Rows of the lake as keys and packed values. Pure: takes Arrow data, gives pairs of bytes."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from math import inf

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from jobs.rim.manifest import DataFile
from schemas.catalogue import CatalogueRow
from schemas.codec import CODEC_VERSION, MAX_ITEMS, NONE, pack_list
from schemas.keys import Keys
from schemas.user_codec import USER_VERSION

SLATE_COLUMNS = ["user_id", "items", "scores", "sources", "because_of", "seen"]
NEIGHBOR_COLUMNS = ["item_idx", "kind", "rank", "neighbor_idx", "score"]
CONTENT_COLUMNS = ["item_idx", "others", "weights"]
TRENDING_COLUMNS = ["segment", "rank", "item_idx", "score"]
Entries = Iterator[tuple[str, bytes]]
Neighbors = dict[int, tuple[float, str]]  # of one item, in rank order: neighbor -> score, source


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
    """One key an item: its neighbors out of item_neighbors, then those out of content_neighbors (``alike``)."""
    for item_idx, best in filled_by_content(together(rows, kinds), alike):
        scores, sources = zip(*best.values(), strict=True) if best else ((), ())
        yield keys.neighbors(item_idx, tag), pack_list(list(best), scores, sources, [NONE] * len(best))


def together(rows: pa.Table, kinds: tuple[str, ...]) -> Iterator[tuple[int, Neighbors]]:
    """Each item and its neighbors of the first kind by rank, filled up from the further kinds, no repeats."""
    rows = rows.filter(pc.is_in(rows["kind"], pa.array(kinds)))
    order = pc.index_in(rows["kind"].cast(pa.string()), pa.array(kinds))
    rows = rows.append_column("order", order).sort_by(
        [("item_idx", "ascending"), ("order", "ascending"), ("rank", "ascending")]
    )
    columns = [rows[name].to_pylist() for name in ("item_idx", "neighbor_idx", "score", "order")]
    for item_idx, group in groupby(zip(*columns, strict=True), key=lambda row: row[0]):
        best: Neighbors = {}
        for _, neighbor, score, place in group:
            if len(best) < MAX_ITEMS and neighbor != item_idx:
                best.setdefault(neighbor, (score, kinds[place]))
        yield item_idx, best


def filled_by_content(found: Iterable[tuple[int, Neighbors]], alike: pa.Table) -> Iterator[tuple[int, Neighbors]]:
    """The items found, filled up where ``alike`` has a row for them, then the others of ``alike``."""
    others, weights = (alike[name].combine_chunks() for name in ("others", "weights"))
    row_of = {item_idx: row for row, item_idx in enumerate(alike["item_idx"].to_pylist())}
    for item_idx, best in found:
        row = row_of.pop(item_idx, None)
        yield item_idx, best if row is None else with_content(item_idx, best, others[row].as_py(), weights[row].as_py())
    for item_idx, row in row_of.items():
        yield item_idx, with_content(item_idx, {}, others[row].as_py(), weights[row].as_py())


def with_content(item_idx: int, best: Neighbors, others: list[int], weights: list[float]) -> Neighbors:
    """``best`` and behind it, up to a full list, the others it lacks; their scores are below all of its own."""
    pairs = zip(others, weights, strict=True)
    fresh = [(other, weight) for other, weight in pairs if other != item_idx and other not in best]
    fresh = fresh[: MAX_ITEMS - len(best)]
    scores = below(min((score for score, _ in best.values()), default=inf), [weight for _, weight in fresh])
    return best | {other: (score, "content") for (other, _), score in zip(fresh, scores, strict=True)}


def below(least: float, weights: list[float]) -> list[float]:
    """Falling weights as they are, or in proportion with the first at half of ``least``.

    Beneath a ``least`` of 0, as a pair that met by chance alone has in LLR, there is no proportion: they are moved.
    """
    if least <= 0:
        return [least - 1 + (weight - weights[0]) for weight in weights]
    scale = min(1.0, least / 2 / weights[0]) if weights else 1.0
    return [weight * scale for weight in weights]


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
