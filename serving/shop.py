"""What the shop page shows: a person's slate with its reasons, an item with what goes with it, what rises.

It asks the same answers as the API's routes, and says in words what those say in fields. Without a script: a form, and
links back to the page itself.
"""

import json
from collections.abc import Mapping
from math import isnan
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson
from flask import request

from conf.settings import Serving
from schemas.keys import GLOBAL_SEGMENT
from schemas.release import parse_time
from schemas.words import DEGRADED, RUNGS, SOURCES
from serving.answers import Answers, NothingPublished
from serving.asked import Asked, Forms
from serving.bodies import Body
from serving.copies import Snapshot
from serving.front import account
from serving.values import Refused, pairs, short

N_BESIDE = 6  # items in each list beside the slate
MOST_SEGMENTS = 300  # offered to choose from
FIELDS = ("user", "n", "segment", "item")


class Wanted(NamedTuple):
    """What the address of the page asks for; an empty text is nothing."""

    user: str = ""
    n: int = 0
    segment: str = ""
    item: str = ""

    def link(self, **changed: str) -> str:
        """The address of the page with some of it changed; relative, so that the page may stand anywhere."""
        values = self._replace(**changed)._asdict()
        return "?" + urlencode({name: value for name, value in values.items() if value}, errors="replace")


class Shop:
    """Makes what the template ``shop.html`` is filled with."""

    def __init__(self, answers: Answers, settings: Serving):
        self.answers, self.settings, self.forms = answers, settings, Forms(settings)

    def page(self) -> tuple[int, dict[str, Any]]:
        """Status and values; what is wrong with the request is told on the page."""
        empty = self.frame(Wanted(n=self.forms.default_n))
        try:
            wanted = self.wanted(request.environ.get("QUERY_STRING", ""))
            return 200, empty | self.frame(wanted) | self.lists(wanted, self.answers.snapshot())
        except Refused as error:
            return 400, empty | {"trouble": str(error)}
        except NothingPublished as error:
            return 503, empty | {"trouble": str(error)}

    def wanted(self, query: str) -> Wanted:
        """Raise Refused for a wrong value; unknown fields are overlooked: others mark addresses with theirs."""
        found = {name: short(name, text) for name, text in pairs(query) if name in FIELDS}
        n = found.pop("n", "")
        return Wanted(n=self.forms.count(n) if n else self.forms.default_n, **found)

    def frame(self, wanted: Wanted) -> dict[str, Any]:
        """What is there whatever was found."""
        examples = [{"name": user, "link": wanted.link(user=user, item="")} for user in self.settings.example_users]
        nothing = dict.fromkeys(("trouble", "degraded", "slate", "item", "trending"))
        return nothing | {"wanted": wanted, "max_n": self.forms.max_n, "examples": examples, "segments": {}}

    def lists(self, wanted: Wanted, snapshot: Snapshot) -> dict[str, Any]:
        answers, deadline = self.answers, account().deadline
        beside = Asked(N_BESIDE, wanted.segment or None)
        shown = {"trending": self.listed(read(answers.trending(beside)), wanted)}
        if wanted.user:
            asked = Asked(wanted.n, wanted.segment or None)
            found = answers.for_you(wanted.user, asked, deadline)
            shown["slate"] = self.listed(json.loads(orjson.dumps(found)), wanted)
        if wanted.item:
            shown["item"] = self.item(wanted, snapshot)
        lists = [shown["trending"], shown.get("slate"), *(shown["item"]["lists"].values() if wanted.item else ())]
        degraded = DEGRADED if any(found["degraded"] for found in lists if found) else None
        return shown | {"segments": segments(snapshot, wanted.segment), "degraded": degraded}

    def item(self, wanted: Wanted, snapshot: Snapshot) -> dict[str, Any]:
        """An item as the catalogue has it, None for one it does not have, and what goes with it."""
        asked, deadline, catalogue = Asked(N_BESIDE), account().deadline, snapshot.catalogue
        lists = {
            surface: self.listed(read(self.answers.of_item(surface, wanted.item, asked, deadline)), wanted)
            for surface in ("similar", "bought_together")
        }
        idx = self.answers.view(snapshot).index(wanted.item)
        if idx is None:
            return {"known": None, "lists": lists}
        item_id, title, category = catalogue.record(idx)
        known = {
            "title": title or item_id,
            "about": about(category, catalogue.price(idx)),
            "available": self.answers.corrections.available(catalogue)(idx),
        }
        return {"known": known, "lists": lists}

    def listed(self, answer: Mapping[str, Any], wanted: Wanted) -> dict[str, Any]:
        """An answer in words."""
        made = answer["generated_at"]
        age_s = max(0, int(self.answers.clock() - parse_time(made).timestamp())) if made else None
        return {
            "tier": answer["tier"],
            "from": RUNGS[answer["tier"]],
            "own": answer["tier"] in ("personal", "neighbors", "copy"),
            "degraded": answer["degraded"],
            "age_s": age_s,
            "items": [self.line(item, wanted) for item in answer["items"]],
        }

    def line(self, item: Mapping[str, Any], wanted: Wanted) -> dict[str, Any]:
        """An item of a list: its own words, why it is there, and the address that shows it."""
        view, because = self.answers.view(self.answers.snapshot()), item["because_of"]
        idx = view.index(item["item_id"])
        price = view.catalogue.price(-1 if idx is None else idx)
        return {
            "rank": item["rank"],
            "id": item["item_id"],
            "title": item["title"] or item["item_id"],
            "about": about(item["category"], price),
            "why": SOURCES.get(item["source"], item["source"]),
            "because": because and (because["title"] or because["item_id"]),
            "link": wanted.link(item=item["item_id"]) + "#item",
        }


def read(body: Body) -> dict[str, Any]:
    return json.loads(body.json)  # orjson refuses the lone surrogates that an id may hold


def about(category: str | None, price: float) -> str:
    """Category and price, as far as they are known; a price has no currency in the catalogue."""
    return " · ".join(filter(None, (category, None if isnan(price) else f"{price:,.2f}")))


def segments(snapshot: Snapshot, chosen: str) -> dict[str, list[str]]:
    """Segments that have a list, by attribute, rising; the chosen one even where it has none."""
    names = list(snapshot.trending.lists) if snapshot.trending else []
    offered = [name for name in sorted(names) if name != GLOBAL_SEGMENT][:MOST_SEGMENTS]
    grouped: dict[str, list[str]] = {}
    for name in dict.fromkeys([*offered, *([chosen] if chosen else [])]):
        grouped.setdefault(name.partition("=")[0].replace("_", " "), []).append(name)
    return grouped
