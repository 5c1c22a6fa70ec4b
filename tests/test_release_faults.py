"""Publishing while things break, against real servers: killed at every step, emptied, full, failed over. Nothing leaks."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis
from redis_server import RedisServer, at_socket
from shelves import KEYS, LATER, NOON, SMALL, generation, keys_of, publisher, shelf, stray

from conf.settings import load_settings
from deploy.embedded.checks import free_port
from jobs.rim.errors import TemporaryError
from jobs.rim.history import History
from jobs.rim.lake import Lake
from jobs.rim.redis_release import Lease, read_release
from jobs.rim.redis_writer import connect, redis_trouble
from schemas.keys import tag_of

ROOT = Path(__file__).absolute().parents[1]
SECRET = {"secret": "a secret of the tests"}


@pytest.fixture(scope="module")
def server():
    running = RedisServer().start()
    yield running
    running.close()


@pytest.fixture
def client(server):
    with server.client() as client:
        client.flushall()
        yield client


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
    assert [step["epoch"] for step in steps] == sorted(step["epoch"] for step in steps)
    for step in steps:
        assert step["as_of"] == ([NOON] if step["epoch"] == 1 else [LATER]), step
        assert step["next"] == [step["epoch"] + 1, "2026-01-02T14:00:00Z"], step
        assert step["stray"] == [], step
