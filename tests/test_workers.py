"""The service as it runs: granian's workers over a real Redis; what is counted, what dies, what waits, how it stops."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from redis_server import RedisServer

from benchmarks import faults, switches
from benchmarks.load import Load
from benchmarks.serving import workers_of
from benchmarks.shelves import Shelves, environment, publish, settings_of
from deploy.embedded.checks import free_port
from serving.metrics import fold_dead

pytestmark = pytest.mark.alone
ROOT = Path(__file__).parents[1]
TIMES = {  # generous: what is tested here is not speed
    "NIGHTSHELF_REDIS__CONNECT_TIMEOUT_MS": "300",
    "NIGHTSHELF_REDIS__READ_TIMEOUT_MS": "300",
    "NIGHTSHELF_SERVING__DEADLINE_MS": "3000",
    "NIGHTSHELF_SERVING__QUEUE_MS": "9000",
}
SLATE = "/v1/users/user-1/recommendations?n=5"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Two workers on a published release."""
    server = RedisServer().start()
    settings = settings_of(server.url, tmp_path_factory.mktemp("service"), free_port())
    with server.client() as client:
        publish(Shelves(200, 20, 20).release(), settings, client)
    env = environment(settings, NIGHTSHELF_SERVING__DRAIN_S="1", **TIMES)
    process = subprocess.Popen([sys.executable, "-W", "error", "-m", "serving"], cwd=ROOT, env=env)
    try:
        wait(lambda: get(settings, "/readyz")[0] == 200, 30)
        yield settings, process
    finally:
        process.kill() if process.poll() is None else None
        process.wait()
        server.close()


def wait(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while True:
        with suppress(OSError, http.client.HTTPException):
            if condition():
                return
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def get(settings, path):
    connection = http.client.HTTPConnection("127.0.0.1", settings.serving.port, timeout=10)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def metric(settings, name, **labels):
    """The sum over all lines of a metric that have these labels."""
    status, text = get(settings, "/metrics")
    assert status == 200
    lines = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text.decode(), re.MULTILINE)
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(float(value) for given, value in lines if all(label in given for label in wanted))


def test_every_worker_is_counted_whichever_is_asked(service):
    settings, _ = service
    wait(lambda: metric(settings, "nightshelf_workers") == 2)
    ours = {"surface": "for_you", "status": "200"}
    before = metric(settings, "nightshelf_requests_total", **ours)
    for _ in range(20):  # connections of their own: both workers get some
        assert get(settings, SLATE)[0] == 200
    get(settings, "/v1/trending?n=0")
    assert metric(settings, "nightshelf_requests_total", **ours) == before + 20
    assert metric(settings, "nightshelf_requests_total", surface="trending", status="400") == 1
    in_time = {"surface": "for_you", "tier": "personal", "le": "+Inf"}
    assert metric(settings, "nightshelf_request_seconds_bucket", **in_time) >= 20
    assert metric(settings, "nightshelf_breaker_open") == 0
    for surface in ("for_you", "similar", "bought_together", "trending"):
        assert metric(settings, "nightshelf_release_age_seconds", surface=surface) > 0
    assert metric(settings, "nightshelf_epoch") == 2  # the first release, in two workers


