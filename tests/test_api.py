"""Parameters, batch, explanations and corrections of the API, over a published shop; every answer fits the document."""

import json
import urllib.parse
from argparse import Namespace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from published_shop import AS_OF, IDS, KEYS, N_ITEMS, UNAVAILABLE, open_shop, packed, user

from jobs import availability, promotions
from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.outside import live_catalogue
from schemas.api import PROBLEM_TYPE
from schemas.availability import items_of
from schemas.codec import pack_ids
from schemas.openapi import document
from schemas.routes import FOR_YOU, MAX_BODY, ROUTES
from serving.app import open_answers

ANN, SIMILAR = "/v1/users/ann/recommendations", "/v1/items/i1/similar"


@pytest.fixture(scope="module")
def shop():
    with open_shop() as found:
        yield found


@pytest.fixture
def plain(shop):
    """The shop, and afterwards nothing of what was corrected."""
    yield shop
    shop.client.delete(KEYS.availability, KEYS.promotions)
    outside, folder = shop.answers.corrections, shop.answers.watch.folder
    shop.answers.watch.poll()  # a poll that read them before is over
    for followed in (outside._availability, outside._promotions):
        (folder.folder / followed.name).unlink(missing_ok=True)
        followed.__init__(followed.name, folder, followed.read, followed.nothing)


# the document


def test_the_document_is_valid_and_holds_every_route(shop):
    reply = shop.get("/openapi.json")
    assert reply.json == json.loads(json.dumps(document(10, 100)))
    validate(reply.json)
    assert set(reply.json["paths"]) == {route.path for route in ROUTES}
    pages = {"/", "/pages.css", "/icon.svg", "/console", "/console.json", "/console.js"}
    rules = {rule.rule for rule in shop.app.url_map.iter_rules()} - {"/openapi.json", "/docs", "/metrics"} - pages
    assert rules == {route.path.replace("{", "<text:").replace("}", ">") for route in ROUTES}
    assert shop.get("/openapi.json", headers={"If-None-Match": reply.headers["ETag"]}).status_code == 304


def answers_of(shop):
    for path in (ANN, "/v1/users/nobody/recommendations", SIMILAR, "/v1/items/i1/bought-together", "/v1/trending"):
        for query in ("", "?n=3&explain=true&country=France&exclude=i3"):
            yield path, shop.get(path + query)
    body = {"subjects": [{"user_id": "ann"}, {"item_id": "i1"}], "explain": True}
    yield "/v1/batch", shop.web.post("/v1/batch", json=body)
    for path in ("/v1/release", "/livez", "/readyz"):
        yield path, shop.get(path)


def test_every_answer_is_as_the_document_says(shop):
    described = shop.get("/openapi.json").json
    for path, reply in answers_of(shop):
        assert reply.status_code == 200, path
        route = next(route for route in ROUTES if rule_matches(route.path, path))
        schema = described["paths"][route.path][route.method]["responses"]["200"]["content"]["application/json"][
            "schema"
        ]
        Draft202012Validator(schema | {"components": described["components"]}).validate(reply.json)
        assert reply.headers["Cache-Control"] == route.cache


def rule_matches(rule, path):
    parts, wanted = rule.split("/"), path.split("/")
    return len(parts) == len(wanted) and all(a.startswith("{") or a == b for a, b in zip(parts, wanted, strict=True))


def test_the_docs_page_needs_nothing_from_elsewhere(shop):
    reply = shop.get("/docs")
    assert (reply.status_code, reply.content_type) == (200, "text/html; charset=utf-8")
    assert "://" not in reply.text.replace("http://www.w3.org/", "")
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]


# excluding and filtering


@pytest.mark.parametrize("query", ["exclude=i1,i3", "exclude=i1&exclude=i3", "exclude=i1%2Ci3", "exclude=,i1,,i3,,no,"])
def test_excluded_items_never_come(shop, query):
    assert shop.items(f"{ANN}?n=3&{query}") == ["i4", IDS[5], "i6"]
    assert not {"i1", "i3"} & set(shop.items(f"{ANN}?n=100&{query}"))
    assert not {"i1", "i3"} & set(shop.items(f"/v1/trending?n=100&{query}"))


def test_an_id_with_a_comma_can_be_excluded(shop):
    assert IDS[5] not in shop.items(f"{ANN}?n=100&exclude={urllib.parse.quote(IDS[5])}")


