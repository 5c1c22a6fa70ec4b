"""Fetches people's slates over HTTP and tells them for a terminal."""

from collections.abc import Mapping
from urllib.parse import quote

from deploy.embedded.http import fetch

N_SHOWN = 5


def slate(url: str, person: str) -> str:
    """One person's first items with titles and reasons."""
    answer = fetch(f"{url}/v1/users/{quote(person, safe='')}/recommendations?n={N_SHOWN}")
    return listed(person, answer)


def public_lists(url: str) -> list[str]:
    """What rises, and what goes with the first of it, for sources where nobody has an id."""
    trending = fetch(f"{url}/v1/trending?n={N_SHOWN}")
    lists = [listed("trending", trending)]
    if trending["items"]:
        first = trending["items"][0]
        near = fetch(f"{url}/v1/items/{quote(first['item_id'], safe='')}/similar?n={N_SHOWN}")
        lists.append(listed(f"similar to {title(first)}", near))
    return lists


def listed(name: str, answer: Mapping) -> str:
    head = f"{name} ({answer['tier']}, generation {answer['generation']})"
    return "\n".join([head, *(line(item) for item in answer["items"])])


def line(item: Mapping) -> str:
    return f"  {item['rank']}. {title(item)}" + reason(item)


def title(item: Mapping) -> str:
    return item.get("title") or item["item_id"]


def reason(item: Mapping) -> str:
    source = item["source"].replace("_", " ")
    because = item.get("because_of")
    return f" — because of {title(because)} ({source})" if because else f" ({source})"
