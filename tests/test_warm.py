"""The warm store against an emulated DynamoDB: who goes there, whose list comes out, and what its faults cost."""

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import datetime, timedelta

import pytest
from committed import commit
from dynamo_server import REGION, Dynamo
from lake_fixtures import NIGHT, rows, small_lake
from redis_fixture import empty_client, module_server  # noqa: F401

from conf.settings import load_settings
from deploy.embedded.checks import free_port
from jobs import cli
from jobs.kernels.lately import Lately
from jobs.rim import warm_table
from jobs.rim.lineage import Lineage, job
from jobs.rim.manifest import iso
from jobs.rim.redis_release import read_release
from jobs.rim.verdict import Verdict, write_verdict
from schemas.identity import pseudonym
from schemas.keys import Keys
from schemas.release import from_json
from schemas.warm import NOBODY
from serving import warm
from serving.app import create_app, open_answers

SECRET = "a secret of the tests"
KEYS = Keys("ns")
N_ITEMS = 12
AFTER_DAYS = 90
NEW, OLD, EDGE, IDLE = "new", "old", "edge", "idle"  # idle: never did anything, has a slate for newcomers
LAST_SEEN = {NEW: 1, OLD: AFTER_DAYS + 1, EDGE: AFTER_DAYS}  # days before the night
CROWD = [f"crowd{k}" for k in range(60)]  # old ones, so that there is more than one batch
NEXT = NIGHT + timedelta(days=1)
PUBLISH = ["publish", "--surfaces", "for_you", "trending", "--as-of"]


def user(name):
    return pseudonym(SECRET.encode(), name)


@pytest.fixture(scope="module")
def dynamo():
    running = Dynamo()
    yield running
    running.close()


@pytest.fixture
def table(dynamo, request):
    """An empty table of the test's own."""
    dynamo.calm()
    name = request.node.name.replace("[", "-").replace("]", "")[-200:]
    dynamo.create(name)
    dynamo.calm()
    yield name
    dynamo.calm()


@pytest.fixture
def shop(tmp_path, server, client, dynamo, table, monkeypatch):
    """A lake with two nights nobody published yet; its settings are in the environment."""
    monkeypatch.setattr(warm_table, "PAUSE_S", 0.001)
    monkeypatch.setattr(warm, "LONGEST_S", 30.0)  # a busy machine's read is not given up
    variables = {
        "LAKE__URI": str(tmp_path / "lake"),
        "LAKE__MIN_FREE_MB": "0",
        "REDIS__URL": server.url,
        "REDIS__CONNECT_TIMEOUT_MS": "1000",
        "REDIS__READ_TIMEOUT_MS": "1000",
        "IDENTITY__SECRET": SECRET,
        "SERVING__CACHE_DIR": str(tmp_path / "cache"),
        "SERVING__DEADLINE_MS": "5000",
        "WARM__TABLE": table,
        "WARM__ENDPOINT": dynamo.endpoint,
        "WARM__REGION": REGION,
        "WARM__AFTER_DAYS": str(AFTER_DAYS),
        "WARM__READ_TIMEOUT_MS": "3000",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"NIGHTSHELF_{name}", value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "tests")
    lake = small_lake(tmp_path, items=[{"item_id": f"i{k:02}"} for k in range(N_ITEMS)])
    night(lake, NIGHT, first=0)
    night(lake, NEXT, first=6)
    return lake


def night(lake, as_of, first):
    """Slates that passed the gate: each user's begins with an item of its own, counted from ``first``."""
    lineage = Lineage(lake, load_settings(), as_of)
    seen = LAST_SEEN | dict.fromkeys(CROWD, 200)
    last = [{"user_id": user(name), "last_time": as_of - timedelta(days=days)} for name, days in seen.items()]
    commit(lineage, "interactions", rows("interactions", *last))
    chosen = {name: [first + place, 11] for place, name in enumerate((NEW, OLD, EDGE, IDLE))}
    slates = [
        {"user_id": user(name), "items": items}
        for name, items in {**{name: [4, 5] for name in CROWD}, **chosen}.items()
    ]
    each = {"scores": [1.0, 0.5], "sources": ["als"] * 2, "because_of": [-1] * 2, "propensities": [1.0] * 2, "seen": []}
    commit(lineage, "slates", rows("slates", *(each | slate for slate in slates)))
    commit(lineage, "trending", rows("trending", {"item_idx": 10}))
    for table in ("slates", "trending"):
        write_verdict(Verdict(table, lineage.version(job(table).name), True, {}, []), lineage)


