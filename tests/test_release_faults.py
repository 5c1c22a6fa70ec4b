"""Publishing while things break, against real servers: killed anywhere, emptied, full, failed over. Nothing leaks."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import redis
from redis_fixture import empty_client, module_server  # noqa: F401
from redis_server import RedisServer
from shelves import KEYS, LATER, NOON, SMALL, generation, keys_of, publisher, shelf, stray

from conf.settings import load_settings
from deploy.embedded.checks import free_port
from jobs.rim.errors import TemporaryError
from jobs.rim.history import History
from jobs.rim.lake import Lake
from jobs.rim.redis_client import connect, redis_trouble
from jobs.rim.redis_release import read_release, switch
from schemas.keys import tag_of

pytestmark = pytest.mark.alone
ROOT = Path(__file__).absolute().parents[1]
SECRET = {"secret": "a secret of the tests"}


def settings_of(url, folder):
    lake = {"uri": str(folder / "lake"), "min_free_mb": 0}
    return load_settings(redis={"url": url, "namespace": "test"}, publish=SMALL, identity=SECRET, lake=lake)


@pytest.fixture
def settings(server, tmp_path):
    return settings_of(server.url, tmp_path)


@pytest.fixture
def history(settings):
    return History(Lake.open(settings.lake), "test")


def test_killed_at_any_step_the_old_or_the_new_is_live_whole_and_the_next_run_leaves_nothing(server):
    """SIGKILL before each command of a publish of two surfaces and a catalogue."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, str(ROOT / "tests" / "killed_publisher.py"), str(server.socket)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step["killed"] for step in steps] == [True] * (len(steps) - 1) + [False]
    assert len(steps) > 40
    epochs = [step["epoch"] for step in steps]  # a busy machine renews the lease once more: no step is the same twice
    assert (epochs[0], epochs[-1], set(epochs)) == (1, 2, {1, 2})
    for step in steps:
        assert step["as_of"] == ([NOON] if step["epoch"] == 1 else [LATER]), step
        assert step["next"] == [step["epoch"] + 1, "2026-01-02T14:00:00Z"], step
        assert step["stray"] == [], step


def test_an_unlink_that_was_cut_off_is_completed(client, settings, monkeypatch):
    release = publisher(client, settings).publish(shelf(generation(seed=1)))
    dead = generation(as_of=LATER, seed=2, n_users=60)
    dying = publisher(client, settings)
    dying.lease.acquire(0)
    dying.stock.load(dead, None)
    dying.lease.give_back()
    for cut_at in (3, 3, 4):  # two commands for each of six lists
        cutting(monkeypatch, client, cut_at)
        with pytest.raises(Cut):
            publisher(client, settings).publish(shelf(generation(seed=1)))
        monkeypatch.undo()
        client.delete(KEYS.lease)
    assert 0 < len(keys_of(client, tag_of(dead.name))) < 66
    publisher(client, settings).publish(shelf(generation(seed=1)))
    assert keys_of(client, tag_of(dead.name)) == []
    assert stray(client, release) == []


class Cut(BaseException):
    """Nothing of ours catches it."""


def cutting(monkeypatch, client, at):
    """The connection sends only so many UNLINKs."""
    sent, left = redis.connection.AbstractConnection.send_packed_command, [at]

    def send(self, command, check_health=True):
        left[0] -= b"UNLINK" in b"".join(command)
        if left[0] < 0:
            raise Cut
        return sent(self, command, check_health)

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", send)


def test_an_overtaken_publisher_leaves_its_trace(client, settings):
    """What it wrote after the next one had cleaned is found by the one after that."""
    slow = generation(seed=1, n_users=35)

    def overtaken():
        for number, entry in enumerate(slow.entries()):
            if number == 19:  # its heartbeat for this batch has beaten
                client.delete(KEYS.lease)
                publisher(client, settings).publish(shelf(generation(seed=2)))
            yield entry

    late = publisher(client, settings)
    late.writer.heartbeat = beating(late.lease, times=3)  # it looks away while it is overtaken
    with pytest.raises(TemporaryError, match="took over"):
        late.publish(shelf(generation(seed=1, n_users=35, entries=overtaken)))
    assert keys_of(client, tag_of(slow.name))
    release = publisher(client, settings).publish(shelf(generation(seed=2)))
    assert release.live("for_you").base == generation(seed=2).name
    assert stray(client, release) == []


def beating(lease, times):
    """The first beats are not looked at."""
    left = [times]

    def beat():
        left[0] -= 1
        if left[0] < 0:
            lease.renew()

    return beat


def test_two_publishers_of_one_surface_leave_the_newer(client, settings, server, history):
    errors = []

    def run(one):
        try:
            with server.client() as own:
                publisher(own, settings, history=history).publish(shelf(one, as_of=one.as_of))
        except Exception as error:  # handed to the main thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(generation(as_of=at, seed=1),)) for at in (LATER, NOON)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    release = read_release(client, KEYS)
    assert errors == []
    assert release.live("for_you").as_of == LATER
    assert stray(client, release) == []