def test_categories_are_kept_to_and_filled_up(shop):
    answer = shop.get(f"{ANN}?category=toys&n=100").json
    toys = [IDS[idx] for idx in range(1, N_ITEMS, 4) if idx not in UNAVAILABLE | {21}]
    got = [item["item_id"] for item in answer["items"]]
    # 1 and 5 of the slate, 33 and 37 of the segment, then the newest of the catalogue; 13 is away, 21 was seen
    assert got[:4] == ["i1", IDS[5], "i33", "i37"]
    assert sorted(got) == sorted(toys)
    assert {item["category"] for item in answer["items"]} == {"toys"}
    assert shop.items(f"{ANN}?category=none") == []
    both = shop.get(f"{ANN}?category=toys,food&n=100").json["items"]
    assert {item["category"] for item in both} == {"toys", "food"}
    assert shop.items("/v1/trending?category=toys&n=2") == ["i33", "i37"]


def test_prices_are_kept_to_and_unknown_ones_left_out(shop):
    assert shop.items(f"{ANN}?price_min=3.5&price_max=4.5&n=9") == ["i3", "i4"]
    assert shop.items("/v1/trending?price_max=1.5&n=9") == ["i1"]  # i0 has no price
    assert shop.items("/v1/trending?price_min=38&category=food") == ["i38"]


def test_context_chooses_segments_in_order(shop):
    path = "/v1/users/nobody/recommendations?n=5&explain=true"
    answer = shop.get(
        f"{path}&time=2026-01-31T20:15:00%2B01:00&device=phone&country=France&segment=category%3Dtoys"
    ).json
    assert [item["item_id"] for item in answer["items"]] == ["i33", "i37", "i30", "i20", "i31"]
    assert answer["tier"] == "segment_trending"
    assert answer["explain"]["segments"] == ["category=toys", "country=France", "device=phone", "daypart=evening"]
    assert answer["explain"]["context"] == {
        "country": "France",
        "device": "phone",
        "time": "2026-01-31T20:15:00+01:00",
    }
    # a + that a form made a space; evening by UTC begins at 18
    assert shop.items("/v1/trending?n=1&time=2026-01-31T20:15:00+01:00") == ["i35"]
    assert shop.items("/v1/trending?n=1&time=2026-01-31T18:15:00+01:00") == ["i20"]
    assert shop.items("/v1/items/i8/similar?n=1&country=France") == ["i30"]
    assert shop.get("/v1/trending?segment=moon").json["tier"] == "global_trending"


def test_an_explanation_tells_rungs_and_drops(shop):
    told = shop.get(f"{ANN}?n=7&explain=true&exclude=i3,i22&category=toys,books,food").json["explain"]
    assert told["rungs"] == [
        {
            "tier": "personal",
            "surface": "for_you",
            "generation": shop.answers.watch.snapshot.release.live("for_you").base,
            "n_items": 6,
            "gave": 4,
            "dropped": {"excluded": 1, "unavailable": 1},
        },
        {**trending_rung(shop, "segment_trending"), "n_items": 2, "gave": 2, "dropped": {}},
        {
            **trending_rung(shop, "global_trending"),
            "n_items": 6,
            "gave": 0,
            "dropped": {"excluded": 1, "filtered": 1, "repeated": 1, "seen": 2, "unavailable": 1},
        },
    ]
    assert (told["from_catalogue"], told["promoted"]) == (1, [])
    assert "explain" not in shop.get(ANN).json


def trending_rung(shop, tier):
    base = shop.answers.watch.snapshot.release.live("trending").base
    return {"tier": tier, "surface": "trending", "generation": base}


def test_just_bought_items_never_come(shop):
    shop.client.set(KEYS.recents(user("bob")), pack_ids([8, 20]))
    answer = shop.get("/v1/users/bob/recommendations?n=2&explain=true").json
    assert [item["item_id"] for item in answer["items"]] == ["i21", "i1"]
    assert answer["explain"]["rungs"][0]["dropped"] == {"recent": 1}
    shop.client.set(KEYS.recents(user("bob")), b"damaged")
    assert shop.get("/v1/users/bob/recommendations?n=2").json["degraded"] is True
    shop.client.delete(KEYS.recents(user("bob")))


