"""Between granian and Flask: requests wait here, one after another, and those that would wait too long are refused.

granian's own WSGI would hold them in a queue that nobody can see into; a request would learn that it is late by being
late. Here each is stamped as it arrives, so its deadline counts from then; while more is asked than can be answered,
one that waited longer than ``serving.queue_ms`` gets 503 and Retry-After at once. That is cheap, so what is beyond a
worker's power costs the others next to nothing. Probes, metrics and the console tell of an overload: they go first,
never refused.

Flask runs on the event loop's thread, one request at a time and one a turn of the loop, so that arrivals are seen
between them: another thread would only fight for the interpreter's lock. Bodies are read before, however slowly sent.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from io import BytesIO
from time import monotonic
from typing import NamedTuple

import orjson

from schemas.api import PROBLEM_TYPE, Problem
from serving.shedding import Shedding

ARRIVED = "nightshelf.arrived"
URGENT = frozenset(
    ("/livez", "/readyz", "/metrics", "/console", "/console.json", "/console.js", "/pages.css", "/icon.svg")
)
MAX_BODY = 1 << 20
BODY_S = 5.0
SHARE = 0.05  # of the newest request in the mean time a request takes
BASE = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": False,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
}


class Waiting(NamedTuple):
    """A request whose body is here; ``done`` is set once it was answered."""

    scope: object
    protocol: object
    arrived: float
    body: bytes
    done: asyncio.Future


class Gate:
    """The RSGI app over a WSGI app; ``refused`` is called for each request that is shed."""

    def __init__(self, app: Callable, queue_s: float, refused: Callable[[], None]):
        self.app, self.shedding, self.refused = app, Shedding(queue_s), refused
        self.queue: deque[Waiting] = deque()
        self.pumping = False
        self.mean_s = 0.0  # that one request takes
        self.loop: asyncio.AbstractEventLoop | None = None

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    async def __rsgi__(self, scope, protocol) -> None:
        arrived = monotonic()
        urgent = scope.path in URGENT
        if not urgent and self.shedding.on and len(self.queue) * self.mean_s > self.shedding.limit_s:
            self.shed(protocol)
            return
        body = b""
        if scope.method not in ("GET", "HEAD"):
            body = await read_body(scope, protocol)
            if body is None:
                return
            arrived = monotonic()
        waiting = Waiting(scope, protocol, arrived, body, self.loop.create_future())
        self.queue.appendleft(waiting) if urgent else self.queue.append(waiting)
        if not self.pumping:
            self.pumping = True
            self.loop.call_soon(self.pump)
        await waiting.done

    def pump(self) -> None:
        """Answer the first that waits; the next in the loop's next turn."""
        waiting = self.queue.popleft()
        began = monotonic()
        try:
            if waiting.scope.path not in URGENT and self.shedding.late(began - waiting.arrived, began):
                self.shed(waiting.protocol)
            else:
                self.answer(waiting)
                self.mean_s += SHARE * (monotonic() - began - self.mean_s)
        finally:
            waiting.done.set_result(None) if not waiting.done.done() else None  # cancelled: the client left
            if self.queue:
                self.loop.call_soon(self.pump)
            else:
                self.pumping = False

    def answer(self, waiting: Waiting) -> None:
        told: list = []

        def start(status: str, headers: list, exc_info=None) -> None:
            told[:] = int(status[:3]), [(name.lower(), value) for name, value in headers]

        body = self.app(environ(waiting), start)
        try:
            waiting.protocol.response_bytes(*told, b"".join(body))
        finally:
            if hasattr(body, "close"):
                body.close()

    def shed(self, protocol) -> None:
        self.refused()
        refuse(protocol, 503, "Service Unavailable", "too many requests wait already: try again", ("retry-after", "1"))


def environ(waiting: Waiting) -> dict:
    """The WSGI environment of a request."""
    scope = waiting.scope
    name, _, port = scope.server.rpartition(":")
    made = BASE | {
        "REQUEST_METHOD": scope.method,
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "REMOTE_ADDR": scope.client,
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(waiting.body),
        ARRIVED: waiting.arrived,
    }
    if scope.authority is not None:
        made["HTTP_HOST"] = scope.authority
    for header, value in scope.headers.items():
        key = header.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        made[key] = f"{made[key]},{value}" if key in made else value
    return made


async def read_body(scope, protocol) -> bytes | None:
    """The whole body; None once it was refused: too large, or too slow."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in protocol:
                size += len(part)
                if size > MAX_BODY:
                    refuse(protocol, 413, "Content Too Large", f"the body has over {MAX_BODY:,} bytes; allowed: less")
                    return None
                parts.append(part)
    except TimeoutError:
        refuse(protocol, 408, "Request Timeout", f"the body did not come within {BODY_S:g} s")
        return None
    return b"".join(parts)


def refuse(protocol, status: int, title: str, detail: str, *headers: tuple[str, str]) -> None:
    told = [("content-type", PROBLEM_TYPE), ("cache-control", "no-store"), *headers]
    protocol.response_bytes(status, told, orjson.dumps(Problem(title, status, detail)))
