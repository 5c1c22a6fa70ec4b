"""Pages for people: the shop at /, the console at /console. Templates and files are this package's own.

Nothing in them comes from elsewhere, and no script or style stands within a page, so the policy sent along forbids
both: a title that holds markup is shown as text, and could not run if it were not.
"""

from importlib.resources import files

from flask import Flask, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from conf.settings import Serving
from schemas.routes import NO_STORE, PERSONAL
from schemas.words import age
from serving.answers import Answers
from serving.console import Console
from serving.docs import add
from serving.metrics import Metrics
from serving.shop import Shop

HTML = "text/html; charset=utf-8"
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",  # an address names whose list it shows
    "X-Content-Type-Options": "nosniff",
}
FILES = {"pages.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}


def add_pages(app: Flask, answers: Answers, settings: Serving, metrics: Metrics) -> None:
    """The shop page, and the console where ``settings.console`` has it."""
    found = templates()
    found.globals["console"] = settings.shows_console
    for name, kind in FILES.items():
        add_file(app, name, kind)
    shop, page = Shop(answers, settings), found.get_template("shop.html")

    def show_shop() -> Response:
        status, shown = shop.page()
        return html(page.render(shown), PERSONAL, status)

    app.add_url_rule("/", "shop", show_shop, methods=["GET"])
    if settings.shows_console:
        add_console(app, Console(answers, settings, metrics), found)


def add_console(app: Flask, console: Console, found: Environment) -> None:
    """The page as it is now, and what its script asks for every few seconds to keep it so."""
    page = found.get_template("console.html")
    add_file(app, "console.js", "text/javascript; charset=utf-8")
    app.add_url_rule("/console", "console", lambda: html(page.render(console.shown()), NO_STORE), methods=["GET"])
    app.add_url_rule("/console.json", "console.json", lambda: console.reply(HEADERS), methods=["GET"])


def templates() -> Environment:
    """All text is escaped; a name that is not given is an error."""
    found = Environment(
        loader=PackageLoader("serving"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["age"] = age
    return found


def add_file(app: Flask, name: str, kind: str) -> None:
    add(app, f"/{name}", (files("serving") / "static" / name).read_bytes(), kind, POLICY)


def html(text: str, cache: str, status: int = 200) -> Response:
    """A page; what UTF-8 cannot hold (a lone surrogate in an id) becomes a question mark."""
    response = Response(text.encode("utf-8", "replace"), status, content_type=HTML)
    response.headers.update({"Cache-Control": cache, **HEADERS})
    return response
