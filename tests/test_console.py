"""What the pages are made of: the numbers behind the console, their words, what is told when things are not well."""

import json
import re
from copy import deepcopy
from math import inf

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from published_shop import AS_OF, KEYS, N_ITEMS, TRENDING, UNAVAILABLE, open_shop, user

from conf.settings import load_settings
from schemas.about import pack_about, read_about
from schemas.availability import UNCORRECTED, changed, pack_availability
from serving.bodies import Body
from serving.console_words import alarms, allowed, figures, gate_panels, number, panels, surface_name
from serving.pages import html
from serving.shop import Wanted, read
from serving.traffic import Counts, Recent, between, counted, quantile

SEEN = {"run": "a1", "statistics": {"fill": [0.5, 0.2, None], "n_users": [12.0, None, None]}, "warnings": ["odd"]}


@pytest.fixture(scope="module")
def shop():
    with open_shop(example_users=["ann"], workers=1) as found:
        yield found


# what was counted


def test_quantiles_lie_within_the_bucket_as_prometheus_has_it():
    buckets = {0.001: 0, 0.002: 50, 0.004: 90, inf: 100}
    assert quantile(buckets, 0.5) == 0.002
    assert quantile(buckets, 0.25) == pytest.approx(0.0015)  # half of the 50 in the bucket from 1 to 2 ms
    assert quantile(buckets, 0.8) == pytest.approx(0.0035)  # 30 of the 40 from 2 to 4 ms
    assert quantile(buckets, 0.99) == 0.004  # beyond the last end: that is all one knows
    assert quantile({0.001: 0, inf: 0}, 0.5) is None
    assert quantile({}, 0.5) is None


def families(n_good: int = 3, epochs=(7, 7)):
    """As two workers would have them."""
    registry = CollectorRegistry()
    made = {"registry": registry}
    requests = Counter("nightshelf_requests", "-", ["surface", "status"], **made)
    seconds = Histogram("nightshelf_request_seconds", "-", ["surface", "tier"], buckets=(0.001, 0.002), **made)
    requests.labels("for_you", "200").inc(n_good)
    requests.labels("none", "500").inc(2)
    for _ in range(n_good):
        seconds.labels("for_you", "personal").observe(0.0005)
    seconds.labels("for_you", "copy").observe(0.0015)
    seconds.labels("none", "none").observe(9)
    Counter("nightshelf_shed", "-", **made).inc(4)
    Gauge("nightshelf_workers", "-", **made).set(2)
    epoch = Gauge("nightshelf_epoch", "-", ["pid"], **made)
    for pid, value in enumerate(epochs):
        epoch.labels(str(pid)).set(value)
    return registry.collect()


def test_what_workers_counted_is_read_by_surface_tier_and_status():
    counts = counted(families(), clock=lambda: 5.0)
    assert (counts.at, counts.shed, counts.gauges["workers"], counts.epochs) == (5.0, 4, 2, {7: 2})
    told = between(None, counts)
    assert told["surfaces"]["for_you"] == {"answers": 3, "p50_ms": 0.67, "p95_ms": 1.8, "p99_ms": 1.96}
    assert told["surfaces"]["similar"] == {"answers": 0, "p50_ms": None, "p95_ms": None, "p99_ms": None}
    assert told["tiers"] == {"personal": 3, "copy": 1}  # what is no list is in none
    assert (told["statuses"], told["failed"], told["shed"]) == ({"200": 3, "500": 2}, 2, 4)


def test_the_last_minute_is_what_was_counted_since_somebody_looked():
    recent = Recent()

    def at(moment: float, n: int) -> Counts:
        return counted(families(n), clock=lambda: moment)

    assert recent.before(at(0, 3)) is None
    assert recent.before(at(0.5, 4)) is None  # too short a time to tell anything
    late = at(50, 10)
    before = recent.before(late)
    assert before.at == 0
    told = between(before, late)
    assert (told["seconds"], told["surfaces"]["for_you"]["answers"], told["failed"], told["shed"]) == (50, 7, 0, 0)
    assert told["tiers"] == {"personal": 7}
    assert recent.before(at(100, 12)).at == 50  # the others are older than a minute
    assert recent.before(at(500, 20)) is None


# in words


