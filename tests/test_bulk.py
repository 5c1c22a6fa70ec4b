"""Slates from Parquet into real servers: one, a Cluster, a Sentinel's master; breaks, slots that move."""

import io
import threading

import pytest
import redis
from redis_fixture import empty_client, module_server  # noqa: F401
from redis_places import Cluster, Watched, until
from redis_server import RedisServer
from slate_rows import slate_entries, slate_files, slate_row

from conf.settings import load_settings
from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.key_lists import numbers_of, read_names
from jobs.rim.link import Link
from jobs.rim.progress import Progress
from jobs.rim.redis_client import connect_to, eviction_warning
from jobs.rim.redis_keeper import Keeper
from jobs.rim.redis_release import Lease, read_release, switch
from jobs.rim.redis_writer import Writer
from jobs.rim.side_by_side import side_by_side
from schemas.keys import Keys, tag_of
from schemas.redis_url import place_of
from schemas.release import CatalogueRelease, Release

KEYS = Keys("test")
NAME = "for_you-20260102T120000Z-0123456789ab"
TAG = tag_of(NAME)
ROWS = [slate_row(seed) for seed in range(200)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return slate_files(tmp_path_factory.mktemp("lake"), ROWS)


@pytest.fixture(scope="module")
def wanted(files):
    """Every key and value, packed row by row."""
    return dict(pair for part in files.parts() for pair in slate_entries(files.batches(part), KEYS, TAG))


def writer(client, heartbeat=lambda: None, **options):
    settings = load_settings(publish={"pipeline_keys": 16, "timeout_ms": 2_000} | options)
    return Writer(client, KEYS, settings.publish, heartbeat)


def held(client, names):
    return {name: client.get(name) for name in names}


def test_what_is_loaded_side_by_side_is_what_row_by_row_packing_gives(client, files, wanted):
    loaded = writer(client, connections=3).load(NAME, files)
    assert (loaded.n_keys, loaded.n_bytes) == (200, sum(map(len, wanted.values())))
    assert held(client, wanted) == wanted
    days = load_settings().publish.ttl_days * 86_400
    ttls = [client.ttl(name) for name in wanted]
    assert all(0.89 * days <= ttl <= days for ttl in ttls)
    assert len(set(ttls)) > 100
    numbers = list(numbers_of(client, KEYS, TAG))
    listed = [name for number in numbers for name in read_names(client, KEYS, TAG, number)]
    assert sorted(listed) == sorted(wanted)
    assert client.dbsize() == len(wanted) + len(numbers) + 1  # and the registry
    assert writer(client, connections=1, pipeline_keys=16).load(NAME, files).crc32 == loaded.crc32


def test_unlinking_leaves_nothing_even_where_a_list_is_missing(client, files, wanted):
    writer(client).load(NAME, files)
    gone = read_names(client, KEYS, TAG, 2)  # a loader died before it wrote its list, or any of its keys
    client.delete(KEYS.index(TAG, 2), *gone)
    Keeper(client, KEYS, load_settings().publish).unlink(TAG)
    assert client.keys("*") == [KEYS.loads.encode()]


def test_a_value_that_another_wrote_and_a_lost_key_are_both_noticed(client, files, wanted):
    loading = writer(client)
    loaded = loading.load(NAME, files)
    loading.recheck(NAME, loaded)
    name = next(iter(wanted))
    client.set(name, wanted[name][:-1] + bytes([wanted[name][-1] ^ 1]))
    with pytest.raises(TemporaryError, match="does not read back as written"):
        loading.verify(NAME, loaded.receipts)
    client.delete(name)
    with pytest.raises(TemporaryError, match="200 keys written, 199 found"):
        loading.verify(NAME, loaded.receipts)


def test_connections_cut_while_loading_are_made_anew(client, files, wanted, monkeypatch):
    cut, send = [], Link.send

    def cutting(self, commands, n):
        send(self, commands, n)
        if len(cut) < 3:
            cut.append(client.client_kill_filter(_type="normal", skipme=True))

    monkeypatch.setattr(Link, "send", cutting)
    loaded = writer(client).load(NAME, files)
    assert loaded.n_keys == 200
    assert sum(map(int, cut)) >= 3
    assert held(client, wanted) == wanted


def test_a_server_that_stays_away_ends_the_load(files, monkeypatch):
    server = RedisServer().start()
    monkeypatch.setattr("jobs.rim.link.PAUSE_S", 0.001)
    send = Link.send

    def dying(self, commands, n):
        server.stop()
        send(self, commands, n)

    monkeypatch.setattr(Link, "send", dying)
    try:
        with pytest.raises(redis.exceptions.ConnectionError):
            writer(connect_to(server.url, 2)).load(NAME, files)
    finally:
        server.close()


def test_out_of_memory_in_mid_load_is_told(client, files):
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 60_000)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        writer(client).load(NAME, files)


def test_a_lost_lease_stops_all_loaders(client, files):
    beats = []

    def heartbeat():
        beats.append(threading.get_ident())
        if len(beats) == 2:
            raise TemporaryError("another publisher took over")

    with pytest.raises(TemporaryError, match="took over"):
        writer(client, heartbeat).load(NAME, files)
    assert set(beats) == {threading.get_ident()}  # of the caller's thread, which owns the lease's client


def test_threads_end_when_one_fails():
    started = threading.Barrier(2)

    def work(shared):
        for number in shared:
            if number < 2:
                started.wait(10)
            if number == 0:
                raise ValueError("this one")

    endless = iter(range(10**12))
    with pytest.raises(ValueError, match="this one"):
        side_by_side(endless, work, 2, lambda: None)