def test_public_answers_with_parameters_are_the_same_for_everybody(shop):
    queries = ("n=3&exclude=i3&category=toys&explain=true", "price_max=9&country=France", "time=2026-01-31T20:00:00Z")
    for path in (SIMILAR, "/v1/trending"):
        for query in queries:
            first = shop.get(f"{path}?{query}")
            shop.answers.bodies.__init__()  # as another worker
            again = shop.get(f"{path}?{query}")
            assert (first.data, first.headers["ETag"]) == (again.data, again.headers["ETag"])
            known = shop.get(f"{path}?{query}", headers={"If-None-Match": f'W/"x", {first.headers["ETag"]}'})
            assert (known.status_code, known.data) == (304, b"")
            assert known.headers["Cache-Control"] == "public, max-age=60"
    ids = {shop.get(f"{SIMILAR}?{query}").json["recommendation_id"] for query in queries}
    assert len(ids) == len(queries)


# batch


def test_a_batch_answers_each_in_order(shop):
    subjects = [{"user_id": "ann"}, {"item_id": "i1"}, {"user_id": "nobody"}, {"user_id": "bob"}]
    subjects.append({"item_id": "i1", "surface": "bought_together"})
    reply = shop.web.post("/v1/batch", json={"subjects": subjects, "n": 2, "exclude": ["i3"]})
    assert reply.headers["Cache-Control"] == "private, no-store"
    got = [[item["item_id"] for item in answer["items"]] for answer in reply.json["answers"]]
    assert got == [["i1", "i4"], [IDS[5], "i33"], ["i20", "i21"], ["i8", "i20"], ["i9", "i33"]]
    assert [answer["tier"] for answer in reply.json["answers"]][:3] == ["personal", "neighbors", "global_trending"]
    many = [{"user_id": f"u{k}"} for k in range(100)]
    assert len(shop.web.post("/v1/batch", json={"subjects": many}).json["answers"]) == 100


DEEP = b'{"subjects":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
BODIES = [
    (b"", 400, "no JSON"),
    (b"{", 400, "no JSON"),
    (b"\xff\xfe", 400, "no JSON"),
    (b"[]", 400, "subjects"),
    (b'{"subjects":[]}', 400, "1 to 100"),
    (b'{"subjects":{"user_id":"a"}}', 400, "subjects"),
    (json.dumps({"subjects": [{"user_id": "a"}] * 101}).encode(), 400, "1 to 100"),
    (json.dumps({"subjects": [{"user_id": "a"}] * 100, "n": 100}).encode(), 400, "2,000 items"),
    (b'{"subjects":[{"user_id":"a"}],"n":0}', 400, "1 to 100"),
    (b'{"subjects":[{"user_id":"a"}],"n":-1}', 400, "1 to 100"),
    (b'{"subjects":[{"user_id":"a"}],"n":1000000000}', 400, "1 to 100"),
    (b'{"subjects":[{"user_id":"a"}],"n":true}', 400, "n = True"),
    (b'{"subjects":[{"user_id":"a"}],"n":1.5}', 400, "n = 1.5"),
    (b'{"subjects":[{"user_id":"a"}],"n":"5"}', 400, "n = '5'"),
    (b'{"subjects":[{"user_id":"a"}],"count":5}', 400, "'count' is unknown"),
    (b'{"subjects":[{"user_id":"a"}],"exclude":"i1"}', 400, "a list of texts"),
    (b'{"subjects":[{"user_id":"a"}],"exclude":[1]}', 400, "a list of texts"),
    (b'{"subjects":[{"user_id":"a"}],"explain":"true"}', 400, "true or false"),
    (b'{"subjects":[{"user_id":"a"}],"price_min":-1}', 400, "from 0 to 1,000,000,000,000"),
    (b'{"subjects":[{"user_id":"a"}],"price_min":1e300}', 400, "from 0 to 1,000,000,000,000"),
    (b'{"subjects":[{"user_id":"a"}],"price_min":NaN}', 400, "no JSON"),
    (b'{"subjects":[{"user_id":"a"}],"time":"noon"}', 400, "ISO 8601"),
    (b'{"subjects":[{"user_id":"a"}],"segment":null}', 400, "text"),
    (b'{"subjects":[{"user_id":""}]}', 400, "subjects[0]"),
    (b'{"subjects":["a"]}', 400, "subjects[0]"),
    (b'{"subjects":[{"user_id":"a","item_id":"b"}]}', 400, "subjects[0]"),
    (b'{"subjects":[{"item_id":"b","surface":"for_you"}]}', 400, "subjects[0]"),
    (b'{"subjects":[{"item_id":"b","surface":["similar"]}]}', 400, "subjects[0]"),
    (b'{"subjects":[{"user_id":"\\ud800"}]}', 400, "no JSON"),
    (b'{"subjects":[{"user_id":"' + b"u" * 2_000 + b'"}]}', 400, "2,000 characters"),
    (b'{"subjects":[' + b"[" * 900 + b"]" * 900 + b"]}", 400, "a list or an object"),
    (DEEP, 400, "no JSON"),
    (b" " * (MAX_BODY + 1), 413, ""),
]


