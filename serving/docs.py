"""/openapi.json, and /docs: a page that renders it and tries requests, without anything from elsewhere."""

from hashlib import blake2b
from importlib.resources import files

import orjson
from flask import Flask, Response, request

from conf.settings import Serving
from schemas.openapi import document

CACHE = "public, max-age=300"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"


def add_docs(app: Flask, settings: Serving) -> None:
    """Both are made once, when a worker starts."""
    described = orjson.dumps(document(settings.default_n, settings.max_n))
    page = (files("serving") / "docs.html").read_bytes()
    add(app, "/openapi.json", described, "application/json")
    add(app, "/docs", page, "text/html; charset=utf-8")


def add(app: Flask, path: str, body: bytes, kind: str, policy: str = POLICY) -> None:
    """A route whose answer never changes while the worker lives."""
    etag = blake2b(body, digest_size=12).hexdigest()

    def answer() -> Response:
        response = Response(body, content_type=kind)
        response.headers.update({"Cache-Control": CACHE, "Content-Security-Policy": policy})
        response.set_etag(etag)
        return response.make_conditional(request)

    app.add_url_rule(path, path, answer, methods=["GET"])
