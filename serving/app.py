"""The routes. Every error is a problem document (RFC 9457).

Unknown query parameters are refused under /v1; /livez and /readyz overlook them, for some probes add their own.
"""

import gc
import logging
import sys
from dataclasses import asdict
from hashlib import blake2b

import orjson
from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from conf.settings import Serving, Settings, load_settings
from schemas.api import PROBLEM_TYPE, Problem
from serving.answers import Answers, NothingPublished
from serving.copies import CopyFolder
from serving.drain import draining
from serving.front import account, install
from serving.gate import Gate
from serving.metrics import Metrics
from serving.reader import Reader
from serving.release_watch import ReleaseWatch

MAX_TEXT = 1_024
SWITCH_S = 0.0005  # a request waits so long for the interpreter while a release is adopted; Python's own 5 ms show
PUBLIC = "public, max-age=60"
PRIVATE = "private, no-store"
NO_STORE = "no-store"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SURFACE_OF = {  # of an endpoint that answers a list
    "recommendations": "for_you",
    "similar": "similar",
    "bought_together": "bought_together",
    "trending": "trending",
}
log = logging.getLogger("nightshelf.serving")


class AnyText(BaseConverter):
    """An id in a path: any characters, slashes too."""

    regex = "(?s:.+?)"
    part_isolating = False


def from_settings() -> Gate:
    """The app a worker runs: reads the settings, starts following the release."""
    settings = load_settings()
    app = create_app(open_answers(settings), settings.serving)
    gc.collect()
    gc.freeze()  # what stands until the end need not be looked at again and again
    sys.setswitchinterval(SWITCH_S)
    return Gate(app, settings.serving.queue_ms / 1000, app.extensions["metrics"].shed.inc)


def open_answers(settings: Settings) -> Answers:
    """Raise SettingsError when there is no secret."""
    secret = settings.identity.secret_bytes()
    watch = ReleaseWatch(Reader(settings.redis), CopyFolder(settings.serving.cache_dir), settings.serving.poll_ms)
    return Answers(watch.start(), secret)


def create_app(answers: Answers, settings: Serving) -> Flask:
    """The Flask app over a store of answers."""
    app = Flask("nightshelf", static_folder=None)
    app.url_map.merge_slashes = False  # "//" is part of an id here, not a reason to redirect
    app.url_map.converters["text"] = AnyText
    app.register_error_handler(Exception, problem_of)
    metrics = Metrics(answers.watch)
    app.extensions["metrics"] = metrics
    install(app, metrics, settings.deadline_ms / 1000, SURFACE_OF)
    answers.watch.after_poll.append(metrics.sample)
    add_lists(app, answers, settings)
    add_state(app, answers, metrics)
    return app


def add_lists(app: Flask, answers: Answers, settings: Serving) -> None:
    @app.get("/v1/users/<text:user_id>/recommendations")
    def recommendations(user_id: str) -> Response:
        allow("n", "segment")
        answer = answers.for_you(short("user_id", user_id), segment(), count(settings), account().deadline)
        account().tier = answer.tier
        return reply(orjson.dumps(answer), PRIVATE)

    @app.get("/v1/items/<text:item_id>/similar")
    def similar(item_id: str) -> Response:
        allow("n")
        return public(answers.of_item("similar", short("item_id", item_id), count(settings), account().deadline))

    @app.get("/v1/items/<text:item_id>/bought-together")
    def bought_together(item_id: str) -> Response:
        allow("n")
        return public(
            answers.of_item("bought_together", short("item_id", item_id), count(settings), account().deadline)
        )

    @app.get("/v1/trending")
    def trending() -> Response:
        allow("n", "segment")
        return public(answers.trending(segment(), count(settings)))


def add_state(app: Flask, answers: Answers, metrics: Metrics) -> None:
    @app.get("/v1/release")
    def release() -> Response:
        allow()
        value = asdict(answers.snapshot().release) | {"degraded": answers.watch.degraded}
        return reply(orjson.dumps(value), NO_STORE)

    @app.get("/metrics")
    def told() -> Response:
        return reply(metrics.render(), NO_STORE, kind=METRICS_TYPE)

    @app.get("/livez")
    def livez() -> Response:
        return reply(b'{"status":"alive"}', NO_STORE)

    @app.get("/readyz")
    def readyz() -> Response:
        """Ready: some rung can answer, with Redis or without, and the service is not about to stop."""
        if draining():
            return problem("Service Unavailable", 503, "this service is about to stop", {"Retry-After": "1"})
        epoch = answers.snapshot().release.epoch
        state = {"status": "ready", "epoch": epoch, "degraded": answers.watch.degraded}
        return reply(orjson.dumps(state), NO_STORE)


def reply(body: bytes, cache: str, status: int = 200, kind: str = "application/json") -> Response:
    response = Response(body, status, content_type=kind)
    response.headers["Cache-Control"] = cache
    return response


def public(answer) -> Response:
    """A cacheable reply, 304 to who has it already; a degraded one is not to be kept."""
    account().tier = answer.tier
    body = orjson.dumps(answer)
    etag = blake2b(body, digest_size=12).hexdigest()
    known = "If-None-Match" in request.headers and request.if_none_match.contains_weak(etag)
    response = reply(b"" if known else body, NO_STORE if answer.degraded else PUBLIC, 304 if known else 200)
    response.headers["ETag"] = f'"{etag}"'
    return response


def allow(*names: str) -> None:
    """400 for a query parameter that is unknown or given twice."""
    for name, values in request.args.lists():
        if name not in names:
            abort(400, f"query parameter {name[:80]!r} is unknown; allowed: {', '.join(names) or 'none'}")
        if len(values) > 1:
            abort(400, f"query parameter {name!r} is given {len(values)} times; allowed: once")


def count(settings: Serving) -> int:
    text = request.args.get("n")
    if text is None:
        return min(settings.default_n, settings.max_n)
    # isdecimal alone would let other scripts' digits through, and a million of them would be slow to convert
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and 1 <= int(text) <= settings.max_n):
        abort(400, f"n = {text[:80]!r}; allowed: a whole number from 1 to {settings.max_n}")
    return int(text)


def segment() -> str | None:
    text = request.args.get("segment")
    return None if text is None else short("segment", text)


def short(name: str, text: str) -> str:
    if len(text) > MAX_TEXT:
        abort(400, f"{name} has {len(text):,} characters; allowed: at most {MAX_TEXT:,}")
    return text


def problem_of(error: Exception) -> Response:
    """Any error as a problem document."""
    if isinstance(error, NothingPublished):
        return problem("Service Unavailable", 503, str(error), {"Retry-After": "1"})
    if isinstance(error, HTTPException) and error.code is not None:
        allowed = getattr(error, "valid_methods", None)
        headers = {"Allow": ", ".join(sorted(allowed))} if allowed else {}
        return problem(error.name, error.code, error.description or error.name, headers)
    log.exception("request failed: %s", request.path[:200], exc_info=error)
    return problem("Internal Server Error", 500, "this is a fault of the service; its log says more")


def problem(title: str, status: int, detail: str, headers: dict | None = None) -> Response:
    response = reply(orjson.dumps(Problem(title, status, detail)), NO_STORE, status, PROBLEM_TYPE)
    response.headers.update(headers or {})
    return response
