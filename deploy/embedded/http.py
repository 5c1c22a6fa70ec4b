"""GET from our own servers, never through a proxy."""

import json
import urllib.error
import urllib.request

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str) -> dict:
    """A JSON document.

    Raises:
        OSError: no answer within 10 s, or an error status.
    """
    with DIRECT.open(url, timeout=10) as answer:
        return json.load(answer)


def is_up(url: str) -> bool:
    try:
        with DIRECT.open(url, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
