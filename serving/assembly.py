"""The JSON of an answer, put together from pieces that are written once.

Twenty items are the larger part of an answer's work, and what is said of an item never changes within a catalogue: so
the text of each is remembered, and an answer joins pieces. ``schemas.api`` says what comes out; a test holds the two
together. JSON escapes what UTF-8 cannot hold (a lone surrogate in an id), so no id makes an answer fail.
"""

import json
from collections.abc import Mapping
from functools import lru_cache

import orjson

from schemas.catalogue import Catalogue
from serving.ladder import Pick

REMEMBERED_PIECES = 20_000


class Pieces:
    """The pieces of a catalogue: ``item(idx)`` and ``reason(source, because_of)``; those asked last are remembered."""

    def __init__(self, catalogue: Catalogue):
        self.record, self.n = catalogue.record, len(catalogue)
        self.item = lru_cache(REMEMBERED_PIECES)(self.item_piece)
        self.reason = lru_cache(REMEMBERED_PIECES)(self.reason_piece)

    def item_piece(self, idx: int) -> bytes:
        """The fields of an item that do not depend on the answer, without braces."""
        item_id, title, category = self.record(idx)
        return dumps({"item_id": item_id, "title": title, "category": category})[1:-1]

    def reason_piece(self, source: str, idx: int) -> bytes:
        """Source and reason of an item, without the brace before; an item this catalogue does not know is none."""
        because = None
        if 0 <= idx < self.n:
            item_id, title, _ = self.record(idx)
            because = {"item_id": item_id, "title": title}
        return dumps({"source": source, "because_of": because})[1:]


def items_json(picks: list[Pick], pieces: Pieces) -> orjson.Fragment:
    """The list ``items`` of an answer; scores have six significant digits."""
    item, reason, rows = pieces.item, pieces.reason, []
    for rank, (idx, place, rung) in enumerate(picks, 1):
        _, scores, sources, because_of = rung.slate
        why = reason(sources[place], because_of[place])
        rows.append(b'{"rank":%d,%b,"score":%.6g,%b' % (rank, item(idx), scores[place], why))
    return orjson.Fragment(b"[%b]" % b",".join(rows))


def dumps(value: Mapping[str, object]) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate: only an escape can write it
        return json.dumps(value, separators=(",", ":")).encode()