def test_full_in_mid_load_leaves_what_is_live_and_nothing_else(client, settings, history):
    before = publisher(client, settings, history=history).publish(shelf(generation(seed=1)))
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 200_000)
    tag = tag_of(generation(as_of=LATER, seed=2).name)
    big = generation(as_of=LATER, seed=2, entries=lambda: ((KEYS.slate(f"{k}", tag), bytes(5000)) for k in range(500)))
    with pytest.raises(TemporaryError, match="out of memory"), redis_trouble("here"):
        publisher(client, settings, history=history).publish(shelf(big, as_of=LATER))
    assert read_release(client, KEYS) == before
    assert stray(client, before) == []
    client.config_set("maxmemory", 0)
    after = publisher(client, settings, history=history).publish(shelf(generation(as_of=LATER, seed=2), as_of=LATER))
    assert after.live("for_you").as_of == LATER
    assert stray(client, after) == []


def test_an_emptied_redis_goes_on_with_the_epoch_of_the_lake(client, settings, history):
    for as_of in (NOON, LATER):
        epoch = publisher(client, settings, history=history).publish(shelf(generation(as_of=as_of), as_of=as_of)).epoch
    token = int(client.get(KEYS.token))
    client.flushall()
    assert publisher(client, settings, history=history).publish(shelf(generation(as_of=LATER), as_of=LATER)).epoch == 3
    assert epoch == 2
    assert int(client.get(KEYS.token)) > token
    assert [history.newest().epoch, *history.epochs()] == [3, 1, 2, 3]


def test_a_redis_that_came_back_with_an_old_dump_goes_on_too(client, settings, history):
    publisher(client, settings, history=history).publish(shelf(generation(seed=1)))
    old = {key: client.dump(key) for key in client.keys("*")}
    publisher(client, settings, history=history).publish(shelf(generation(as_of=LATER, seed=2), as_of=LATER))
    client.flushall()
    for key, value in old.items():
        client.restore(key, 0, value)
    after = publisher(client, settings, history=history).publish(shelf(generation(as_of=LATER, seed=2), as_of=LATER))
    assert (after.epoch, after.live("for_you").as_of) == (3, LATER)


class Pair:
    """A server and its replica; clients find the first, and after ``fail_over`` the second, at one socket."""

    def __init__(self, folder: Path):
        self.port = free_port()
        self.first = RedisServer().start("--port", str(self.port), "--repl-diskless-sync-delay", "0")
        self.second = RedisServer().start("--replicaof", "127.0.0.1", str(self.port))
        self.place = self.first.folder / "live.sock"
        self.place.symlink_to(self.first.socket)
        self.settings = settings_of(f"unix://{self.place}", folder)
        self.wait(lambda told: told["master_link_status"] == "up")

    def wait(self, good) -> None:
        with self.second.client() as client:
            deadline = time.monotonic() + 20
            while not good(client.info("replication")):
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def client(self) -> redis.Redis:
        return connect(self.settings)

    def settle(self) -> None:
        with self.first.client() as client:
            written = client.info("replication")["master_repl_offset"]
        self.wait(lambda told: told["slave_repl_offset"] >= written)

    def part(self) -> None:
        """The replica hears nothing any more."""
        with self.second.client() as client:
            client.replicaof("NO", "ONE")

    def fail_over(self) -> None:
        self.part()
        self.first.process.kill()
        self.first.process.wait()
        self.place.unlink()
        self.place.symlink_to(self.second.socket)

    def close(self) -> None:
        self.second.close()
        self.first.close()


@pytest.fixture
def pair(tmp_path):
    made = Pair(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("moment", ["in mid-load", "right after the switch"])
def test_a_replica_promoted_while_publishing(pair, history, monkeypatch, moment):
    """The publisher does not take for live what the new master never heard of; the next run mends it."""
    before = publisher(pair.client(), pair.settings, history=history).publish(shelf(generation(seed=1)))
    pair.settle()
    wanted, told = generation(as_of=LATER, seed=2), {"in mid-load": "25 keys written, 15 found"}

    def promoting():
        for number, entry in enumerate(wanted.entries()):
            if number == 5 and moment in told:  # none of the first ten gets there
                pair.part()
            if number == 15 and moment in told:
                pair.fail_over()
            yield entry

    if moment not in told:
        monkeypatch.setattr("jobs.publish.switch", promoted_after(pair))
    failing = publisher(pair.client(), pair.settings, history=history)
    with pytest.raises(TemporaryError, match=told.get(moment, "was switched and is not there with all its keys")):
        failing.publish(shelf(generation(as_of=LATER, seed=2, entries=promoting), as_of=LATER))
    monkeypatch.undo()
    client = pair.client()
    assert read_release(client, KEYS) == before
    client.delete(KEYS.lease)
    after = publisher(client, pair.settings, history=history).publish(shelf(wanted, as_of=LATER))
    assert after.live("for_you").base == wanted.name
    assert after.epoch == (2 if moment in told else 3)
    assert stray(client, after) == []


def promoted_after(pair):
    """The switch, and then a replica that missed it is promoted."""

    def switching(client, *arguments):
        pair.part()
        after = switch(client, *arguments)
        pair.fail_over()
        return after

    return switching


def test_what_replicas_do_not_have_is_not_switched(pair):
    """One replica is there at most, two are wanted."""
    wanting = {"replicas": 2, "lease_s": 1}
    settings = pair.settings.model_copy(update={"publish": pair.settings.publish.model_copy(update=wanting)})
    with pytest.raises(TemporaryError, match=r"\d of 2 replicas have what was written; nothing was switched"):
        publisher(pair.client(), settings).publish(shelf(generation()))
    assert stray(pair.client(), None) == []
    settings = pair.settings.model_copy(update={"publish": pair.settings.publish.model_copy(update={"replicas": 1})})
    assert publisher(pair.client(), settings).publish(shelf(generation())).epoch == 1
