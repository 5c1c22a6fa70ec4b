"""What stands before the routes: a request's deadline, made as it arrives, and the account of how it went."""

from collections.abc import Callable, Iterable, Mapping
from time import monotonic

from flask import request

from serving.deadline import Deadline
from serving.gate import ARRIVED
from serving.metrics import NONE, Metrics

ACCOUNT = "nightshelf.account"


class Account:
    """One request: how long it may take, and what it was answered with; the routes fill in the tier."""

    __slots__ = ("deadline", "status", "tier")

    def __init__(self, deadline: Deadline):
        self.deadline = deadline
        self.status, self.tier = "500", NONE


def account() -> Account:
    """Of the request being answered."""
    return request.environ[ACCOUNT]


class Front:
    """Wraps the WSGI app of Flask; ``surfaces`` names the surface of each endpoint that answers lists."""

    def __init__(self, app: Callable, deadline_s: float, metrics: Metrics, surfaces: Mapping[str, str]):
        self.app, self.deadline_s, self.metrics, self.surfaces = app, deadline_s, metrics, surfaces

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
            asked = environ.get("werkzeug.request")
            surface = self.surfaces.get(asked.endpoint, NONE) if asked is not None else NONE
            metrics.took(surface, told.status, told.tier, monotonic() - began)