def published(as_of=NIGHT, *more):
    return cli.main([*PUBLISH, iso(as_of), *more])


class Web:
    """The app in this process."""

    def __init__(self):
        self.answers = open_answers(load_settings())
        self.web = create_app(self.answers, load_settings().serving).test_client()

    def get(self, name):
        return self.web.get(f"/v1/users/{name}/recommendations?n=2").json

    def first(self, name):
        return self.get(name)["items"][0]["item_id"]

    def close(self):
        self.answers.watch.stop()
        self.answers.warm.close()


@pytest.fixture
def web(shop):
    """Over the first night, published."""
    assert published() == 0
    app = Web()
    yield app
    app.close()


def told(answer):
    return answer["items"][0]["item_id"], answer["tier"], answer["degraded"]


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


# who goes where


def test_everybody_gets_their_own_list_over_http(shop, client, dynamo, table, capsys, monkeypatch):
    assert published() == 0
    assert cli.main(["generations"]) == 0
    assert "live, 62 warm" in capsys.readouterr().out
    entry = read_release(client, KEYS).live("for_you")
    assert (entry.n_keys, entry.n_warm) == (2, 2 + len(CROWD))
    hot = {KEYS.slate(user(name), entry.tag).encode() for name in (NEW, EDGE)}
    assert set(client.keys("ns:{u:*")) == hot
    stored = {row["user"]["S"]: row for row in dynamo.rows(table)}
    assert set(stored) == {user(name) for name in (OLD, IDLE, *CROWD)}
    row = stored[user(OLD)]
    assert row["tag"]["S"] == entry.tag
    assert abs(int(row["ends"]["N"]) - time.time() - 30 * 86_400) < 600
    assert datetime.fromisoformat(entry.warm_until).timestamp() == int(row["ends"]["N"])
    port = free_port()
    monkeypatch.setenv("NIGHTSHELF_SERVING__PORT", str(port))
    serving = subprocess.Popen([sys.executable, "-m", "serving"], stdout=subprocess.DEVNULL)
    try:
        answers = {name: over_http(port, name) for name in (NEW, OLD, EDGE, IDLE)}
        assert {name: told(answer) for name, answer in answers.items()} == {
            name: (f"i{k:02}", "personal", False) for k, name in enumerate((NEW, OLD, EDGE, IDLE))
        }
        assert {answer["generation"] for answer in answers.values()} == {entry.base}
    finally:
        serving.terminate()
        assert serving.wait(30) == 0


def over_http(port, name):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 60
    while True:
        try:
            with opener.open(f"http://127.0.0.1:{port}/v1/users/{name}/recommendations?n=2") as answer:
                found = json.load(answer)
            if not found["degraded"] or time.monotonic() > deadline:  # a worker's first breath
                return found
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def test_a_user_who_is_back_is_in_redis_for_a_while(web, client, dynamo):
    entry = read_release(client, KEYS).live("for_you")
    name = KEYS.slate(user(OLD), entry.tag)
    assert told(web.get(OLD)) == ("i01", "personal", False)
    wait_for(lambda: client.exists(name))
    assert 0 < client.ttl(name) <= 3600
    dynamo.calm()
    assert told(web.get(OLD)) == ("i01", "personal", False)
    assert "GetItem" not in dynamo.asked
    client.set(name, client.get(name), ex=10**6)  # as a publish that finds the user active again
    web.answers.reader.put_back(user(OLD), entry.tag, b"x", 5)
    assert client.ttl(name) > 3600


def test_a_batch_reads_all_it_lacks_at_once(web, dynamo):
    dynamo.calm()
    subjects = [{"user_id": name} for name in (NEW, OLD, IDLE, "unknown")]
    answers = web.web.post("/v1/batch", json={"subjects": subjects, "n": 2}).json["answers"]
    assert [told(answer)[0] for answer in answers] == ["i00", "i01", "i03", "i10"]
    assert not any(answer["degraded"] for answer in answers)
    assert [one for one in dynamo.asked if one != "GetItem"] == ["BatchGetItem"]


def test_who_has_no_list_is_asked_for_once(web, dynamo):
    dynamo.calm()
    for _ in range(3):
        assert told(web.get("unknown")) == ("i10", "global_trending", False)
    assert dynamo.asked.count("GetItem") == 1


