"""Ask the running API what a person gets, and tell in words which rung answered and why each item is there."""

import argparse
import http.client
import sys
import urllib.error
import urllib.parse
import urllib.request

import orjson

from conf.settings import Settings
from jobs.rim.errors import TemporaryError, UsageError
from schemas.words import DEGRADED, RUNGS, SOURCES, age

TIMEOUT_S = 5
URL = "allowed: a URL such as http://127.0.0.1:8330 of a Nightshelf API"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", help="the person's id, as the source spells it")
    parser.add_argument("--url", help="where the API runs (default: serving.host and serving.port of the settings)")
    parser.add_argument("--n", type=int, default=10, help="items to show (default: 10)")


def main(args: argparse.Namespace, settings: Settings) -> int:
    url = args.url or f"http://{settings.serving.host}:{settings.serving.port}"
    answer = fetch(url, args.user, args.n)
    # titles may hold what the terminal's encoding does not
    encoding = sys.stdout.encoding or "utf-8"
    print("\n".join(tell(args.user, answer)).encode(encoding, "replace").decode(encoding))
    return 0


def fetch(url: str, user: str, n: int) -> dict:
    """The API's answer.

    Raises:
        TemporaryError: the API cannot be reached, or nothing was published yet.
        UsageError: the API refused the request, or the URL is none.
    """
    path = f"/v1/users/{urllib.parse.quote(user, safe='')}/recommendations?n={n}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the API is asked directly
    try:
        with opener.open(url.rstrip("/") + path, timeout=TIMEOUT_S) as response:
            return orjson.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            detail = problem_detail(error.read())
        kind = TemporaryError if error.code >= 500 else UsageError
        raise kind(f"{url} answered {error.code}: {detail}") from None
    except (OSError, http.client.HTTPException) as error:
        if "unknown url type" in str(error):
            raise UsageError(f"{url}: {error}; {URL}") from None
        reason = getattr(error, "reason", error)
        raise TemporaryError(
            f"the API at {url} cannot be reached ({reason}): start it with `make serve`, or name it by --url"
        ) from None
    except ValueError as error:
        raise UsageError(f"{url}: {error}; {URL}") from None


def problem_detail(body: bytes) -> str:
    try:
        return orjson.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")


def tell(user: str, answer: dict) -> list[str]:
    """The answer in lines."""
    lines = [f"{user}: answered from {RUNGS[answer['tier']]} (tier {answer['tier']}, arm {answer['arm']})"]
    if answer["tier"] != "personal" and not answer["degraded"]:
        lines.append("  this person is unknown: there is no slate for them in this generation")
    if answer["degraded"]:
        lines.append(f"  degraded: {DEGRADED}")
    if answer["generation"]:
        lines.append(f"  generation {answer['generation']}, made {age(answer['age_s'])} ago")
    lines += [f"  filled up from {surface}: {base}" for surface, base in answer["generations"].items()]
    return lines + table([row(item) for item in answer["items"]])


def row(item: dict) -> tuple[str, str, str, str]:
    because = item["because_of"]
    reason = f"because of {because['title'] or because['item_id']}" if because else ""
    return str(item["rank"]), item["title"] or item["item_id"], SOURCES.get(item["source"], item["source"]), reason


def table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    """Rows with their columns aligned; ranks to the right."""
    widths = [max((len(cells[place]) for cells in rows), default=0) for place in range(3)]
    return [
        f"  {rank:>{widths[0]}}  {title:<{widths[1]}}  {source:<{widths[2]}}  {reason}".rstrip()
        for rank, title, source, reason in rows
    ]
