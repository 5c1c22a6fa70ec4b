"""What a request may cost and wait for: deadlines, breakers, connections, replicas, copies; over real redis-servers."""

import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from redis import Redis, RedisCluster
from redis.crc import key_slot
from redis.exceptions import RedisError
from redis_server import RedisServer, executable

from conf.settings import load_settings
from deploy.embedded.checks import free_port
from schemas.keys import Keys
from serving.breaker import BUSY, FAILURES_TO_OPEN, WINDOW_S, Breaker
from serving.copies import CopyFolder
from serving.deadline import Deadline
from serving.hot import HOTTEST, PublicLists
from serving.reader import Reader, StoreAway, UserRead
from serving.shedding import GRACE_S, Shedding
from serving.topology import slot_of

pytestmark = pytest.mark.alone
KEYS = Keys("test")
SLOW_S = 0.005


@pytest.fixture(scope="module")
def server():
    running = RedisServer().start()
    yield running
    running.close()


@pytest.fixture
def store(server):
    """Running and empty."""
    if server.process is None:
        server.start()
    with server.client() as client:
        client.flushall()
        client.config_resetstat()
    return server


def settings(server, *replicas, read_ms=200):
    return load_settings(
        redis={
            "url": server.url,
            "namespace": "test",
            "replica_urls": [replica.url for replica in replicas],
            "connect_timeout_ms": 200,
            "read_timeout_ms": read_ms,
        },
        identity={"secret": "a secret of the tests"},
    )


@contextmanager
def reading(server, *replicas, **options):
    """A reader whose breakers are closed."""
    reader = Reader(settings(server, *replicas, **options).redis)
    reader.ask([KEYS.live])
    try:
        yield reader
    finally:
        reader.close()


def soon(seconds=2.0):
    return Deadline.after(seconds)


def n_mget(server):
    with server.client() as client:
        return client.info("commandstats").get("cmdstat_mget", {}).get("calls", 0)


@contextmanager
def stopped(server):
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def test_a_deadline_tells_what_is_left():
    assert 0.9 < Deadline.after(1).left() <= 1
    assert not Deadline.after(1).passed
    assert Deadline.after(-0.1).passed


# the breaker


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    made = Breaker(SLOW_S, clock)
    assert made.open  # until the background was answered
    made.probed(0.001)
    return made


def test_failures_in_a_row_open_the_breaker_and_the_background_closes_it(breaker):
    for _ in range(3):
        for _ in range(FAILURES_TO_OPEN - 1):
            breaker.failed(0.001, "refused")
        breaker.answered(0.001)
    assert not breaker.open
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(0.001, "refused")
    assert (breaker.open, breaker.why, breaker.times_opened) == (True, "refused", 1)
    breaker.answered(0.001)  # a request that was under way
    assert breaker.open
    breaker.probed(SLOW_S * 2)
    assert not breaker.open


def test_slow_reads_open_it_only_while_they_take_most_of_the_time(breaker, clock):
    for _ in range(100):  # 10 ms each, one in 50 ms
        clock.now += 0.05
        breaker.answered(0.01)
    assert not breaker.open
    for _ in range(int(WINDOW_S / 0.01) + 2):  # 10 ms each, one after another
        clock.now += 0.01
        breaker.answered(0.01)
    assert breaker.open
    assert "slow: 10.0 ms" in breaker.why
    breaker.probed(SLOW_S * 2)  # still slow
    assert breaker.open
    breaker.probed(SLOW_S / 2)
    assert not breaker.open


def test_fast_reads_never_open_it_however_busy(breaker, clock):
    for _ in range(1_000):
        clock.now += 0.001
        breaker.answered(0.001)  # all of the time
    assert not breaker.open
    assert BUSY < 1


# shedding


def test_what_a_stall_left_behind_is_answered():
    shedding = Shedding(0.02)
    assert not any(shedding.late(0.08, at / 1000) for at in range(0, int(GRACE_S * 900), 5))
    assert not shedding.late(0.001, GRACE_S * 0.95)  # worked off
    assert not shedding.late(0.08, GRACE_S * 1.05)  # another stall


def test_a_queue_that_stands_is_shed_until_it_is_gone():
    shedding = Shedding(0.02)
    shedding.late(0.03, 0.0)
    assert not shedding.late(0.019, 0.05)  # not too long, not gone either
    assert shedding.late(0.021, GRACE_S)
    assert not shedding.late(0.01, 0.2)  # who waited for less is answered
    assert shedding.late(0.03, 0.3)
    assert not shedding.late(0.003, 0.4)
    assert not shedding.on
    assert not shedding.late(0.03, 0.5)


# reading