def test_generations_never_mix_and_a_rollback_finds_its_own(web, client, dynamo, table):
    assert web.first(OLD) == "i01"
    assert published(NEXT) == 0
    newest = read_release(client, KEYS).epoch
    wait_for(lambda: web.answers.snapshot().release.epoch == newest)
    assert [web.first(name) for name in (NEW, OLD, EDGE, IDLE)] == ["i06", "i07", "i08", "i09"]
    assert cli.main(["rollback", "--surface", "for_you"]) == 0
    wait_for(lambda: web.answers.snapshot().release.epoch > newest)
    client.delete(*client.keys("ns:{u:*"))  # whatever a read has put back
    assert [web.first(name) for name in (OLD, IDLE)] == ["i01", "i03"]
    query = {"KeyConditionExpression": "#u = :u", "ExpressionAttributeNames": {"#u": "user"}}
    mine = {"ExpressionAttributeValues": {":u": {"S": user(OLD)}}}
    found = dynamo.client.query(TableName=table, **query, **mine)["Items"]
    assert len(found) == 2  # all that is held of a person, by the pseudonym alone


# faults while serving


def test_without_the_warm_store_the_next_rung_answers_and_says_so(web, dynamo):
    dynamo.cut = True
    assert told(web.get(OLD)) == ("i10", "copy", True)
    assert told(web.get(NEW)) == ("i00", "personal", False)
    for name in CROWD[:5]:
        web.get(name)
    assert web.answers.warm.breaker.open
    metrics = web.web.get("/metrics").text
    assert 'nightshelf_warm_reads_total{result="away"} 6.0' in metrics
    dynamo.cut = False
    wait_for(lambda: not web.answers.warm.breaker.open)
    assert told(web.get(OLD)) == ("i01", "personal", False)


def test_a_slow_warm_store_costs_no_more_than_it_may(web, client, dynamo):
    web.answers.warm.timeout_s = 0.05
    dynamo.delay_s = 0.9
    began = time.monotonic()
    assert told(web.get(OLD)) == ("i10", "copy", True)
    assert time.monotonic() - began < 0.8
    name = KEYS.slate(user(OLD), read_release(client, KEYS).live("for_you").tag)
    wait_for(lambda: client.exists(name))  # it came too late for that request, not for the next
    assert told(web.get(OLD)) == ("i01", "personal", False)


def test_the_deadline_of_the_request_bounds_the_read(web, dynamo):
    dynamo.delay_s = 0.9
    web.web.application.wsgi_app.deadline_s = 0.1
    began = time.monotonic()
    assert told(web.get(IDLE)) == ("i10", "copy", True)
    assert time.monotonic() - began < 0.8


def test_reads_that_hang_take_a_few_threads_and_no_more(web, monkeypatch):
    over, asked, reader = threading.Event(), [], web.answers.warm

    def hang(users, tag):
        asked.extend(users)
        over.wait(60)
        return {}

    monkeypatch.setattr(reader, "fetch", hang)
    monkeypatch.setattr(reader.breaker, "failed", lambda seconds, why: None)
    reader.timeout_s = 0.01
    assert all(web.get(name)["degraded"] for name in CROWD[:8])
    assert len(set(asked) - {NOBODY}) == warm.THREADS
    over.set()


def test_serving_without_a_table_says_that_a_list_may_be_missing(web, shop, monkeypatch):
    monkeypatch.setenv("NIGHTSHELF_WARM__TABLE", "")
    answers = open_answers(load_settings())
    try:
        app = create_app(answers, load_settings().serving).test_client()
        found = [app.get(f"/v1/users/{name}/recommendations?n=2").json for name in (NEW, OLD)]
    finally:
        answers.watch.stop()
    assert [told(answer) for answer in found] == [("i00", "personal", False), ("i10", "copy", True)]


# publishing


@pytest.mark.parametrize(("refuse", "halve"), [(3, 0), (0, 3)])
def test_what_dynamodb_does_not_take_is_sent_again(shop, client, dynamo, table, refuse, halve):
    dynamo.refuse, dynamo.halve = refuse, halve
    assert published() == 0
    assert len(dynamo.rows(table)) == 2 + len(CROWD) == read_release(client, KEYS).live("for_you").n_warm


def test_a_store_that_takes_nothing_leaves_the_old_release(web, client, dynamo, capsys, monkeypatch):
    monkeypatch.setattr(warm_table, "ATTEMPTS", 3)
    before = client.get(KEYS.live)
    dynamo.refuse = 10**6
    assert published(NEXT) == 75
    assert "slow down" in capsys.readouterr().err
    dynamo.refuse, dynamo.lose = 0, True
    assert published(NEXT) == 75
    assert "62 of 62 rows read back are missing or other than written" in capsys.readouterr().err
    assert client.get(KEYS.live) == before
    dynamo.calm()
    assert [web.first(name) for name in (NEW, OLD)] == ["i00", "i01"]
    assert published(NEXT) == 0