@pytest.mark.parametrize(("body", "status", "says"), BODIES, ids=range(len(BODIES)))
def test_a_wrong_batch_is_refused_in_words(shop, body, status, says):
    refused(shop.web.post("/v1/batch", data=body, content_type="application/json"), status, says)


def test_a_batch_of_another_type_or_with_parameters_is_refused(shop):
    good = b'{"subjects":[{"user_id":"a"}]}'
    refused(shop.web.post("/v1/batch", data=good, content_type="text/plain"), 415, "application/json")
    refused(shop.web.post("/v1/batch", data=good), 415, "application/json")
    refused(shop.web.post("/v1/batch?n=1", data=good, content_type="application/json"), 400, "allowed: none")
    refused(shop.get("/v1/batch"), 405, "")
    assert shop.web.post("/v1/batch", data=good, content_type="application/json; charset=utf-8").status_code == 200


def refused(reply, status, says):
    assert (reply.status_code, reply.content_type) == (status, PROBLEM_TYPE)
    assert says in reply.json["detail"]
    assert reply.headers["Cache-Control"] == "no-store"


# parameters


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("exclude=" + ",".join(f"x{k}" for k in range(501)), "501 texts; allowed: at most 500"),
        ("exclude=" + "x" * 2_000, "2,000 characters"),
        ("&".join(["exclude=a"] * 20_000), "characters; allowed: at most 65,536"),
        ("exclude=%FF", "no percent-encoded UTF-8"),
        ("exclude=%ED%A0%80", "no percent-encoded UTF-8"),
        ("%FF=1", "no percent-encoded UTF-8"),
        ("price_min=-1", "from 0 to 1,000,000,000,000"),
        ("price_min=1e13", "from 0 to 1,000,000,000,000"),
        ("price_min=nan", "from 0 to 1,000,000,000,000"),
        ("price_min=%D9%A3", "from 0 to 1,000,000,000,000"),
        ("price_min=" + "9" * 400, "from 0 to 1,000,000,000,000"),
        ("price_min=2&price_max=1", "price_min = 2 is above price_max = 1"),
        ("explain=yes", "true or false"),
        ("explain=", "true or false"),
        ("time=noon", "ISO 8601"),
        ("time=0000-01-01T00:00:00Z", "ISO 8601"),
        ("time=" + "2" * 5_000, "ISO 8601"),
        ("country=" + "x" * 2_000, "2,000 characters"),
        ("country=a&country=b", "2 times"),
        ("Country=a", "'Country' is unknown"),
        ("&&=", "'' is unknown"),
    ],
)
def test_wrong_parameters_are_refused_in_words(shop, query, says):
    refused(shop.get(f"{ANN}?{query}"), 400, says)


@pytest.mark.parametrize(
    "query", ["exclude=", "category=", "segment=", "country=", "exclude=%00", "exclude=,,", "&", "n=10&"]
)
def test_empty_parameters_ask_for_nothing(shop, query):
    assert shop.items(f"{ANN}?{query}") == shop.items(ANN)


def test_as_many_excluded_as_allowed_are_answered(shop):
    ids = ",".join(f"x{k}-{'y' * 100}" for k in range(498)) + ",i1,i3"
    assert shop.items(f"{ANN}?n=1&exclude={ids}") == ["i4"]


def test_every_plane_of_unicode_is_an_id(shop):
    for plane in range(17):
        for text in (chr(plane << 16 | 0x1234), chr(plane << 16 | 0xFFFF) * 200):
            quoted = urllib.parse.quote(text, safe="")
            assert shop.get(f"/v1/users/{quoted}/recommendations?n=1").status_code == 200
            assert shop.get(f"/v1/trending?n=1&exclude={quoted}&segment={quoted}").status_code == 200


