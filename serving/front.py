"""What stands before the routes: a request's deadline, made as it arrives, and the account of how it went."""

from collections.abc import Callable, Iterable, Mapping
from time import monotonic

from flask import Flask, request

from serving.deadline import Deadline
from serving.gate import ARRIVED
from serving.metrics import NONE, Metrics

ACCOUNT = "nightshelf.account"


class Account:
    """One request: how long it may take, and what it was answered with; the routes fill in the tier."""

    __slots__ = ("deadline", "status", "surface", "tier")

    def __init__(self, deadline: Deadline):
        self.deadline = deadline
        self.status, self.surface, self.tier = "500", NONE, NONE


def account() -> Account:
    """Of the request being answered."""
    return request.environ[ACCOUNT]


class Front:
    """Wraps a WSGI app."""

    def __init__(self, app: Callable, deadline_s: float, metrics: Metrics):
        self.app, self.deadline_s, self.metrics = app, deadline_s, metrics

    def __call__(self, environ: dict, start_response: Callable) -> Iterable[bytes]:
        began = environ.get(ARRIVED) or monotonic()
        told = environ[ACCOUNT] = Account(Deadline(began + self.deadline_s))
        metrics = self.metrics
        metrics.in_flight += 1

        def started(status: str, headers: list, exc_info=None):
            told.status = status[:3]
            return start_response(status, headers, exc_info)

        try:
            body = self.app(environ, started)
            try:
                return [b"".join(body)]  # a list goes out in one piece
            finally:
                body.close()
        finally:
            metrics.in_flight -= 1
            metrics.took(told.surface, told.status, told.tier, monotonic() - began)


def install(app: Flask, metrics: Metrics, deadline_s: float, surfaces: Mapping[str, str]) -> None:
    """Put a front before an app; ``surfaces`` names the surface of each endpoint that answers lists."""
    app.wsgi_app = Front(app.wsgi_app, deadline_s, metrics)
    app.ensure_sync = lambda view: view  # no view is a coroutine: Flask need not look at each, each time

    @app.before_request
    def name_surface() -> None:
        account().surface = surfaces.get(request.endpoint, NONE)
