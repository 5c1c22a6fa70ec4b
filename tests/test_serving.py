"""The look-up API over a real redis-server, published to by the real publisher; granian once as its own process."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from argparse import Namespace
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from redis_fixture import module_server  # noqa: F401

from conf.settings import load_settings
from jobs import explain
from jobs.publish import Publisher
from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.shelf import Generation, Shelf
from schemas.api import PROBLEM_TYPE
from schemas.catalogue import pack_catalogue
from schemas.codec import pack_ids, pack_list
from schemas.identity import pseudonym
from schemas.keys import Keys, tag_of
from serving.app import create_app, open_answers
from serving.tokens import Token, read_token, token_key, write_token

SECRET = "a secret of the tests"
KEYS = Keys("test")
AS_OF = "2026-01-02T12:00:00Z"
N_ITEMS = 40
UNAVAILABLE = {2, 13}
IDS = [f"i{idx}" for idx in range(N_ITEMS)]
IDS[5] = "shelf/5 ü?"
ROWS = [(IDS[idx], f"Title {idx}", "toys" if idx % 2 else "books", idx not in UNAVAILABLE) for idx in range(N_ITEMS)]
numbers = count(1)


def packed(items, source="als", because=-1):
    n = len(items)
    return pack_list(items, [float(n - k) for k in range(n)], [source] * n, [because] * n)


def generation(surface, entries):
    """``entries(tag)`` gives keys and values."""
    name = f"{surface}-20260102T120000Z-{next(numbers):012x}"
    return Generation(surface, name, AS_OF, AS_OF, N_ITEMS, lambda: iter(entries(tag_of(name))))


def user(name):
    return pseudonym(SECRET.encode(), name)


def for_you(first=1):
    """ann: five items (one unavailable), has seen 20 and 21; bob: one item."""

    def entries(tag):
        yield KEYS.slate(user("ann"), tag), packed([first, 2, 3, 4, 5], because=7)
        yield KEYS.seen(user("ann"), tag), pack_ids([20, 21])
        yield KEYS.slate(user("b/ö b"), tag), packed([6])

    return generation("for_you", entries)


def similar():
    return generation("similar", lambda tag: [(KEYS.neighbors(1, tag), packed([3, 13, 1, 5], "viewed_together"))])


def bought():
    return generation("bought_together", lambda tag: [(KEYS.neighbors(1, tag), packed([9], "bought_together"))])


def trending(everywhere=(20, 21, 2, 1, 22, 23)):
    lists = {"all": everywhere, "category=toys": (31, 33), "country=France": (30, 20)}

    def entries(tag):
        for segment, items in lists.items():
            yield KEYS.trending(segment, tag), packed(list(items), "trending")
        yield KEYS.segments(tag), json.dumps(list(lists)).encode()

    return generation("trending", entries)


def shelf(*generations, rows=ROWS):
    return Shelf(generations, AS_OF, len(rows), 1, lambda: pack_catalogue(rows, len(rows)))


@pytest.fixture
def settings(server, tmp_path):
    if server.process is None:
        server.start()
    with server.client() as client:
        client.flushall()
    return load_settings(
        redis={"url": server.url, "namespace": "test", "connect_timeout_ms": 200, "read_timeout_ms": 200},
        identity={"secret": SECRET},
        serving={"poll_ms": 50, "deadline_ms": 2_000, "cache_dir": str(tmp_path / "cache")},
    )


def publish(server, settings, *generations, rows=ROWS):
    with server.client() as client:
        return Publisher(client, KEYS, settings, allow_older=True, say=lambda line: None).publish(
            shelf(*generations, rows=rows)
        )


class Api:
    """The app in process, with its watch."""

    def __init__(self, settings):
        self.answers = open_answers(settings)
        self.web = create_app(self.answers, settings.serving).test_client()

    def get(self, path, **options):
        return self.web.get(path, **options)

    def items(self, path):
        return [item["item_id"] for item in self.get(path).json["items"]]

    def wait(self, condition, seconds=5):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "did not happen in time"
            time.sleep(0.01)

    def close(self):
        self.answers.watch.stop()


@pytest.fixture
def empty(settings):
    api = Api(settings)
    yield api
    api.close()


@pytest.fixture
def api(server, settings):
    publish(server, settings, for_you(), similar(), bought(), trending())
    api = Api(settings)
    yield api
    api.close()


# answers


def test_a_known_person_gets_their_slate_with_reasons(api):
    answer = api.get("/v1/users/ann/recommendations?n=3").json
    assert [item["item_id"] for item in answer["items"]] == ["i1", "i3", "i4"]  # i2 is not available
    assert (answer["tier"], answer["arm"], answer["degraded"]) == ("personal", "control", False)
    assert answer["items"][0] == {
        "rank": 1,
        "item_id": "i1",
        "title": "Title 1",
        "category": "toys",
        "score": 5.0,
        "source": "als",
        "because_of": {"item_id": "i7", "title": "Title 7"},
    }
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3]
    assert answer["generated_at"] == AS_OF
    assert answer["generation"].startswith("for_you-")
    assert answer["generations"] == {}
    assert answer["age_s"] == pytest.approx(time.time() - 1_767_355_200, abs=60)


def test_a_short_slate_is_filled_down_the_ladder(api):
    answer = api.get("/v1/users/ann/recommendations?n=8&segment=country%3DFrance").json
    # slate 1 3 4 5, then France 30 (20 is seen), then everywhere 22 23 (20, 21 seen, 2 unavailable, 1 had)
    assert [item["item_id"] for item in answer["items"]] == ["i1", "i3", "i4", IDS[5], "i30", "i22", "i23", "i39"]
    assert answer["tier"] == "personal"
    assert list(answer["generations"]) == ["trending"]
    assert answer["items"][-1]["source"] == "catalogue"  # when all lists are used up, the newest of the catalogue


def test_as_many_as_there_are_and_never_more(api):
    items = api.items("/v1/users/ann/recommendations?n=100")
    assert len(items) == N_ITEMS - len(UNAVAILABLE) - 2
    assert len(set(items)) == len(items)
    assert not {"i20", "i21", "i2", "i13"} & set(items)


def test_an_unknown_person_gets_what_rises(api):
    answer = api.get("/v1/users/nobody/recommendations?n=3").json
    assert (answer["tier"], answer["degraded"]) == ("global_trending", False)
    assert [item["item_id"] for item in answer["items"]] == ["i20", "i21", "i1"]
    assert answer["items"][0]["because_of"] is None
    answer = api.get("/v1/users/nobody/recommendations?n=3&segment=country=France").json
    assert (answer["tier"], answer["items"][0]["item_id"]) == ("segment_trending", "i30")
    assert api.get("/v1/users/nobody/recommendations?segment=moon").json["tier"] == "global_trending"


def test_similar_items_leave_out_the_item_and_fill_from_its_category(api):
    answer = api.get("/v1/items/i1/similar?n=5").json
    assert [item["item_id"] for item in answer["items"]] == ["i3", IDS[5], "i31", "i33", "i20"]
    assert (answer["tier"], answer["items"][0]["source"]) == ("neighbors", "viewed_together")
    assert "age_s" not in answer
    assert api.items("/v1/items/i1/bought-together?n=2") == ["i9", "i31"]
    assert api.get("/v1/items/i3/similar?n=1").json["tier"] == "segment_trending"
    assert api.get("/v1/items/unheard-of/similar?n=1").json["tier"] == "global_trending"


def test_ids_with_slashes_spaces_and_other_scripts(api):
    assert api.get("/v1/users/b%2F%C3%B6%20b/recommendations?n=1").json["tier"] == "personal"
    quoted = urllib.parse.quote(IDS[5], safe="")
    assert IDS[5] not in api.items(f"/v1/items/{quoted}/similar?n=38")
    for odd in ("%00", "%0A", "//", "%F0%9F%98%80", "%FF%FE", "..", "a/recommendations", "%2e%2e%2f", "'; --"):
        for path in (f"/v1/users/{odd}/recommendations?n=2", f"/v1/items/{odd}/similar?n=2"):
            reply = api.get(path)
            assert (reply.status_code, len(reply.json["items"])) == (200, 2), path


def test_trending_by_segment(api):
    answer = api.get("/v1/trending?segment=category=toys&n=3").json
    assert [item["item_id"] for item in answer["items"]] == ["i31", "i33", "i20"]
    assert answer["tier"] == "segment_trending"
    assert api.get("/v1/trending").json["tier"] == "global_trending"
    assert api.get("/v1/trending?segment=none").json["tier"] == "global_trending"


def test_public_answers_are_cacheable_and_the_same_for_everybody(api):
    for path in ("/v1/trending", "/v1/items/i1/similar", "/v1/items/i1/bought-together", "/v1/items/zz/similar"):
        first, second = api.get(path), api.get(path)
        assert first.data == second.data
        assert first.headers["Cache-Control"] == "public, max-age=60"
        again = api.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
    ids = {api.get(f"/v1/items/{item}/similar").json["recommendation_id"] for item in ("i1", "i3")}
    assert len(ids) == 2


def test_personal_answers_are_never_cached_and_each_has_its_own_id(api):
    first, second = (api.get("/v1/users/ann/recommendations?n=2") for _ in range(2))
    assert first.headers["Cache-Control"] == "private, no-store"
    assert "ETag" not in first.headers
    assert first.json["recommendation_id"] != second.json["recommendation_id"]
    token = read_token(token_key(SECRET.encode()), first.json["recommendation_id"])
    assert (token.surface, token.arm, token.generation, token.n) == ("for_you", "control", first.json["generation"], 2)
    assert abs(token.time_s - time.time()) < 60


def test_a_token_that_was_tampered_with_is_refused():
    key = token_key(b"one secret of the service")
    text = write_token(key, Token("for_you", "control", None, 10, 1, "ab"))
    assert read_token(key, text) == Token("for_you", "control", None, 10, 1, "ab")
    for wrong in (text[:-2] + ("AA" if text[-2:] != "AA" else "BB"), "", "AAAA", text[1:]):
        with pytest.raises(ValueError, match=r"signed|base64"):
            read_token(key, wrong)
    with pytest.raises(ValueError, match="signed"):
        read_token(token_key(b"another secret of it"), text)


def test_release_and_probes(api):
    release = api.get("/v1/release").json
    assert release["epoch"] == 1
    assert set(release["surfaces"]) == {f"{s}/control" for s in ("for_you", "similar", "bought_together", "trending")}
    assert release["degraded"] is False
    assert api.get("/livez").json == {"status": "alive"}
    assert [api.get(path).status_code for path in ("/livez?x=1", "/readyz?x=1")] == [200, 200]  # probes add theirs
    assert api.get("/readyz").json == {"status": "ready", "epoch": 1, "degraded": False}


# refusals


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/v1/users/ann/recommendations?n=0", 400, "1 to 100"),
        ("/v1/users/ann/recommendations?n=-1", 400, "1 to 100"),
        ("/v1/users/ann/recommendations?n=1000000000", 400, "1 to 100"),
        ("/v1/users/ann/recommendations?n=", 400, "1 to 100"),
        ("/v1/users/ann/recommendations?n=ten", 400, "1 to 100"),
        ("/v1/trending?n=1.5", 400, "1 to 100"),
        ("/v1/trending?n=%D9%A3", 400, "1 to 100"),
        ("/v1/trending?n=" + "9" * 10_000, 400, "1 to 100"),
        ("/v1/trending?n=1&n=2", 400, "2 times"),
        ("/v1/trending?count=5", 400, "'count' is unknown; allowed: n, segment"),
        ("/v1/items/i1/similar?segment=all", 400, "allowed: n"),
        ("/v1/release?x=1", 400, "allowed: none"),
        ("/v1/trending?segment=" + "s" * 2_000, 400, "at most 1,024"),
        ("/v1/users/" + "u" * 1_000_000 + "/recommendations", 400, "1,000,000 characters"),
        ("/v1/items/" + "%F0%9F%98%80" * 2_000 + "/similar", 400, "2,000 characters"),
        ("/v1/users//recommendations", 404, ""),
        ("/v1/nothing", 404, ""),
        ("/nothing", 404, ""),
    ],
)
def test_bad_requests_get_a_problem_document(api, path, status, says):
    reply = api.get(path)
    assert (reply.status_code, reply.content_type) == (status, PROBLEM_TYPE)
    assert (reply.json["status"], reply.json["type"]) == (status, "about:blank")
    assert says in reply.json["detail"]
    assert reply.headers["Cache-Control"] == "no-store"


def test_a_wrong_method_is_told_the_right_one(api):
    reply = api.web.post("/v1/trending")
    assert (reply.status_code, reply.content_type) == (405, PROBLEM_TYPE)
    assert "GET" in reply.headers["Allow"]


def test_a_fault_of_ours_is_a_problem_document_without_a_traceback(api, monkeypatch):
    monkeypatch.setattr(api.answers, "trending", lambda *_: 1 / 0)
    reply = api.get("/v1/trending")
    assert (reply.status_code, reply.content_type) == (500, PROBLEM_TYPE)
    assert "division" not in reply.text


def test_nothing_published_says_what_to_run(empty, server, settings):
    for path in ("/v1/users/ann/recommendations", "/v1/trending", "/v1/items/i1/similar", "/v1/release", "/readyz"):
        reply = empty.get(path)
        assert (reply.status_code, reply.content_type) == (503, PROBLEM_TYPE)
        assert "nightshelf publish" in reply.json["detail"]
    assert empty.get("/livez").status_code == 200
    publish(server, settings, trending())
    empty.wait(lambda: empty.get("/readyz").status_code == 200)
    # only trending was published: everybody gets that
    answer = empty.get("/v1/users/ann/recommendations?n=1").json
    assert (answer["tier"], answer["generation"], answer["age_s"]) == ("global_trending", None, None)


# releases


def test_a_switch_is_followed(api, server, settings):
    release = publish(server, settings, for_you(first=10))
    api.wait(lambda: api.items("/v1/users/ann/recommendations?n=1") == ["i10"])
    answer = api.get("/v1/users/ann/recommendations?n=1").json
    assert answer["generation"] == release.live("for_you").base


def test_a_key_miss_reads_the_release_again(api, server, settings):
    api.answers.watch.stop()  # a worker that has not polled yet
    time.sleep(0.1)
    old = api.answers.watch.snapshot.release.live("for_you")
    release = publish(server, settings, for_you(first=10))
    with server.client() as client:
        client.delete(KEYS.slate(user("ann"), old.tag))
    answer = api.get("/v1/users/ann/recommendations?n=1").json
    assert (answer["tier"], answer["items"][0]["item_id"]) == ("personal", "i10")
    assert answer["generation"] == release.live("for_you").base


def test_a_new_catalogue_comes_with_its_release(api, server, settings):
    rows = [*ROWS, ("new", "Brand new", None, True)]
    publish(server, settings, for_you(first=N_ITEMS), rows=rows)
    api.wait(lambda: api.items("/v1/users/ann/recommendations?n=1") == ["new"])
    api.wait(lambda: len(list(Path(settings.serving.cache_dir).glob("catalogue-*"))) == 1)  # the one before goes


def test_a_release_that_cannot_be_read_is_not_adopted(api, server, settings):
    before = api.answers.watch.snapshot
    with server.client() as client:
        good = client.get(KEYS.live)
        client.set(KEYS.live, b'{"epoch": 9}')
        api.wait(lambda: "not adopted" in api.answers.watch.refused)
        assert api.items("/v1/users/ann/recommendations?n=1") == ["i1"]
        client.set(KEYS.live, good)
    api.wait(lambda: api.answers.watch.refused == "")
    assert api.answers.watch.snapshot is before


@pytest.mark.parametrize("what", ["chunk away", "chunk damaged", "segment away", "segment damaged"])
def test_a_release_whose_parts_are_not_there_is_not_adopted(api, server, settings, what):
    api.answers.watch.stop()
    time.sleep(0.1)
    release = publish(server, settings, trending((8,)), rows=[*ROWS, ("new", None, None, True)])
    key = {
        "chunk": KEYS.catalogue(release.catalogue.sha, 0),
        "segment": KEYS.trending("all", release.live("trending").tag),
    }[what.split()[0]]
    with server.client() as client:
        client.delete(key) if what.endswith("away") else client.set(key, b"damaged")
    api.answers.watch.poll()
    assert "not adopted" in api.answers.watch.refused
    assert api.items("/v1/trending?n=1") == ["i20"]


def test_a_damaged_slate_is_answered_by_the_next_rung(api, server):
    tag = api.answers.watch.snapshot.release.live("for_you").tag
    with server.client() as client:
        client.set(KEYS.slate(user("ann"), tag), b"\x01damaged")
    answer = api.get("/v1/users/ann/recommendations?n=2").json
    assert (answer["tier"], answer["degraded"], len(answer["items"])) == ("copy", True, 2)


# Redis away


def test_with_redis_killed_copies_answer_quickly_and_say_so(api, server, settings):
    assert api.get("/v1/items/i1/similar?n=2").json["tier"] == "neighbors"
    server.stop()
    began = time.monotonic()
    answers = [api.get(f"/v1/users/ann/recommendations?n=4&segment={s}") for s in ("", "country=France") for _ in "123"]
    assert time.monotonic() - began < 1
    for reply in answers:
        assert (reply.status_code, reply.json["tier"], reply.json["degraded"]) == (200, "copy", True)
        assert len(reply.json["items"]) == 4
    assert answers[-1].json["items"][0]["item_id"] == "i30"
    api.wait(lambda: api.answers.watch.degraded)
    similar = api.get("/v1/items/i1/similar?n=2")  # asked before, so the worker has it
    assert (similar.json["tier"], similar.json["items"][0]["item_id"]) == ("copy", "i3")
    assert similar.headers["Cache-Control"] == "no-store"
    assert api.get("/v1/items/i3/similar?n=2").json["items"][0]["item_id"] == "i31"
    assert api.get("/readyz").json == {"status": "ready", "epoch": 1, "degraded": True}
    # back, and empty: what was published is gone, and answers say that they are copies
    server.start()
    api.wait(lambda: api.answers.watch.lost)
    assert api.get("/v1/trending?n=1").json["degraded"] is True
    publish(server, settings, for_you(first=10), trending())
    api.wait(lambda: api.get("/v1/users/ann/recommendations?n=1").json["tier"] == "personal")
    assert api.get("/v1/trending").json["degraded"] is False


def test_with_redis_hanging_only_the_first_requests_wait(api, server, settings):
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        api.wait(lambda: api.answers.reader.away)
        began = time.monotonic()
        for _ in range(20):
            assert api.get("/v1/users/ann/recommendations?n=2").json["tier"] == "copy"
        assert time.monotonic() - began < 0.5
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    api.wait(lambda: api.get("/v1/users/ann/recommendations?n=2").json["tier"] == "personal")


def test_a_worker_that_starts_while_redis_is_away_answers_from_disk(api, server, settings):
    api.close()
    server.stop()
    late = Api(settings)
    try:
        answer = late.get("/v1/users/ann/recommendations?n=2").json
        assert (answer["tier"], answer["degraded"], len(answer["items"])) == ("copy", True, 2)
        for copy in Path(settings.serving.cache_dir).iterdir():
            copy.write_bytes(b"damaged")
        ruined = Api(settings)
        reply = ruined.get("/v1/trending")
        assert reply.status_code == 503
        assert "Redis cannot be reached" in reply.json["detail"]
        ruined.close()
    finally:
        late.close()


def test_a_damaged_copy_of_the_catalogue_is_fetched_again(api, settings):
    api.close()
    for copy in Path(settings.serving.cache_dir).glob("catalogue-*"):
        copy.write_bytes(copy.read_bytes()[:-1] + b"?")
    late = Api(settings)
    assert late.get("/v1/users/ann/recommendations?n=2").json["tier"] == "personal"
    late.close()


def test_no_personal_list_is_copied_to_disk(api, settings):
    api.get("/v1/users/ann/recommendations")
    kept = b"".join(path.read_bytes() for path in Path(settings.serving.cache_dir).iterdir())
    assert user("ann").encode() not in kept


def test_switches_under_load_are_never_mixed_or_empty(api, server, settings):
    """Every generation holds items of its own: an answer names the generation its items are from."""
    owner = {api.answers.watch.snapshot.release.live("for_you").base: "i1"}
    stop, wrong, seen = threading.Event(), [], set()

    def ask():
        web = api.web.application.test_client()
        while not stop.is_set():
            answer = web.get("/v1/users/ann/recommendations?n=2").json
            seen.add(answer["generation"])
            if answer["tier"] != "personal" or len(answer["items"]) != 2:
                wrong.append(answer)
            got.append((answer["generation"], answer["items"][0]["item_id"]))

    got = []
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for first in (10, 11, 12, 14, 15, 16):
        release = publish(server, settings, for_you(first=first))
        owner[release.live("for_you").base] = f"i{first}"
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(seen) > 3
    assert all(owner[base] == item for base, item in got)


# as a process


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(settings, port):
    chosen = {
        "NIGHTSHELF_REDIS__URL": settings.redis.url,
        "NIGHTSHELF_REDIS__NAMESPACE": settings.redis.namespace,
        "NIGHTSHELF_REDIS__READ_TIMEOUT_MS": "200",
        "NIGHTSHELF_IDENTITY__SECRET": SECRET,
        "NIGHTSHELF_SERVING__PORT": str(port),
        "NIGHTSHELF_SERVING__CACHE_DIR": settings.serving.cache_dir,
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("NIGHTSHELF_")} | chosen


def fetch(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def wait_for(port, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if fetch(port, "/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"no answer on port {port} within {seconds} s")


def test_granian_serves_explain_tells_and_a_taken_port_is_one_line(server, settings, capsys):
    publish(server, settings, for_you(), similar(), bought(), trending())
    port, root = free_port(), Path(__file__).parents[1]
    command = [sys.executable, "-W", "error", "-m", "serving"]
    process = subprocess.Popen(command, cwd=root, env=environment(settings, port), stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        status, body = fetch(port, "/v1/users/ann/recommendations?n=2")
        assert (status, json.loads(body)["tier"]) == (200, "personal")
        assert fetch(port, "/v1/users/b%2F%C3%B6%20b/recommendations?n=1")[0] == 200
        with suppress(ConnectionError, http.client.HTTPException):  # cut off in mid-request is an answer too
            assert fetch(port, "/v1/users/" + "u" * 1_000_000 + "/recommendations")[0] in (400, 414, 431)
        assert fetch(port, "/livez")[0] == 200

        assert explain.main(Namespace(user="ann", url=f"http://127.0.0.1:{port}", n=3), settings) == 0
        told = capsys.readouterr().out
        assert "ann: answered from their own slate (tier personal, arm control)" in told
        assert "1  Title 1  taste  because of Title 7" in told
        assert explain.main(Namespace(user="nobody", url=f"http://127.0.0.1:{port}/", n=3), settings) == 0
        assert "this person is unknown" in capsys.readouterr().out
        with pytest.raises(UsageError, match="answered 400: n = '0'"):
            explain.fetch(f"http://127.0.0.1:{port}", "ann", 0)

        second = subprocess.run(
            command, cwd=root, env=environment(settings, port), capture_output=True, text=True, timeout=30, check=False
        )
        assert second.returncode == 2
        assert second.stderr.count("\n") == 1
        assert f"port {port}" in second.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
    with pytest.raises(TemporaryError, match="make serve"):
        explain.fetch(f"http://127.0.0.1:{port}", "ann", 3)
    with pytest.raises(UsageError, match="allowed: a URL"):
        explain.fetch("nonsense", "ann", 3)


def test_serving_needs_neither_numpy_nor_pyarrow_nor_jobs():
    code = (
        "import sys, serving.app, serving.__main__\n"
        "print([m for m in ('numpy', 'pyarrow', 'pandas', 'pyspark', 'jobs', 'airflow') if m in sys.modules])"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_serving_without_a_secret_is_one_line(settings, tmp_path):
    chosen = environment(settings, free_port())
    del chosen["NIGHTSHELF_IDENTITY__SECRET"]
    chosen["NIGHTSHELF_IDENTITY__SECRET_FILE"] = str(tmp_path / "none")
    done = subprocess.run(
        [sys.executable, "-m", "serving"],
        cwd=Path(__file__).parents[1],
        env=chosen,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "secret" in done.stderr
