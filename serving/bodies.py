"""Public answers as they were sent, so that a viral item or a popular query costs a look-up in memory.

A body is good while what it was made of is the same (its stamp), and for as long as clients may keep it: a list that
was missing may have been loaded again.
"""

import time
from collections import OrderedDict
from hashlib import blake2b
from threading import Lock
from typing import Any, NamedTuple

import orjson

MAX_BYTES = 16 << 20
FRESH_S = 60.0


class Body(NamedTuple):
    """The JSON of an answer and what tells it apart."""

    json: bytes
    etag: str
    tier: str
    degraded: bool

    @classmethod
    def of(cls, answer: dict[str, Any], degraded: bool) -> "Body":
        body = orjson.dumps(answer)
        return cls(body, blake2b(body, digest_size=12).hexdigest(), answer["tier"], degraded)


class Bodies:
    """Remembers the bodies asked last, up to ``MAX_BYTES``; safe to share between threads."""

    def __init__(self, max_bytes: int = MAX_BYTES, clock=time.monotonic):
        self.max_bytes, self.clock, self.n_bytes = max_bytes, clock, 0
        self._held: OrderedDict[tuple, tuple[tuple, float, Body]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple, stamp: tuple) -> Body | None:
        """What was put under ``key``, if made of the very same things as ``stamp`` names, and not long ago."""
        held = self._held.get(key)
        if held is None:
            return None
        made_of, until, body = held
        if until < self.clock() or any(one is not other for one, other in zip(made_of, stamp, strict=True)):
            return None
        return body

    def put(self, key: tuple, stamp: tuple, body: Body) -> None:
        with self._lock:
            self._drop(key)
            self._held[key] = (stamp, self.clock() + FRESH_S, body)
            self.n_bytes += len(body.json)
            while self.n_bytes > self.max_bytes:
                self._drop(next(iter(self._held)))

    def _drop(self, key: tuple) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self.n_bytes -= len(held[2].json)
