"""The routes, as ``schemas.routes`` lists them. Every error is a problem document (RFC 9457).

Unknown query parameters are refused under /v1; /livez and /readyz overlook them, for some probes add their own.
"""

import gc
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict

import orjson
from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from conf.settings import Serving, Settings, load_settings
from schemas.api import PROBLEM_TYPE, Problem
from schemas.routes import MAX_BODY, NO_STORE, PERSONAL, PUBLIC, ROUTES, Route
from serving.answers import Answers, NothingPublished
from serving.asked import Asked, Forms
from serving.bodies import Body
from serving.copies import CopyFolder
from serving.corrections import Corrections
from serving.docs import add_docs
from serving.drain import draining
from serving.front import account, install
from serving.gate import Gate
from serving.metrics import Metrics
from serving.pages import add_pages
from serving.reader import Reader
from serving.release_watch import ReleaseWatch
from serving.values import Refused, short
from serving.warm import open_warm

SWITCH_S = 0.0005  # a request waits so long for the interpreter while a release is adopted; Python's own 5 ms show
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SURFACE_OF = {"recommendations": "for_you"} | {name: name for name in ("similar", "bought_together", "trending")}
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
    """Raise SettingsError when there is no secret, or no boto3 for a warm store."""
    secret, serving = settings.identity.secret_bytes(), settings.serving
    reader = Reader(settings.redis)
    watch = ReleaseWatch(reader, CopyFolder(serving.cache_dir), serving.poll_ms)
    corrections, warm = Corrections(watch), open_warm(settings, reader)
    if warm:
        watch.after_poll.append(warm.probe)
    return Answers(watch.start(), corrections, secret, serving.max_per_category, warm=warm)


def create_app(answers: Answers, settings: Serving) -> Flask:
    """The Flask app over a store of answers."""
    app = Flask("nightshelf", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.merge_slashes = False  # "//" is part of an id here, not a reason to redirect
    app.url_map.converters["text"] = AnyText
    app.register_error_handler(Exception, problem_of)
    metrics = add_metrics(app, answers, settings)
    handlers = Handlers(answers, settings)
    for route in ROUTES:
        rule = route.path.replace("{", "<text:").replace("}", ">")
        view = getattr(handlers, route.name)
        app.add_url_rule(rule, route.name, checked(route, view, handlers.forms), methods=[route.method.upper()])
    add_docs(app, settings)
    add_pages(app, answers, settings, metrics)
    return app


def add_metrics(app: Flask, answers: Answers, settings: Serving) -> Metrics:
    metrics = app.extensions["metrics"] = Metrics(answers.watch)
    install(app, metrics, settings.deadline_ms / 1000, SURFACE_OF)
    answers.watch.after_poll.append(metrics.sample)
    if answers.warm:
        answers.warm.told = metrics.read_warm
    app.add_url_rule("/metrics", "metrics", lambda: reply(metrics.render(), NO_STORE, kind=METRICS_TYPE))
    return metrics


def checked(route: Route, view: Callable[..., Response], forms: Forms) -> Callable[..., Response]:
    """A view that gets its parameters read by the route's table, and its subject bounded."""

    def answer(**subject: str) -> Response:
        if route.lenient:
            return view()
        for name, text in subject.items():
            short(name, text)
        return view(forms.query(route.parameters, request.environ.get("QUERY_STRING", "")), **subject)

    return answer


class Handlers:
    """One method for each route, named as it is."""

    def __init__(self, answers: Answers, settings: Serving):
        self.answers, self.forms = answers, Forms(settings)

    def recommendations(self, asked: Asked, user_id: str) -> Response:
        told = account()
        answer = self.answers.for_you(user_id, asked, told.deadline)
        told.tier = answer["tier"]
        return reply(orjson.dumps(answer), PERSONAL)

    def similar(self, asked: Asked, item_id: str) -> Response:
        return public(self.answers.of_item("similar", item_id, asked, account().deadline))

    def bought_together(self, asked: Asked, item_id: str) -> Response:
        return public(self.answers.of_item("bought_together", item_id, asked, account().deadline))

    def trending(self, asked: Asked) -> Response:
        return public(self.answers.trending(asked))

    def batch(self, _: Asked) -> Response:
        if request.mimetype != "application/json":
            abort(415, f"Content-Type is {request.mimetype[:80]!r}; allowed: application/json")
        subjects, asked = self.forms.batch(request.get_data(cache=False))
        found = self.answers.batch(subjects, asked, account().deadline)
        answers = [orjson.Fragment(answer.json) if isinstance(answer, Body) else answer for answer in found]
        return reply(orjson.dumps({"answers": answers}), PERSONAL)

    def release(self, _: Asked) -> Response:
        outside = self.answers.corrections
        beside = {
            "degraded": self.answers.watch.degraded,
            "availability": outside.availability.sequence,
            "promotions": outside.promotions.sequence,
        }
        return reply(orjson.dumps(asdict(self.answers.snapshot().release) | beside), NO_STORE)

    def livez(self) -> Response:
        return reply(b'{"status":"alive"}', NO_STORE)

    def readyz(self) -> Response:
        """Ready: some rung can answer, with Redis or without, and the service is not about to stop."""
        if draining():
            return problem("Service Unavailable", 503, "this service is about to stop", {"Retry-After": "1"})
        epoch = self.answers.snapshot().release.epoch
        state = {"status": "ready", "epoch": epoch, "degraded": self.answers.watch.degraded}
        return reply(orjson.dumps(state), NO_STORE)


def reply(body: bytes, cache: str, status: int = 200, kind: str = "application/json") -> Response:
    response = Response(body, status, content_type=kind)
    response.headers["Cache-Control"] = cache
    return response


def public(body: Body) -> Response:
    """A cacheable reply, 304 to who has it already; a degraded one is not to be kept."""
    account().tier = body.tier
    known = "HTTP_IF_NONE_MATCH" in request.environ and request.if_none_match.contains_weak(body.etag)
    response = reply(b"" if known else body.json, NO_STORE if body.degraded else PUBLIC, 304 if known else 200)
    response.headers["ETag"] = f'"{body.etag}"'
    return response


def problem_of(error: Exception) -> Response:
    """Any error as a problem document."""
    if isinstance(error, Refused):
        return problem("Bad Request", 400, str(error))
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