def test_progress_tells_a_terminal_and_a_log():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal, log = Terminal(), io.StringIO()
    for out in (terminal, log):
        progress = Progress("for_you", 200, out)
        progress.told -= 60
        progress.add(100)
        progress.add(50)
        progress.close()
    assert terminal.getvalue().startswith("\r[############            ]  50% for_you: 100 keys, ")
    assert terminal.getvalue().endswith("\n")
    assert log.getvalue().startswith("for_you: 100 keys, ")
    assert log.getvalue().endswith("/s, 50%\n")
    assert Progress("similar", 0, log).line(2.0) == "similar: 0 keys, 0/s"


# a Cluster


@pytest.fixture(scope="module")
def cluster():
    nodes = Cluster()
    yield nodes
    nodes.close()


def test_a_cluster_is_loaded_by_owner(cluster, files, wanted):
    client = connect_to(cluster.url, 5)
    assert eviction_warning(client) is None
    loading = writer(client)
    assert loading.load(NAME, files).n_keys == 200
    assert held(client, wanted) == wanted
    assert all(cluster.client(port).dbsize() > 40 for port in cluster.ports)
    few = [(name, value) for name, value in list(wanted.items())[:40]]
    other = NAME[:-1] + "c"
    assert loading.load(other, iter(few)).n_keys == 40  # one after another, as neighbors and trending are
    loading.settled(0, 1)
    with pytest.raises(TemporaryError, match="0 of 1 replicas"):
        loading.settled(1, 0.05)
    Keeper(client, KEYS, load_settings().publish).clean(None)
    assert sum(cluster.client(port).dbsize() for port in cluster.ports) <= 3  # marks of settled, gone in a minute


def test_the_release_works_on_a_cluster(cluster):
    client = connect_to(cluster.url, 5)
    lease = Lease(client, KEYS, 5)
    lease.acquire(0)
    lease.renew()
    catalogue = writer(client).load_catalogue(b"x" * 3_000_000, 5, 5, "2026-01-02T12:00:00Z")
    assert catalogue.n_chunks == 3
    made = Release(1, "2026-01-02T12:00:00Z", 1, CatalogueRelease("ab" * 32, 1, 9, 5, 5, "2026-01-02T12:00:00Z"), {})
    assert switch(client, KEYS, lease, lambda live: made) == read_release(client, KEYS)
    lease.give_back()
    assert client.get(KEYS.lease) is None


def test_slots_that_move_while_loading_are_followed(cluster, files, wanted):
    client, source = connect_to(cluster.url, 5), cluster.ports[0]
    for port in cluster.ports:
        cluster.client(port).flushall()
    slots = {client.keyslot(name) for name in wanted if client.get_node_from_key(name).port == source}
    loading = writer(client)
    for slot in sorted(slots)[:3]:  # after our client has learnt who owns what
        cluster.move(slot, source, cluster.ports[1])
    assert loading.load(NAME, files).n_keys == 200
    assert held(client, wanted) == wanted
    for slot in sorted(slots)[:3]:
        assert cluster.client(cluster.ports[1]).execute_command("CLUSTER", "COUNTKEYSINSLOT", slot) > 0


# Sentinel


def test_a_master_that_fails_over_while_loading_is_found_again(files, wanted, monkeypatch):
    watched = Watched()
    send, killed = Link.send, []

    def killing(self, commands, n):
        if len(killed) == 3:
            self.settle()  # else what was answered may not have come to the replica
            until(lambda: watched.client(watched.replica).dbsize() == client.dbsize(), "replica")
            watched.kill(watched.master)
        killed.append(n)
        send(self, commands, n)

    try:
        client = connect_to(watched.url, 2)
        loading = writer(client, connections=1)
        assert loading.load(NAME, files).n_keys == 200
        loading.settled(1, 5)
        assert watched.client(watched.replica).dbsize() == client.dbsize()
        monkeypatch.setattr(Link, "send", killing)
        again = loading.load(NAME[:-1] + "d", files)
        assert again.n_keys == 200
        promoted = watched.client(watched.replica)
        until(lambda: promoted.info("replication")["role"] == "master", "promoted")
        assert len(list(numbers_of(promoted, KEYS, tag_of(NAME[:-1] + "d")))) == len(again.receipts)
        with pytest.raises(TemporaryError, match="0 of 1 replicas"):
            loading.settled(1, 0.05)
    finally:
        watched.close()


def test_a_url_names_one_server_or_a_place_of_many():
    assert place_of("redis://here:1/2") is None
    assert place_of("sentinel://me:s%40y@a:1,b/shelf") == (place := place_of("sentinel://me:s%40y@a:1,b:26379/shelf"))
    assert (place.hosts, place.service, place.options) == (
        *((("a", 1), ("b", 26_379)), "shelf"),
        {"username": "me", "password": "s@y"},
    )
    many = place_of("rediss+cluster://[::1]:7000,b")
    assert (many.hosts, many.service, many.options) == ((("::1", 7_000), ("b", 6_379)), "", {"ssl": True})


@pytest.mark.parametrize("url", ["sentinel://a:1", "redis+cluster://a:1/x", "redis+cluster://a:b", "sentinel:///x"])
def test_a_url_that_names_no_place_is_refused(url):
    with pytest.raises(UsageError, match=r"redis\.url"):
        connect_to(url, 1)
