"""The JSON of an answer, put together from pieces that are written once.

Twenty items are the larger part of an answer's work, and what is said of an item never changes within a catalogue: so
the text of each is remembered, and an answer joins pieces. ``schemas.api`` says what comes out; a test holds the two
together. JSON escapes what UTF-8 cannot hold (a lone surrogate in an id), so no id makes an answer fail.
"""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache

import orjson

from serving.ladder import Pick

Record = Callable[[int], tuple[str, str | None, str | None]]
REMEMBERED_PIECES = 20_000


class Pieces:
    """The pieces of one catalogue of ``n`` items: ``item(idx)`` and ``because(idx)``; those asked last are remembered."""

    def __init__(self, record: Record, n: int):
        self.record, self.n = record, n
        self.item = lru_cache(REMEMBERED_PIECES)(self.item_piece)
        self.because = lru_cache(REMEMBERED_PIECES)(self.because_piece)

    def item_piece(self, idx: int) -> bytes:
        """The fields of an item that do not depend on the answer, without braces."""
        item_id, title, category = self.record(idx)
        return dumps({"item_id": item_id, "title": title, "category": category})[1:-1]

    def because_piece(self, idx: int) -> bytes:
        """The item behind a reason; null for none, and for one this catalogue does not know."""
        if not 0 <= idx < self.n:
            return b"null"
        item_id, title, _ = self.record(idx)
        return dumps({"item_id": item_id, "title": title})


def items_json(picks: list[Pick], pieces: Pieces) -> orjson.Fragment:
    """The list ``items`` of an answer; scores have six significant digits."""
    item, because = pieces.item, pieces.because
    rows = [
        b'{"rank":%d,%b,"score":%.6g,"source":"%b","because_of":%b}'
        % (rank, item(idx), score, source.encode(), because(reason))
        for rank, (idx, score, source, reason, _) in enumerate(picks, 1)
    ]
    return orjson.Fragment(b"[" + b",".join(rows) + b"]")


def dumps(value: Mapping[str, object]) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate: only an escape can write it
        return json.dumps(value, separators=(",", ":")).encode()
