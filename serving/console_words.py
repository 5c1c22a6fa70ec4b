"""The console's numbers in words: what is wrong, the figures on top, and the tables below.

A table is its columns and rows of cells; a cell is a text, or a text with a share to draw. The first names its row.
"""

from collections.abc import Mapping
from typing import Any

from schemas.words import RUNGS, age

State = Mapping[str, Any]
NONE = "–"  # noqa: RUF001
SURFACES = {
    "for_you": "For you",
    "similar": "Similar",
    "bought_together": "Bought together",
    "trending": "Trending",
}
LIVE = ("Surface", "Generation", "Knows all before", "Made", "Keys", "Kept besides")
TRAFFIC = ("Surface", "Answers", "p50, ms", "p95, ms", "p99, ms")
TIERS = ("Rung", "Lists", "Share")


def alarms(state: State, stale_s: int) -> list[str]:
    """A line for each thing that is not as it should be, the worst first."""
    service, release = state["service"], state["release"]
    n, lately, aged = service["workers"], state["recent"] or state["since_start"], old(release, stale_s)
    when = f"in the last {lately['seconds']:.0f} s" if state["recent"] else "since the start"
    found = (
        (release is None, "Nothing was published yet: run `nightshelf publish` (or `make run`)."),
        (service["redis_away"], "Redis is away: answers come from copies, what people have seen is not left out."),
        (service["lost"], "Redis answers, but what was published is gone from it: publish again."),
        (service["breaker_open"], f"{service['breaker_open']} of {n} workers do not ask Redis."),
        (n < service["workers_wanted"], f"Of {service['workers_wanted']} workers {n} are there."),
        (len(service["epochs"]) > 1, f"Workers answer from different releases: {by_epoch(service)}."),
        (lately["failed"], f"{lately['failed']:,} requests failed (500) {when}: the log says why."),
        (lately["shed"], f"{lately['shed']:,} requests were refused {when}: others waited too long already."),
        (service["refused"] and not service["redis_away"], f"A worker says: {service['refused']}"),
        (aged, f"Older than {age(stale_s)} (serving.stale_after_hours): {', '.join(aged)}."),
    )
    return [line for wrong, line in found if wrong]


def by_epoch(service: State) -> str:
    return ", ".join(f"{n} from {epoch}" for epoch, n in service["epochs"].items())


def old(release: State | None, stale_s: int) -> list[str]:
    """Surfaces whose live list is too old, with its age."""
    surfaces = release["surfaces"] if release else {}
    return [
        f"{surface_name(name)} ({age(found['age_s'])})" for name, found in surfaces.items() if found["age_s"] > stale_s
    ]


def surface_name(name: str) -> str:
    """Such as For you, or Similar (arm b)."""
    surface, _, arm = name.partition("/")
    told = SURFACES.get(surface, surface)
    return told if arm in ("", "control") else f"{told} (arm {arm})"


def figures(state: State) -> list[dict[str, str]]:
    """The few numbers one looks at first."""
    release, service, lately = state["release"], state["service"], state["recent"]
    ages = [found["age_s"] for found in release["surfaces"].values()] if release else []
    surfaces = (lately or state["since_start"])["surfaces"].values()
    slowest = max((found["p99_ms"] for found in surfaces if found["p99_ms"] is not None), default=None)
    rate = sum(found["answers"] for found in surfaces) / lately["seconds"] if lately else None
    within = f"last {lately['seconds']:.0f} s" if lately else "since the start"
    redis = "away" if service["redis_away"] else "emptied" if service["lost"] else "answers"
    told = (
        ("Release", str(release["epoch"]), f"switched {age(release['age_s'])} ago")
        if release
        else ("Release", NONE, ""),
        ("Oldest list", age(max(ages)) if ages else NONE, f"youngest {age(min(ages))}" if ages else ""),
        ("Answers a second", NONE if rate is None else f"{rate:,.1f}", within if lately else "counting"),
        ("Slowest p99", NONE if slowest is None else f"{ms(slowest)} ms", within),
        ("Workers", f"{service['workers']} of {service['workers_wanted']}", f"{service['in_flight']} in flight"),
        ("Redis", redis, f"breakers opened {service['breaker_opened']:,} times"),
    )
    return [{"name": name, "value": value, "note": note} for name, value, note in told]