def test_a_slow_body_holds_nobody_up(service):
    settings, _ = service
    slow = [socket.create_connection(("127.0.0.1", settings.serving.port)) for _ in range(8)]
    for one in slow:
        one.sendall(b"POST /v1/trending HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
    began = time.monotonic()
    for _ in range(8):
        assert get(settings, "/v1/trending?n=1")[0] == 200
    assert time.monotonic() - began < 4  # a body may take five seconds
    for one in slow:
        one.sendall(b" more")
        assert one.recv(100).startswith(b"HTTP/1.1 405")
        one.close()


def test_a_body_that_is_too_large_is_refused(service):
    settings, _ = service
    with socket.create_connection(("127.0.0.1", settings.serving.port)) as client:
        client.sendall(b"POST /v1/trending HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
        with suppress(OSError):  # refused before all of it was sent
            client.sendall(bytes(3_000_000))
        with suppress(OSError):
            assert client.recv(100).startswith(b"HTTP/1.1 413")
    assert get(settings, SLATE)[0] == 200


def test_a_killed_worker_is_replaced_and_what_it_counted_stays(service):
    settings, process = service
    before = metric(settings, "nightshelf_requests_total", surface="for_you")
    old = workers_of(process)
    os.kill(old[0], signal.SIGKILL)
    wait(lambda: len(set(workers_of(process)) - set(old)) == 1)
    wait(lambda: get(settings, SLATE)[0] == 200)
    wait(lambda: metric(settings, "nightshelf_workers") == 2)
    assert metric(settings, "nightshelf_requests_total", surface="for_you") >= before
    folder = Path(settings.serving.cache_dir) / f"workers-{settings.serving.port}"
    assert not list(folder.glob(f"*_{old[0]}.db"))


def test_sigterm_first_says_not_ready_then_ends_what_was_begun(service):
    settings, process = service
    assert get(settings, "/readyz")[0] == 200
    process.send_signal(signal.SIGTERM)
    wait(lambda: get(settings, "/readyz")[0] == 503)
    assert b"about to stop" in get(settings, "/readyz")[1]
    assert get(settings, SLATE)[0] == 200  # while load balancers look away
    assert get(settings, "/livez")[0] == 200
    assert process.wait(20) == 0


def test_what_dead_workers_counted_is_folded_into_one_file(tmp_path):
    code = (
        "from prometheus_client import Counter, Gauge\n"
        "Counter('asked', 'x', ['who']).labels('ann').inc(2)\n"
        "Gauge('alive', 'x', multiprocess_mode='livesum').set(1)\n"
    )
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], env=env, check=True)
        fold_dead(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["counter_0.db"]
    code = (
        "from prometheus_client import CollectorRegistry, generate_latest\n"
        "from prometheus_client.multiprocess import MultiProcessCollector\n"
        "registry = CollectorRegistry(); MultiProcessCollector(registry)\nprint(generate_latest(registry).decode())"
    )
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert 'asked_total{who="ann"} 4.0' in told
    assert "alive" not in told


@pytest.mark.parametrize("fault", ["killed", "slow"])
def test_faults_of_redis_under_an_open_loop_are_no_error(fault, monkeypatch):
    monkeypatch.setattr(faults, "N_USERS", 50)
    monkeypatch.setattr(faults, "N_ITEMS", 200)
    monkeypatch.setattr(faults, "SLOW_S", 0.2)
    told, full_after = faults.run(fault, seconds=2, rate=100, workers=2, **TIMES)
    assert not told.errors
    assert set(told.statuses) == {200}
    assert len(told.seconds) == 200
    assert told.tiers["copy"] > 0
    assert told.tiers["personal"] > 0
    assert full_after is not None


def test_switches_under_an_open_loop_are_never_mixed_or_empty(monkeypatch):
    monkeypatch.setattr(switches, "N_USERS", 50)
    found = switches.run(n_switches=4, rate=80, workers=2, quiet_s=0.5, most_s=8, **TIMES)
    assert found.n_switches >= 2
    # on a machine without time to spare a worker may take Redis to be away for a moment, and say so
    assert set(found.switching.wrong) <= {switches.COPY}, found.switching.example
    assert not found.switching.told.errors
    assert len(found.switching.last) >= 3  # releases that were answered from


def test_the_load_counts_what_it_is_told(service_of_one):
    told = Load(service_of_one, iter(lambda: "/", None)).closed(2, 0.3)
    assert told.statuses[200] == len(told.seconds) > 2
    assert told.ms(0.5) <= told.ms(0.99)


@pytest.fixture
def service_of_one(tmp_path):
    """The plainest HTTP server there is."""
    (tmp_path / "index.html").write_text("hello")
    port = free_port()
    argv = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--protocol", "HTTP/1.1"]
    process = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait(lambda: socket.create_connection(("127.0.0.1", port)).close() is None)
        yield port
    finally:
        process.terminate()
        process.wait()
