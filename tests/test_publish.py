"""Publishing into a real redis-server: switch, fencing, crashes, cleaning, refusals."""

import itertools
import threading
from datetime import UTC, datetime

import orjson
import pytest
import redis
from redis_fixture import empty_client, module_server  # noqa: F401
from redis_server import RedisServer
from shelves import KEYS, LATER, NOON, SMALL, generation, keys_of, publisher, shelf

from conf.settings import load_settings
from jobs.rim.errors import TemporaryError
from jobs.rim.manifest import DataFile
from jobs.rim.packing import generation_id
from jobs.rim.redis_client import connect, redis_trouble
from jobs.rim.redis_release import Lease, read_release, switch
from schemas.catalogue import Catalogue
from schemas.codec import unpack_list
from schemas.keys import tag_of


@pytest.fixture
def settings(server):
    return load_settings(
        redis={"url": server.url, "namespace": "test"},
        publish=SMALL,
        identity={"secret": "a secret of the tests"},
    )


def test_publish_loads_switches_and_names_the_catalogue(client, settings):
    wanted = generation()
    release = publisher(client, settings).publish(shelf(wanted))
    assert release == read_release(client, KEYS)
    assert (release.epoch, release.live("for_you").base, release.live("for_you").n_keys) == (1, wanted.name, 25)
    value = client.get(KEYS.slate(f"{3:032x}", release.live("for_you").tag))
    assert unpack_list(value).items == [3, 4]
    parts = [client.get(KEYS.catalogue(release.catalogue.sha, k)) for k in range(release.catalogue.n_chunks)]
    assert Catalogue(b"".join(parts)).title(0) == "Title"
    assert client.get(KEYS.lease) is None


def test_keys_live_long_with_jitter(client, settings):
    release = publisher(client, settings).publish(shelf(generation()))
    days = settings.publish.ttl_days * 86_400
    ttls = {client.ttl(key) for key in client.keys("test:{u:*")}
    assert len(ttls) > 5
    assert all(0.89 * days <= ttl <= days for ttl in ttls)
    assert client.ttl(KEYS.live) == -1
    assert release.live("for_you").tag


def test_publishing_the_same_again_writes_nothing(client, settings):
    said = []
    publisher(client, settings).publish(shelf(generation()))
    before = client.get(KEYS.live)
    forbidden = generation(entries=lambda: pytest.fail("read again"))
    publisher(client, settings, said).publish(shelf(forbidden))
    assert client.get(KEYS.live) == before
    assert said == [f"for_you: {forbidden.name} is live already"]


@pytest.mark.parametrize("user", [3, 23], ids=["of the first list", "of the last list"])
def test_publishing_again_mends_what_is_live(client, settings, user):
    wanted = generation()
    publisher(client, settings).publish(shelf(wanted))
    client.delete(KEYS.slate(f"{user:032x}", tag_of(wanted.name)))
    said = []
    release = publisher(client, settings, said).publish(shelf(wanted))
    assert "loading it again" in said[0]
    assert (release.epoch, release.live("for_you").base, release.previous["for_you/control"]) == (2, wanted.name, ())
    assert client.exists(KEYS.slate(f"{user:032x}", tag_of(wanted.name)))


def test_publishing_again_renews_what_nears_its_end(client, settings):
    wanted = generation()
    release = publisher(client, settings).publish(shelf(wanted))
    for key in client.keys("test:{[u,g,c]*:*"):
        client.expire(key, 86_400)
    said = []
    assert publisher(client, settings, said).publish(shelf(wanted)) == release
    assert said[1] == f"{wanted.name}: renewed for 30 days"
    assert said[2].startswith("catalogue ")
    ttls = [client.ttl(key) for key in client.keys("test:*") if b"{ctl}" not in key]
    assert len(ttls) > 25
    assert min(ttls) > 26 * 86_400