def test_all_of_a_user_comes_in_one_command(store):
    with store.client() as client:
        client.mset({KEYS.flags("u"): b"f", KEYS.recents("u"): b"r", KEYS.slate("u", "tag"): b"base"})
        client.mset({KEYS.seen("u", "tag"): b"s", KEYS.delta("u", "tag"): b"d"})
    with reading(store) as reader:
        before = n_mget(store)
        assert reader.user("u", "tag", soon()) == UserRead(b"f", b"r", b"s", b"d", b"base")
        assert n_mget(store) == before + 1
        assert reader.user("u", None, soon()) == UserRead(b"f", b"r", None, None, None)
        assert reader.users([], "tag", soon()) == []
        assert reader.users(["v", "u"], "tag", soon()) == [UserRead(*[None] * 5), reader.user("u", "tag", soon())]


def test_a_read_is_not_begun_when_no_time_is_left(store):
    with reading(store) as reader:
        before = n_mget(store)
        with pytest.raises(StoreAway, match="no time is left"):
            reader.user("u", "tag", soon(0.0005))
        assert n_mget(store) == before


def test_a_read_waits_no_longer_than_what_is_left(store):
    with reading(store, read_ms=10_000) as reader, stopped(store):
        began = time.monotonic()
        with pytest.raises(StoreAway):
            reader.user("u", "tag", soon(0.03))
        assert time.monotonic() - began < 2  # the read's own limit is 10 s


def test_a_late_reply_is_never_taken_for_the_next_one(store):
    with store.client() as client:
        client.mset({KEYS.flags("ann"): b"ann's", KEYS.flags("bob"): b"bob's"})
    with reading(store, read_ms=30) as reader:
        with stopped(store), pytest.raises(StoreAway):
            reader.user("ann", None, soon())
        time.sleep(0.05)  # the reply about ann was sent meanwhile
        assert reader.user("bob", None, soon()).flags == b"bob's"


def test_a_connection_that_was_closed_while_idle_is_replaced_unseen(store):
    with reading(store) as reader:
        with store.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        time.sleep(0.02)
        assert reader.user("u", None, soon()) == UserRead(*[None] * 5)


def test_an_open_breaker_asks_only_in_the_background(store):
    with reading(store, read_ms=30) as reader:
        with stopped(store):
            for _ in range(FAILURES_TO_OPEN):
                with pytest.raises(StoreAway):
                    reader.live(soon())
        time.sleep(0.05)
        before = n_mget(store)
        for _ in range(20):
            with pytest.raises(StoreAway, match="Redis is away"):
                reader.live(soon())
        assert (reader.away, n_mget(store)) == (True, before)
        reader.ask([KEYS.live])
        assert not reader.away
        assert reader.live(soon()) is None


def test_an_error_of_redis_is_redis_away(store):
    with store.client() as client:
        client.set(KEYS.live, b"x")
    with reading(store) as reader:
        with store.client() as client:
            client.config_set("requirepass", "secret")
            client.client_kill_filter(_type="normal", skipme=True)
        try:
            time.sleep(0.02)
            with pytest.raises(StoreAway, match=r"[Aa]uthentication|NOAUTH"):
                reader.live(soon())
        finally:
            with store.client(password="secret") as client:
                client.config_set("requirepass", "")


def test_a_name_that_cannot_be_resolved_holds_nobody_up(store, monkeypatch):
    with reading(store) as reader:
        node = reader.topology.shard.master

        def hang(*_):
            time.sleep(1)
            raise OSError("no such host")

        monkeypatch.setattr(node.pool, "make_connection", hang)
        node.idle.pop().close()
        began = time.monotonic()
        with pytest.raises(StoreAway, match="no connection in time"):
            reader.live(soon(0.05))
        assert time.monotonic() - began < 0.9


# replicas


@pytest.fixture
def replica():
    running = RedisServer().start()
    yield running
    running.close()


def test_what_the_master_does_not_give_is_asked_of_a_replica(store, replica):
    for one in (store, replica):
        with one.client() as client:
            client.set(KEYS.flags("u"), one.url)
    with reading(store, replica) as reader:
        assert reader.user("u", None, soon()).flags == store.url.encode()
        assert n_mget(replica) == 1  # the probe
        store.stop()
        for _ in range(FAILURES_TO_OPEN + 2):
            assert reader.user("u", None, soon()).flags == replica.url.encode()
        assert (reader.topology.shard.master.breaker.open, reader.away) == (True, False)
        assert reader.ask([KEYS.flags("u")]) == ([replica.url.encode()], False)
        replica.stop()
        for _ in range(FAILURES_TO_OPEN):
            with pytest.raises(StoreAway):
                reader.user("u", None, soon())
        assert reader.away


# public lists