def test_percent_signs_that_encode_nothing_are_text(shop):
    for odd in ("%", "%Z", "%ZZ", "100%"):
        assert shop.get(f"{ANN}?exclude={odd}&n=1").status_code == 200


# availability and promotions


def command(module, shop, capsys, **given):
    names = {"out": [], "in": [], "forget": [], "file": None, "skip_unknown": False, "list": False, "clear": False}
    assert module.main(Namespace(**{**names, **given}), shop.settings) == 0
    return capsys.readouterr()


def test_an_item_out_of_stock_is_gone_within_seconds_and_stays_gone(plain, capsys):
    before = plain.get(SIMILAR)
    told = command(availability, plain, capsys, out=["i1", "i3"], **{"in": ["i2"]})
    assert told.err == "availability 1: 2 items out, 1 back\n"
    plain.wait(lambda: plain.items(f"{ANN}?n=3") == ["i2", "i4", IDS[5]])
    assert plain.items(f"{SIMILAR}?n=1") == [IDS[5]]
    assert plain.get(SIMILAR).headers["ETag"] != before.headers["ETag"]
    assert plain.get("/v1/release").json["availability"] == 1
    late = open_answers(plain.settings)  # knows it from its first answer on
    late.watch.stop()
    assert not late.corrections.available(late.snapshot().catalogue)(1)
    told = command(availability, plain, capsys, forget=["i3"], list=True)
    assert (told.err, told.out) == ("availability 2: 1 items out, 1 back\n", "out i1\nin i2\n")
    plain.wait(lambda: plain.items(f"{ANN}?n=2") == ["i2", "i3"])


def test_of_two_changes_at_once_none_is_lost(plain):
    catalogue, other = live_catalogue(plain.client, KEYS), []

    class Between:
        """A client that lets another change come first, once."""

        def get(self, key):
            raw = plain.client.get(key)
            if not other:
                other.append(availability.set_availability(plain.client, KEYS, catalogue, {"out": ["i3"]}))
            return raw

        def eval(self, *arguments):
            return plain.client.eval(*arguments)

    after = availability.set_availability(Between(), KEYS, catalogue, {"out": ["i1"]})
    assert (after.sequence, list(items_of(after.out))) == (2, [1, 3])


def test_what_cannot_be_read_changes_nothing(plain, capsys):
    command(availability, plain, capsys, out=["i1"])
    plain.wait(lambda: plain.items(f"{ANN}?n=1") == ["i3"])
    plain.client.mset({KEYS.availability: b"damaged", KEYS.promotions: b"{}"})
    plain.wait(lambda: plain.answers.corrections._promotions.refused == b"{}")
    assert plain.items(f"{ANN}?n=1") == ["i3"]
    with pytest.raises(TemporaryError, match="cannot be read"):
        command(availability, plain, capsys, out=["i3"])
    plain.client.delete(KEYS.availability)
    plain.answers.watch.poll()
    assert plain.items(f"{ANN}?n=1") == ["i3"]
    copy = Path(plain.settings.serving.cache_dir) / "availability"
    assert copy.stat().st_size > 0


def test_availability_by_file_and_what_is_wrong_with_one(plain, capsys, tmp_path):
    file = tmp_path / "stock"
    file.write_text(f"out {IDS[5]}\r\nin i13\n\n")
    assert command(availability, plain, capsys, file=file, list=True).out == f"out {IDS[5]}\nin i13\n"
    for text, says in (("out nothing\n", "no item 'nothing'"), ("gone i1\n", "line 1"), ("out\n", "line 1")):
        file.write_text(text)
        with pytest.raises(UsageError, match=says):
            command(availability, plain, capsys, file=file)
    file.write_text("out nothing\nout i1")
    assert "2 items out" in command(availability, plain, capsys, file=file, skip_unknown=True).err
    with pytest.raises(UsageError, match="nothing to do"):
        command(availability, plain, capsys)
    with pytest.raises(UsageError, match="No such file"):
        command(availability, plain, capsys, file=tmp_path / "none")


PROMOTED = """
[[promotion]]
items = ["i2", "i21", "i9", "i10"]
place = 2
starts = 2020-01-01T00:00:00Z
until = 2099-01-01T01:00:00+01:00
surfaces = ["for_you", "trending"]

[[promotion]]
items = ["i39"]
place = 1
starts = 2020-01-01T00:00:00Z
until = 2099-01-01T00:00:00Z
segment = "country=France"

[[promotion]]
items = ["i38"]
place = 1
starts = 2020-01-01T00:00:00Z
until = 2021-01-01T00:00:00Z
"""