def test_surfaces_switch_apart_and_keep_each_other(client, settings):
    first = publisher(client, settings).publish(shelf(generation()))
    second = publisher(client, settings).publish(shelf(generation("trending", as_of=LATER, seed=500), as_of=LATER))
    assert second.live("for_you") == first.live("for_you")
    assert second.live("trending").as_of == LATER
    assert second.epoch == 2


def test_only_the_kept_generations_stay_in_redis(client, settings):
    hours = [f"2026-01-02T{hour:02}:00:00Z" for hour in range(5)]
    made = [generation(as_of=hour, seed=100 * k) for k, hour in enumerate(hours)]
    for one in made:
        release = publisher(client, settings).publish(shelf(one, as_of=one.as_of))
    assert [old.base for old in release.previous["for_you/control"]] == [made[3].name, made[2].name]
    assert [bool(keys_of(client, tag_of(one.name))) for one in made] == [False, False, True, True, True]
    assert {name.decode() for name in client.hkeys(KEYS.loads) if not name.startswith(b"catalogue")} == release.kept()


def test_a_replaced_catalogue_goes_after_a_while(client, settings):
    old = publisher(client, settings).publish(shelf(generation(seed=1))).catalogue
    rows = (("a", "New title", None, True), ("b", None, None, False))
    new = publisher(client, settings).publish(shelf(generation(as_of=LATER, seed=2), as_of=LATER, rows=rows)).catalogue
    assert client.ttl(KEYS.catalogue(new.sha, 0)) > 86_400
    assert 0 < client.ttl(KEYS.catalogue(old.sha, 0)) <= 600


def test_an_older_catalogue_does_not_replace_a_newer_one(client, settings):
    rows = (("a", "New", None, True),)
    new = publisher(client, settings).publish(shelf(generation("trending", LATER, 9), as_of=LATER, rows=rows)).catalogue
    assert publisher(client, settings).publish(shelf(generation(seed=3))).catalogue == new


def test_nothing_goes_backwards_unless_told_to(client, settings):
    said = []
    publisher(client, settings).publish(shelf(generation(as_of=LATER, seed=1), as_of=LATER))
    older = generation(as_of=NOON, seed=2)
    release = publisher(client, settings, said).publish(shelf(older))
    assert release.live("for_you").as_of == LATER
    assert "--allow-older" in said[0]
    assert NOON in said[0]
    told = publisher(client, settings, allow_older=True).publish(shelf(older))
    assert told.live("for_you").base == older.name