@pytest.fixture(scope="module")
def calm(shop):
    """A state in which all is well."""
    state = shop.get("/console.json").json["state"]
    for found in state["release"]["surfaces"].values():
        found["age_s"] = 60
    return state


def test_all_is_well(calm):
    assert alarms(calm, 3600) == []


@pytest.mark.parametrize(
    ("where", "change", "told"),
    [
        ("service", {"redis_away": True}, "Redis is away"),
        ("service", {"lost": True}, "publish again"),
        ("service", {"breaker_open": 1}, "1 of 1 workers do not ask Redis"),
        ("service", {"workers_wanted": 4}, "Of 4 workers 1 are there"),
        ("service", {"epochs": {"6": 1, "7": 3}}, "Workers answer from different releases: 1 from 6, 3 from 7"),
        ("service", {"refused": "catalogue abc: gone"}, "A worker says: catalogue abc: gone"),
        ("since_start", {"failed": 1200}, "1,200 requests failed (500) since the start"),
        ("since_start", {"shed": 3}, "3 requests were refused since the start"),
    ],
)
def test_each_thing_that_is_wrong_has_a_line(calm, where, change, told):
    state = deepcopy(calm) | {"recent": None}
    state[where] |= change
    (line,) = alarms(state, 3600)
    assert told in line


def test_old_lists_are_named_with_their_age_and_the_limit(calm):
    state = deepcopy(calm)
    state["release"]["surfaces"]["for_you/control"]["age_s"] = 200_000
    assert alarms(state, 108_000) == ["Older than 30 h (serving.stale_after_hours): For you (2 days)."]
    assert figures(state)[1] == {"name": "Oldest list", "value": "2 days", "note": "youngest 60 s"}


def test_nothing_published_is_told_and_leaves_no_gap(calm):
    state = calm | {"release": None, "catalogue": None, "gate": {}, "recent": None}
    assert alarms(state, 3600)[0].startswith("Nothing was published yet")
    assert [panel["id"] for panel in panels(state) if not panel["rows"]] == ["surfaces", "recent", "catalogue", "tiers"]
    assert figures(state)[0]["value"] == "–"  # noqa: RUF001


def test_the_gates_numbers_have_their_bounds_and_what_was_judged_comes_first():
    seen = deepcopy(SEEN)
    seen["statistics"] = dict(reversed(seen["statistics"].items()))
    (panel,) = gate_panels({"for_you/control": {"slates": seen}, "similar/control": {"slates": seen}})
    assert panel["rows"] == [["fill", "0.5", "at least 0.2"], ["n_users", "12", "–"]]  # noqa: RUF001
    assert (panel["title"], panel["note"]) == ("Gate: slates", "Passed; odd.")
    assert [allowed(0, 0), allowed(None, 2), allowed(1, 3)] == ["0", "at most 2", "1 to 3"]
    assert [number(1234567.0), number(0.123456), number(None)] == ["1,234,567", "0.1235", "–"]  # noqa: RUF001
    assert [surface_name("similar/control"), surface_name("for_you/b")] == ["Similar", "For you (arm b)"]


@pytest.mark.parametrize(
    "raw",
    [None, b"", b"no", b"[]", b'{"version":2,"generations":{}}', b'{"version":1}', b'{"version":1,"generations":[1]}',
     pack_about({"g": {"t": {"run": "a", "statistics": {"x": [1, 2]}, "warnings": []}}}),
     pack_about({"g": {"t": {"run": "a", "statistics": {"x": ["no", 1, 2]}, "warnings": []}}})],
)  # fmt: skip
def test_numbers_that_cannot_be_read_are_none(raw):
    assert read_about(raw) == {}


# over a real Redis