def panels(state: State) -> list[dict[str, Any]]:
    recent, start = state["recent"], state["since_start"]
    heading = f"Last {recent['seconds']:.0f} s" if recent else "Last minute"
    estimated = "All workers together; times are estimated from histograms."
    return [
        panel("surfaces", "Live now", LIVE, live(state)),
        panel("recent", heading, TRAFFIC, traffic(recent), estimated),
        panel("start", "Since the start", TRAFFIC, traffic(start), estimated),
        panel("service", "Service", (), service_rows(state)),
        panel("catalogue", "Catalogue", (), catalogue_rows(state["catalogue"])),
        panel(
            "tiers", "Which rung answered", TIERS, tier_rows(recent or start), heading if recent else "Since the start"
        ),
        *gate_panels(state["gate"]),
    ]


def panel(name: str, title: str, columns: tuple, rows: list, note: str = "") -> dict[str, Any]:
    return {"id": name, "title": title, "columns": columns, "rows": rows, "note": note}


def live(state: State) -> list[list]:
    surfaces = state["release"]["surfaces"] if state["release"] else {}
    return [
        [
            surface_name(name),
            found["generation"] + (" (pinned)" if found["generation"] in found["pinned"] else ""),
            moment(found["as_of"]),
            f"{age(found['age_s'])} ago",
            f"{found['n_keys']:,}",
            ", ".join(found["kept"]) or NONE,
        ]
        for name, found in surfaces.items()
    ]


def traffic(counts: State | None) -> list[list]:
    found = counts["surfaces"] if counts else {}
    return [
        [surface_name(name), f"{one['answers']:,}", *(ms(one[key]) for key in ("p50_ms", "p95_ms", "p99_ms"))]
        for name, one in found.items()
    ]


def tier_rows(counts: State) -> list[list]:
    total = sum(counts["tiers"].values())
    return [
        [RUNGS.get(tier, tier), f"{n:,}", {"text": f"{n / total:.1%}", "share": round(n / total, 4)}]
        for tier, n in counts["tiers"].items()
    ]


def service_rows(state: State) -> list[list]:
    service, start = state["service"], state["since_start"]
    statuses = ", ".join(f"{status}: {n:,}" for status, n in start["statuses"].items())
    return [
        ["Workers", f"{service['workers']} of {service['workers_wanted']}"],
        ["Releases they answer from", by_epoch(service) or NONE],
        ["Workers that answer from copies", f"{service['degraded']}"],
        ["Breakers open", f"{service['breaker_open']} (opened {service['breaker_opened']:,} times)"],
        ["Requests in flight", f"{service['in_flight']}"],
        ["Refused by load, since the start", f"{start['shed']:,}"],
        ["Failed (500), since the start", f"{start['failed']:,}"],
        ["By status, since the start", statuses or NONE],
    ]


def catalogue_rows(found: State | None) -> list[list]:
    if not found:
        return []
    return [
        ["Items", f"{found['n_items']:,}"],
        ["May be recommended now", f"{found['available']:,} ({found['available'] / max(found['n_items'], 1):.1%})"],
        ["Available as published", f"{found['available_as_published']:,}"],
        ["Taken out since", f"{found['taken_out']:,}"],
        ["Brought back since", f"{found['brought_back']:,}"],
        ["Promotions now", f"{found['promotions_now']:,} of {found['promotions']:,}"],
        ["Categories, trending segments", f"{found['categories']:,}, {found['segments']:,}"],
        ["Known as of", moment(found["as_of"])],
    ]


def gate_panels(gate: State) -> list[dict[str, Any]]:
    """A table for each table that was judged, once, though several surfaces are made of it."""
    found: dict[str, State] = {}
    for tables in gate.values():
        found |= tables
    return [
        panel(f"gate-{table}", f"Gate: {table}", ("Statistic", "Seen", "Allowed"), gate_rows(seen), warnings(seen))
        for table, seen in sorted(found.items())
    ]


def gate_rows(seen: State) -> list[list]:
    """What was judged first."""
    rows = sorted(seen["statistics"].items(), key=lambda row: row[1][1:] == [None, None])
    return [[name, number(value), allowed(low, high)] for name, (value, low, high) in rows]


def warnings(seen: State) -> str:
    return "; ".join(["Passed", *seen["warnings"]]) + "."


def allowed(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return NONE
    if low is None or high is None:
        return f"at least {number(low)}" if high is None else f"at most {number(high)}"
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def number(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def ms(value: float | None) -> str:
    return NONE if value is None else f"{value:,.1f}"


def moment(text: str) -> str:
    """A time of the release, to the minute."""
    return f"{text[:16].replace('T', ' ')} UTC"