def test_a_lost_redis_is_loaded_again_and_the_warm_rows_stay(web, client, dynamo, capsys):
    entry = read_release(client, KEYS).live("for_you")
    client.flushall()
    dynamo.calm()
    assert cli.main(["publish", "--generation", entry.base]) == 0
    assert "its 62 rows are in the warm store already" in capsys.readouterr().out
    assert "BatchWriteItem" not in dynamo.asked
    assert read_release(client, KEYS).live("for_you") == entry


def test_warm_rows_that_near_their_end_are_an_alarm_and_written_again(web, client, dynamo, capsys):
    live = json.loads(client.get(KEYS.live))
    base = live["surfaces"]["for_you/control"]["base"]
    soon = iso(datetime.fromisoformat(live["released_at"]) + timedelta(days=7))  # below a quarter of 30 days
    live["surfaces"]["for_you/control"]["warm_until"] = soon
    client.set(KEYS.live, json.dumps(live))
    assert cli.main(["keep"]) == 75
    assert f"{base} is live and has warm rows that end on {soon[:10]}" in capsys.readouterr().err
    dynamo.calm()
    assert cli.main(["publish", "--surfaces", "trending", "--as-of", iso(NIGHT)]) == 0  # the hourly run
    assert f"for_you: {base} has warm rows that end on {soon[:10]}: loading it again" in capsys.readouterr().out
    assert dynamo.asked.count("BatchWriteItem") == 3  # 62 rows
    assert cli.main(["keep"]) == 0
    assert read_release(client, KEYS).live("for_you").warm_until > soon


def test_rows_that_are_gone_are_written_again(web, client, dynamo, table):
    entry = read_release(client, KEYS).live("for_you")
    for row in dynamo.rows(table):
        dynamo.client.delete_item(TableName=table, Key={key: row[key] for key in ("user", "tag")})
    client.flushall()
    assert cli.main(["publish", "--generation", entry.base]) == 0
    assert len(dynamo.rows(table)) == 62


def test_without_the_interactions_everybody_is_in_redis_again(web, shop, client, capsys):
    entry = read_release(client, KEYS).live("for_you")
    shutil.rmtree(shop.store.path("manifests/interactions"))
    client.flushall()
    assert cli.main(["publish", "--generation", entry.base]) == 0
    assert "gone from the lake: all its users go into Redis" in capsys.readouterr().out
    assert read_release(client, KEYS).live("for_you").n_keys == 64


def test_a_warm_store_turned_off_is_loaded_into_redis(web, client, monkeypatch, capsys):
    monkeypatch.setenv("NIGHTSHELF_WARM__TABLE", "")
    assert published() == 0
    assert "has a warm part, and warm.table names no table: loading it again" in capsys.readouterr().out
    entry = read_release(client, KEYS).live("for_you")
    assert (entry.n_keys, entry.n_warm, entry.warm_until) == (64, 0, "")
    assert b"warm" not in client.get(KEYS.live)  # as a version before reads it
    assert from_json(client.get(KEYS.live)).live("for_you") == entry


def test_a_second_redis_writes_the_rows_no_second_time(shop, client, dynamo, monkeypatch, server):
    monkeypatch.setenv("NIGHTSHELF_PUBLISH__TARGETS", json.dumps([f"{server.url}?db=1"]))
    assert published() == 0
    assert dynamo.asked.count("BatchWriteItem") == 3


def test_a_table_that_is_not_there_or_never_forgets_is_told(shop, dynamo, monkeypatch, capsys):
    monkeypatch.setenv("NIGHTSHELF_WARM__TABLE", "nowhere")
    assert published() == 2
    assert "DynamoDB table nowhere" in capsys.readouterr().err
    monkeypatch.setenv("NIGHTSHELF_WARM__TABLE", "endless")
    dynamo.create("endless", ttl=False)
    assert published() == 0
    assert "warning: table endless has no TTL on 'ends'" in capsys.readouterr().out


# the set of people


def test_lately_is_what_a_set_says():
    names = [f"{k:032x}" for k in range(3_000)]
    table = rows(
        "interactions", *({"user_id": n, "last_time": NIGHT - timedelta(days=k % 7)} for k, n in enumerate(names))
    )
    for size in (1, 700, 4_000):
        found = Lately.since(table.to_batches(size), NIGHT - timedelta(days=2))
        assert found.holds(table["user_id"].combine_chunks()).tolist() == [k % 7 <= 2 for k in range(3_000)]
    assert not Lately.since([], NIGHT).holds(table["user_id"].combine_chunks()).any()