def test_the_state_is_what_redis_and_the_worker_have(shop, monkeypatch):
    release = shop.get("/v1/release").json
    base = release["surfaces"]["for_you/control"]["base"]
    shop.client.set(KEYS.about, pack_about({base: {"slates": SEEN}, "another": {"slates": SEEN}}))
    shop.client.set(KEYS.availability, pack_availability(changed(UNCORRECTED, out=[1, 2, 7], back=[13])))
    shop.wait(lambda: shop.answers.corrections.availability.sequence)
    fresh(shop, monkeypatch)
    state = shop.get("/console.json").json["state"]
    assert state["release"]["epoch"] == release["epoch"]
    assert state["release"]["surfaces"]["for_you/control"]["n_keys"] == 3
    assert state["release"]["surfaces"]["trending/control"]["as_of"] == AS_OF
    assert state["gate"] == {"for_you/control": {"slates": SEEN}}
    found = state["catalogue"]
    assert (found["n_items"], found["available_as_published"]) == (N_ITEMS, N_ITEMS - len(UNAVAILABLE))
    assert (found["taken_out"], found["brought_back"]) == (3, 1)
    available = shop.answers.corrections.available(shop.answers.snapshot().catalogue)
    assert (
        found["available"] == sum(map(available, range(N_ITEMS))) == 37
    )  # 38, without 1 and 7, with 13; 2 was out before
    assert found["segments"] == len(TRENDING)
    assert state["service"]["workers"] == 1


def fresh(shop, monkeypatch):
    """What is kept for seconds is made again."""
    monkeypatch.setattr("serving.console.KEPT_S", 0)
    monkeypatch.setattr("serving.console.ABOUT_S", 0)


def test_nobody_is_named_on_the_console(shop):
    shop.get("/v1/users/ann/recommendations")
    shown = shop.get("/console").text + shop.get("/console.json").text
    assert not re.search(r"\bann\b", shown)
    assert user("ann") not in shown


@pytest.mark.parametrize(
    ("host", "chosen", "there"),
    [("127.0.0.1", "local", True), ("localhost", "local", True), ("::1", "local", True), ("0.0.0.0", "local", False),
     ("shop.example", "local", False), ("0.0.0.0", "on", True), ("127.0.0.1", "off", False)],
)  # fmt: skip
def test_the_console_is_local_unless_told_otherwise(host, chosen, there):
    assert load_settings(serving={"host": host, "console": chosen}).serving.shows_console is there


def test_without_a_console_nothing_leads_there():
    with open_shop(console="off") as shop:
        assert {shop.get(path).status_code for path in ("/console", "/console.json", "/console.js")} == {404}
        assert "console" not in shop.get("/").text


def test_pages_say_what_may_run_and_are_kept_nowhere(shop):
    for path in ("/?user=ann", "/console"):
        reply = shop.get(path)
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "no-store" in reply.headers["Cache-Control"]
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert "://" not in reply.text.replace("http://www.w3.org/", "")
        assert " style=" not in reply.text
        assert shop.web.post(path).status_code == 405
    css = shop.get("/pages.css")
    assert (css.content_type, css.status_code) == ("text/css; charset=utf-8", 200)
    assert shop.get("/pages.css", headers={"If-None-Match": css.headers["ETag"]}).status_code == 304
    assert shop.get("/pages.py").status_code == 404


@pytest.mark.parametrize("query", ["n=0", "n=ten", "user=%FF", "user=" + "x" * 2000, "n=" + "9" * 50])
def test_a_wrong_address_is_a_page_that_says_so(shop, query):
    reply = shop.get(f"/?{query}")
    assert reply.status_code == 400
    assert 'role="alert"' in reply.text
    assert '<form class="ask"' in reply.text


@pytest.mark.parametrize(
    "query", ["", "user=", "utm=1&user=ann", "user=a&user=b", "segment=all", "n=100&user=ann", "item=%00"]
)
def test_any_other_address_is_a_page(shop, query):
    assert shop.get(f"/?{query}").status_code == 200


def test_an_id_that_utf8_cannot_hold_is_shown():
    name = "\ud800"
    body = Body(json.dumps({"item_id": name}).encode(), "", "", False)
    assert read(body) == {"item_id": name}
    assert Wanted(item=name).link() == "?item=%3F"
    with Flask("test").app_context():
        assert html(name, "no-store").data == b"?"


def test_before_the_first_publish_both_pages_say_what_to_run():
    with open_shop() as shop:
        shop.answers.watch.stop()
        shop.answers.watch.snapshot = None
        reply = shop.get("/?user=ann")
        assert reply.status_code == 503
        assert "nightshelf publish" in reply.text
        shown = shop.get("/console")
        assert shown.status_code == 200
        assert "Nothing was published yet" in shown.text