def test_promotions_stand_in_their_places_where_they_fit(plain, capsys, tmp_path):
    file = tmp_path / "promotions.toml"
    file.write_text(PROMOTED)
    assert command(promotions, plain, capsys, file=file).err == "promotions 1: 3 of them\n"
    plain.wait(lambda: plain.get("/v1/release").json["promotions"] == 1)
    # i2 is not available, ann has seen i21
    answer = plain.get(f"{ANN}?n=3&explain=true").json
    assert [(item["item_id"], item["source"]) for item in answer["items"]][1] == ("i9", "promotion")
    assert (answer["tier"], answer["explain"]["promoted"]) == ("personal", ["i9"])
    assert plain.items(f"{ANN}?n=3&country=France") == ["i39", "i9", "i1"]
    assert plain.items(f"{ANN}?n=3&exclude=i9") == ["i1", "i10", "i3"]
    assert plain.items(f"{ANN}?n=3&category=food")[1] == "i10"
    assert plain.items(f"{ANN}?n=1") == ["i1"]
    assert plain.items("/v1/trending?n=3") == ["i20", "i21", "i1"]
    assert plain.items(f"{SIMILAR}?n=2") == ["i3", IDS[5]]
    listed = command(promotions, plain, capsys, list=True).out
    file.write_text(listed)
    assert command(promotions, plain, capsys, file=file, list=False).err == "promotions 2: 3 of them\n"
    assert command(promotions, plain, capsys, list=True).out == listed
    command(promotions, plain, capsys, clear=True)
    plain.wait(lambda: plain.items(f"{ANN}?n=2") == ["i1", "i3"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("place = 2", "place = 0"), "place = 0"),
        (('items = ["i39"]', "items = []"), "promotion 2: items"),
        (("until = 2021", "until = 2019"), "promotion 3: until"),
        (("2020-01-01T00:00:00Z", '"soon"'), "starts = 'soon'"),
        (('"trending"]', '"elsewhere"]'), "surfaces"),
        (("place = 2", "slot = 2"), "allowed: a table of items, place"),
        (("[[promotion]]", "[[rule]]"), "allowed: \\[\\[promotion\\]\\]"),
        (("place = 2", "place ="), "--file"),
    ],
)
def test_a_wrong_file_of_promotions_changes_nothing(plain, capsys, tmp_path, change, says):
    file = tmp_path / "promotions.toml"
    file.write_text(PROMOTED.replace(*change))
    with pytest.raises(UsageError, match=says):
        command(promotions, plain, capsys, file=file)
    assert plain.client.get(KEYS.promotions) is None


def test_an_unknown_promoted_item_is_a_warning(plain, capsys, tmp_path):
    file = tmp_path / "promotions.toml"
    file.write_text(PROMOTED.replace('"i39"', '"unheard-of"'))
    assert "not in the live catalogue: unheard-of" in command(promotions, plain, capsys, file=file).err


def test_no_category_gets_more_than_its_cap_while_others_remain():
    with open_shop(max_per_category=1) as shop:
        tag = shop.answers.watch.snapshot.release.live("for_you").tag
        shop.client.set(KEYS.slate(user("ann"), tag), packed([1, 5, 9, 4, 6, 3, 7]))  # toys x3, books, food, none x2
        assert shop.items(f"{ANN}?n=5") == ["i1", "i4", "i6", "i3", "i7"]
        assert shop.items(f"{ANN}?n=9")[:5] == ["i1", "i4", "i6", "i3", "i7"]
        assert len(shop.items(f"{ANN}?n=100")) == N_ITEMS - len(UNAVAILABLE) - 2
        assert shop.items(f"{ANN}?n=3&category=toys") == ["i1", IDS[5], "i9"]
        told = shop.get(f"{ANN}?n=5&explain=true").json["explain"]["rungs"][0]
        assert told["dropped"] == {"diversity": 2}


def test_the_generated_time_is_that_of_the_batch(shop):
    assert shop.get("/v1/trending").json["generated_at"] == AS_OF
    assert set(FOR_YOU) == {p["name"] for p in parameters_of(shop, "/v1/trending") if p["in"] == "query"}


def parameters_of(shop, path):
    return shop.get("/openapi.json").json["paths"][path]["get"]["parameters"]