def test_many_that_ask_for_a_viral_item_cost_one_read(store):
    with store.client() as client:
        client.set(KEYS.neighbors(1, "tag"), b"list")
    with reading(store) as reader:
        lists, got = PublicLists(reader), []
        before = n_mget(store)
        barrier = threading.Barrier(16)

        def ask():
            barrier.wait()
            got.append(lists.get(1, "tag", soon()))

        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == [b"list"] * 16
        for _ in range(10):
            assert (lists.get(1, "tag", soon()), lists.get(2, "tag", soon())) == (b"list", None)
        assert n_mget(store) == before + 2  # one for each item, though one has no list
        store.stop()
        assert (lists.get(1, "tag", soon()), lists.get(2, "tag", soon())) == (b"list", None)
        with pytest.raises(StoreAway):
            lists.get(3, "tag", soon())


def test_an_absent_list_is_asked_for_again_after_a_while(store, monkeypatch):
    monkeypatch.setattr("serving.hot.ABSENT_S", 0.01)
    with reading(store) as reader:
        lists = PublicLists(reader)
        assert lists.get(1, "tag", soon()) is None
        with store.client() as client:
            client.set(KEYS.neighbors(1, "tag"), b"list")
        time.sleep(0.03)
        assert lists.get(1, "tag", soon()) == b"list"


def test_the_hottest_lists_are_read_ahead_and_the_coldest_dropped(store):
    with store.client() as client:
        client.mset({KEYS.neighbors(idx, tag): f"{tag} {idx}".encode() for idx in range(6) for tag in ("old", "new")})
    with reading(store) as reader:
        lists = PublicLists(reader, capacity=4)
        for idx in range(6):
            lists.get(idx, "old", soon())
        lists.get(3, "old", soon())
        assert list(lists.hottest(["old"])) == [(3, "old"), (5, "old"), (4, "old"), (2, "old")]
        lists.warm({"old": "new"})
        before = n_mget(store)
        assert lists.get(3, "new", soon()) == b"new 3"
        assert n_mget(store) == before
        assert HOTTEST > 4


def test_lists_survive_on_disk_unless_damaged(tmp_path):
    folder = CopyFolder(str(tmp_path / "copies"))
    assert folder.load_lists(["tag"]) == {}
    folder.keep_lists({(2, "tag"): b"\x00two", (1, "tag"): b"one", (3, "tag"): None, (4, "gone"): b"four"})
    found = folder.load_lists(["tag"])
    assert list(found.items()) == [((1, "tag"), b"one"), ((2, "tag"), b"\x00two")]
    for damaged in (b"{", b'{"version": 9, "lists": 3}', b'{"version": 1, "lists": [[1, "tag", 7]]}', b"[]"):
        (tmp_path / "copies" / "neighbors.json").write_bytes(damaged)
        assert folder.load_lists(["tag"]) == {}


