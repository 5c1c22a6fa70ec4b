"""The items of an answer as JSON, out of pieces encoded before: what an item is does not change in a catalogue.

Twenty items made one by one and encoded cost more than the rest of a look-up; put together from pieces they cost a
third. The fields are those of ``schemas.api.Item``, and a test holds both to each other.
"""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache

import orjson

from schemas.catalogue import Catalogue
from serving.ladder import Pick

REMEMBERED = 20_000
NULL = "null"


class Fragments:
    """Encoded pieces of a catalogue's items; the last asked are remembered, about 5 MB."""

    def __init__(self, catalogue: Catalogue):
        self.catalogue = catalogue
        self.item: Callable[[int], str] = lru_cache(REMEMBERED)(self.encode_item)
        self.because: Callable[[int], str] = lru_cache(REMEMBERED)(self.encode_because)

    def encode_item(self, idx: int) -> str:
        """``"item_id":…,"title":…,"category":…`` of an index.

        Raises:
            IndexError: no such index.
        """
        item_id, title, category = self.catalogue.record(idx)
        return f'"item_id":{text(item_id)},"title":{text(title)},"category":{text(category)}'

    def encode_because(self, idx: int) -> str:
        """``{"item_id":…,"title":…}``, null for -1 and for what this catalogue does not hold."""
        if not 0 <= idx < len(self.catalogue):
            return NULL
        item_id, title, _ = self.catalogue.record(idx)
        return f'{{"item_id":{text(item_id)},"title":{text(title)}}}'


def text(value: str | None) -> str:
    """As JSON; half of a surrogate pair, which orjson refuses, as its escape."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value)


def items_json(picks: Sequence[Pick], fragments: Fragments) -> orjson.Fragment:
    """A JSON list for ``orjson.dumps`` to put where it stands; scores with six digits, ranks from 1."""
    item, because = fragments.item, fragments.because
    parts = [
        f'{{"rank":{rank},{item(idx)},"score":{score:.6g},"source":"{source}","because_of":{because(reason)}}}'
        for rank, (idx, score, source, reason, _) in enumerate(picks, 1)
    ]
    return orjson.Fragment("[" + ",".join(parts) + "]")