class Crash(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


def crashing(entries, after):
    yield from itertools.islice(entries, after)
    raise Crash


def test_a_crash_while_loading_leaves_the_live_release_and_the_next_run_cleans(client, settings, monkeypatch):
    before = publisher(client, settings).publish(shelf(generation(seed=1)))
    broken = generation(as_of=LATER, seed=2)
    whole = broken.entries
    dying = generation(as_of=LATER, seed=2, entries=lambda: crashing(whole(), 15))
    monkeypatch.setattr(Lease, "give_back", lambda self: None)  # the dead give nothing back
    with pytest.raises(Crash):
        publisher(client, settings).publish(shelf(dying, as_of=LATER))
    monkeypatch.undo()
    assert read_release(client, KEYS) == before
    assert len(keys_of(client, tag_of(broken.name))) == 11  # one batch and its list
    client.delete(KEYS.lease)  # what its expiry does
    other = generation(as_of=LATER, seed=3)
    after = publisher(client, settings).publish(shelf(other, as_of=LATER))
    assert after.live("for_you").base == other.name
    assert keys_of(client, tag_of(broken.name)) == []


def test_leftovers_go_even_when_there_is_nothing_new_to_publish(client, settings):
    publisher(client, settings).publish(shelf(generation(seed=1)))
    dead = generation(as_of=LATER, seed=2)
    dying = publisher(client, settings)
    dying.lease.acquire(0)
    dying.stock.load(dead, None)  # loaded, never switched
    dying.lease.give_back()
    assert keys_of(client, tag_of(dead.name))
    publisher(client, settings).publish(shelf(generation(seed=1)))
    assert keys_of(client, tag_of(dead.name)) == []


def test_a_crash_just_before_the_switch_leaves_the_live_release(client, settings, monkeypatch):
    before = publisher(client, settings).publish(shelf(generation(seed=1)))
    monkeypatch.setattr("jobs.publish.switch", lambda *_: (_ for _ in ()).throw(Crash))
    with pytest.raises(Crash):
        publisher(client, settings).publish(shelf(generation(as_of=LATER, seed=2), as_of=LATER))
    assert read_release(client, KEYS) == before


def test_a_value_that_reads_back_differently_is_not_switched(client, settings):
    before = publisher(client, settings).publish(shelf(generation(seed=1)))
    wanted = generation(as_of=LATER, seed=2)

    def spoiling():
        for number, entry in enumerate(wanted.entries()):
            if number == 20:
                client.set(KEYS.slate(f"{3:032x}", tag_of(wanted.name)), b"something else")
            yield entry

    spoiled = generation(as_of=LATER, seed=2, entries=spoiling)
    with pytest.raises(TemporaryError, match="does not read back"):
        publisher(client, settings).publish(shelf(spoiled, as_of=LATER))
    assert read_release(client, KEYS) == before
    assert keys_of(client, tag_of(wanted.name)) == []


def test_a_key_lost_while_loading_is_not_switched(client, settings):
    wanted = generation(seed=2)

    def losing():
        for number, entry in enumerate(wanted.entries()):
            if number == 20:
                client.delete(KEYS.slate(f"{3:032x}", tag_of(wanted.name)))
            yield entry

    with pytest.raises(TemporaryError, match="25 keys written, 24 found"):
        publisher(client, settings).publish(shelf(generation(seed=2, entries=losing)))
    assert read_release(client, KEYS) is None


def test_an_overtaken_publisher_switches_nothing(client, settings):
    slow = generation(seed=1)

    def overtaken():
        for number, entry in enumerate(slow.entries()):
            if number == 15:
                client.delete(KEYS.lease)  # it was stopped for longer than its lease
                publisher(client, settings).publish(shelf(generation(seed=2)))
            yield entry

    with pytest.raises(TemporaryError, match="took over"):
        publisher(client, settings).publish(shelf(generation(seed=1, entries=overtaken)))
    assert read_release(client, KEYS).live("for_you").base == generation(seed=2).name
    assert read_release(client, KEYS).epoch == 1


def test_the_switch_itself_refuses_an_overtaken_publisher(client, settings):
    release = publisher(client, settings).publish(shelf(generation()))
    old, new = Lease(client, KEYS, 5), Lease(client, KEYS, 5)
    assert old.try_acquire()
    client.delete(KEYS.lease)
    assert new.try_acquire()
    with pytest.raises(TemporaryError, match="took over before the switch"):
        switch(client, KEYS, old, lambda live: live.switched({}, live.catalogue, 1, LATER, 3))
    assert read_release(client, KEYS) == release


def test_a_conflicting_switch_is_tried_again_on_what_is_live_by_then(client, settings):
    publisher(client, settings).publish(shelf(generation(seed=1)))
    lease = Lease(client, KEYS, 5)
    lease.acquire(0)
    seen = []

    def change(live):
        seen.append(live.epoch)
        if len(seen) == 1:  # somebody else switches between our read and our write
            moved = live.switched({}, live.catalogue, 1, LATER, 3)
            client.set(KEYS.live, moved.to_json())
        return live.switched({}, live.catalogue, 1, LATER, 3)

    assert switch(client, KEYS, lease, change).epoch == 3
    assert seen == [1, 2]


def test_the_switch_itself_refuses_to_go_backwards(client, settings):
    live = publisher(client, settings).publish(shelf(generation(as_of=LATER), as_of=LATER))
    older = publisher(client, settings)
    older.lease.acquire(0)
    entry = older.stock.load(generation(as_of=NOON, seed=4), None)
    with pytest.raises(TemporaryError, match="for_you/control went live with a later as_of"):
        older.switch({"for_you/control": entry}, live.catalogue, 1)


def test_two_publishers_at_once_both_get_through(client, settings, server):
    errors = []

    def run(one):
        try:
            with server.client() as own:
                publisher(own, settings).publish(shelf(one))
        except Exception as error:  # handed to the main thread
            errors.append(error)

    made = [generation("for_you", seed=1), generation("trending", seed=2)]
    threads = [threading.Thread(target=run, args=(one,)) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    release = read_release(client, KEYS)
    assert {release.live(one.surface).base for one in made} == {one.name for one in made}
    assert release.epoch == 2


def test_out_of_memory_is_temporary_and_leaves_what_is_live(client, settings):
    before = publisher(client, settings).publish(shelf(generation(seed=1)))
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 200_000)
    big = generation(as_of=LATER, seed=2, entries=lambda: ((f"test:{{u:{k}}}:x", bytes(5000)) for k in range(500)))
    with pytest.raises(TemporaryError, match="out of memory"), redis_trouble("here"):
        publisher(client, settings).publish(shelf(big, as_of=LATER))
    client.config_set("maxmemory", 0)
    assert read_release(client, KEYS) == before
    assert client.keys("test:{u:*}:x") == []


def test_redis_away_is_one_temporary_line(settings):
    away = settings.model_copy(update={"redis": settings.redis.model_copy(update={"url": "unix://nowhere.sock"})})
    unreachable = pytest.raises(TemporaryError, match=r"Redis at unix://nowhere.sock cannot be reached")
    with unreachable as caught, redis_trouble(away.redis.url):
        publisher(connect(away), away).publish(shelf(generation()))
    assert "\n" not in str(caught.value)


def test_an_evicting_redis_is_warned_about(client, settings):
    client.config_set("maxmemory-policy", "allkeys-lru")
    said = []
    publisher(client, settings, said).publish(shelf(generation()))
    assert "noeviction" in said[0]


def test_a_release_of_another_version_is_not_overwritten(client, settings):
    client.set(KEYS.live, orjson.dumps({"epoch": 7}))
    with pytest.raises(TemporaryError, match="cannot be read"):
        publisher(client, settings).publish(shelf(generation()))
    assert orjson.loads(client.get(KEYS.live)) == {"epoch": 7}


def test_redis_restarted_empty_while_loading_switches_nothing(settings):
    server = RedisServer().start()
    own = settings.model_copy(update={"redis": settings.redis.model_copy(update={"url": server.url})})
    whole = generation(seed=1)

    def restarting():
        for number, entry in enumerate(whole.entries()):
            if number == 15:
                server.stop()
                server.start()
            yield entry

    try:
        with pytest.raises((TemporaryError, redis.exceptions.RedisError)):
            publisher(connect(own), own).publish(shelf(generation(seed=1, entries=restarting)))
        with server.client() as client:
            assert client.get(KEYS.live) is None
        assert publisher(connect(own), own).publish(shelf(whole)).epoch == 1
    finally:
        server.close()


def test_a_generation_is_named_by_its_content():
    files = [DataFile("a", 1, 2, 3), DataFile("b", 4, 5, 6)]
    name = generation_id("for_you", NOON, files, 10, 1)
    assert name.startswith("for_you-20260102T120000Z-")
    assert generation_id("for_you", NOON, [DataFile("y", 4, 5, 6), DataFile("x", 1, 2, 3)], 10, 1) == name
    others = [
        generation_id("similar", NOON, files, 10, 1),
        generation_id("for_you", LATER, files, 10, 1),
        generation_id("for_you", NOON, [DataFile("a", 1, 2, 4), files[1]], 10, 1),
        generation_id("for_you", NOON, files, 11, 1),
        generation_id("for_you", NOON, files, 10, 2),
    ]
    assert len({tag_of(one) for one in [name, *others]}) == 6
    assert datetime.strptime(name.split("-")[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).hour == 12