# a Cluster, and a master behind Sentinels


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three masters and, of the first, a replica; gives their ports and processes."""
    ports, processes = [free_port() for _ in range(4)], []
    for port in ports:
        folder = tmp_path_factory.mktemp(f"node{port}")
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "300", "--save", "", "--appendonly", "no"]
        options += ["--bind", "127.0.0.1", "--dir", str(folder), "--cluster-port", str(free_port())]
        argv = [executable(), "--port", str(port), *options, "--repl-diskless-sync-delay", "0"]
        processes.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL))
    clients = [Redis(port=port, protocol=2) for port in ports]
    try:
        wait(lambda: all(client.ping() for client in clients))
        join(clients, ports)
        yield ports, processes
    finally:
        for client in clients:
            client.close()
        for process in processes:
            process.kill()
            process.wait()


def join(clients, ports):
    bounds = [0, 5_461, 10_923, 16_384]
    for k, client in enumerate(clients[:3]):
        client.execute_command("CLUSTER", "ADDSLOTS", *range(bounds[k], bounds[k + 1]))
        client.execute_command("CONFIG", "SET", "cluster-require-full-coverage", "no")
    for k, client in enumerate(clients):  # each meets each: by hearsay it takes seconds
        for port, other in zip(ports[:k], clients[:k], strict=True):
            bus = other.config_get("cluster-port")["cluster-port"]
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
    first = clients[0].execute_command("CLUSTER", "MYID").decode()
    wait(lambda: clients[3].execute_command("CLUSTER", "REPLICATE", first))
    wait(lambda: all(info(client, "cluster_state") == "ok" for client in clients))
    wait(lambda: clients[3].info("replication")["master_link_status"] == "up")
    clients[0].set(next(key for key in "abcdefgh" if slot_of(key) < 5_461), "")  # a replica is told of once it has data
    wait(lambda: any(len(entry) == 4 for entry in raw_slots(ports[1])))  # others know of the replica


def raw_slots(port):
    with Redis(port=port, protocol=2) as client:
        client.set_response_callback("CLUSTER", lambda reply, **_: reply)
        return client.execute_command("CLUSTER", "SLOTS")


def info(client, name):
    told = client.execute_command("CLUSTER", "INFO")
    text = told if isinstance(told, dict) else dict(line.split(":") for line in told.decode().split("\r\n") if line)
    return text[name]


def wait(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while True:
        with suppress(RedisError):
            if condition():
                return
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_slots_are_those_of_redis():
    for key in ("a", "ns:{u:ann}:tag", "{}x", "x{}{y}", "{{a}}", "ü{ö}", "{a"):
        assert slot_of(key) == key_slot(key.encode())


def test_a_cluster_is_read_by_slot_and_survives_a_node(cluster):
    ports, processes = cluster
    users = [f"user{k}" for k in range(12)]
    with RedisCluster(host="127.0.0.1", port=ports[1]) as client:
        for user in users:
            client.set(KEYS.flags(user), user)
    chosen = {"url": f"redis+cluster://127.0.0.1:1,127.0.0.1:{ports[0]}", "connect_timeout_ms": 200}
    reader = Reader(load_settings(redis={**chosen, "namespace": "test", "read_timeout_ms": 200}).redis)
    try:
        reader.ask([KEYS.live])
        assert not reader.away
        held = [read.flags for read in reader.users(users, None, soon())]
        assert held == [user.encode() for user in users]
        assert reader.gather([KEYS.flags(user) for user in users]) == held
        owners = {reader.topology.holding(KEYS.flags(user)).master.url for user in users}
        assert len(owners) == 3
        # a request that was sent to the wrong node is told so, and the map is read again
        reader.topology.owners[:] = [reader.topology.shards[0]] * len(reader.topology.owners)
        moved = next(user for user in users if slot_of(KEYS.flags(user)) > 5_461)
        with pytest.raises(StoreAway, match="MOVED"):
            reader.user(moved, None, soon())
        reader.ask([KEYS.live])
        assert reader.user(moved, None, soon()).flags == moved.encode()
        # the first master dies: its replica is read
        processes[0].kill()
        processes[0].wait()
        mine = next(user for user in users if slot_of(KEYS.flags(user)) < 5_461)
        with suppress(StoreAway):  # the Cluster may be choosing a new master just now
            assert reader.user(mine, None, soon()).flags == mine.encode()
        wait(lambda: asked(reader, mine) == mine.encode())
    finally:
        reader.close()


def asked(reader, user="u"):
    """As a request some time after the last look in the background; None where Redis is away."""
    with suppress(StoreAway):
        reader.ask([KEYS.live])
        return reader.user(user, None, soon()).flags
    return None


@pytest.fixture
def sentinel(tmp_path):
    """A master, its replica, and one Sentinel; gives their ports and the master's process."""
    ports, processes = [free_port() for _ in range(3)], []
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    base = ["--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", "0", "--dir", str(tmp_path)]
    for port, options in ((ports[0], []), (ports[1], ["--replicaof", "127.0.0.1", str(ports[0])])):
        processes.append(subprocess.Popen([executable(), "--port", str(port), *base, *options], **quiet))
    conf = tmp_path / "sentinel.conf"
    conf.write_text(
        f"port {ports[2]}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor shelf 127.0.0.1 {ports[0]} 1\n"
        "sentinel down-after-milliseconds shelf 300\nsentinel failover-timeout shelf 1000\n"
    )
    try:
        with Redis(port=ports[1], protocol=2) as client:
            wait(lambda: client.info("replication")["master_link_status"] == "up")
        processes.append(subprocess.Popen([executable(), str(conf), "--sentinel"], **quiet))
        yield ports, processes[0]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_master_behind_a_sentinel_is_followed_when_it_moves(sentinel):
    ports, master = sentinel
    with Redis(port=ports[0], protocol=2) as client:
        client.set(KEYS.flags("u"), "flags")
        wait(lambda: client.wait(1, 100) == 1)
    with Redis(port=ports[2], protocol=2) as client:
        wait(lambda: client.execute_command("SENTINEL", "REPLICAS", "shelf"))
    chosen = {"url": f"sentinel://127.0.0.1:{ports[2]}/shelf", "connect_timeout_ms": 200, "read_timeout_ms": 200}
    reader = Reader(load_settings(redis={**chosen, "namespace": "test"}).redis)
    try:
        wait(lambda: asked(reader) == b"flags")
        master.kill()
        master.wait()
        with pytest.raises(StoreAway):
            reader.user("u", None, soon())
        wait(lambda: asked(reader) == b"flags")
    finally:
        reader.close()
