"""Real servers beyond one: a Cluster of three masters, and a master with a replica behind a Sentinel."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import redis
from redis_server import executable

BUS = 10_000  # a Cluster's nodes talk to each other on this port above their own
N_SLOTS = 16_384


def free_port() -> int:
    """A port that is free, and the one ``BUS`` above it."""
    for _ in range(200):
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                other.bind(("127.0.0.1", port + BUS))
            except (OSError, OverflowError):
                continue
            return port
    raise RuntimeError("no two free ports")


def until(true: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if true():
                return
        except redis.exceptions.RedisError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"not within {seconds} s: {what}")


class Servers:
    """Processes of redis-server on ports of the loopback, each in a folder of its own; ended by ``close``."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ns-place-"))
        self.processes: dict[int, subprocess.Popen] = {}
        try:
            self.make()
        except BaseException:
            self.close()
            raise

    def make(self) -> None:
        raise NotImplementedError

    def start(self, *options: str, file: str = "") -> int:
        """The port of one more server; ``file``: its settings file, of which PORT is replaced."""
        port = free_port()
        own = self.folder / str(port)
        own.mkdir()
        words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(own), "--save", "", *options]
        if file:
            (own / "server.conf").write_text(file.replace("PORT", str(port)).replace("FOLDER", str(own)))
            words = [str(own / "server.conf"), "--sentinel"]
        self.processes[port] = subprocess.Popen(
            [executable(), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: self.client(port).ping(), f"server on {port}")
        return port

    def client(self, port: int) -> redis.Redis:
        return redis.Redis(port=port, protocol=2, socket_timeout=5)

    def kill(self, port: int) -> None:
        process = self.processes.pop(port)
        process.kill()
        process.wait()

    def close(self) -> None:
        for port in list(self.processes):
            self.kill(port)
        shutil.rmtree(self.folder, ignore_errors=True)


class Cluster(Servers):
    """Three masters that share the slots."""

    def make(self) -> None:
        options = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "3000"]
        self.ports = [self.start(*options) for _ in range(3)]
        for number, port in enumerate(self.ports):
            slots = range(number * N_SLOTS // 3, (number + 1) * N_SLOTS // 3)
            self.client(port).execute_command("CLUSTER", "ADDSLOTS", *slots)
            self.client(port).execute_command("CLUSTER", "MEET", "127.0.0.1", self.ports[0])
        for port in self.ports:
            until(lambda port=port: self.state(port) == "ok", f"cluster at {port}")

    def state(self, port: int) -> str:
        info = self.client(port).execute_command("CLUSTER", "INFO")
        return info["cluster_state"] if isinstance(info, dict) else info.decode().split("\r\n")[0].split(":")[1]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port in self.ports)}"

    def node_id(self, port: int) -> str:
        return text(self.client(port).execute_command("CLUSTER", "MYID"))

    def move(self, slot: int, source: int, target: int) -> None:
        """Give an empty slot to another node."""
        for port in (target, source, *self.ports):
            self.client(port).execute_command("CLUSTER", "SETSLOT", slot, "NODE", self.node_id(target))


class Watched(Servers):
    """A master, its replica, and the Sentinel that promotes it."""

    service = "shelf"

    def make(self) -> None:
        self.master = self.start("--repl-diskless-sync-delay", "0")
        self.replica = self.start("--replicaof", "127.0.0.1", str(self.master))
        until(self.replica_is_up, "replica")
        self.sentinel = self.start(
            file=f"port PORT\nbind 127.0.0.1\ndir FOLDER\nsentinel monitor {self.service} 127.0.0.1 {self.master} 1\n"
            f"sentinel down-after-milliseconds {self.service} 500\nsentinel failover-timeout {self.service} 2000\n"
        )
        until(self.replica_is_known, "the Sentinel knows the replica")

    def replica_is_up(self) -> bool:
        return self.client(self.replica).info("replication")["master_link_status"] == "up"

    def replica_is_known(self) -> bool:
        return self.client(self.sentinel).sentinel_master(self.service)["num-slaves"] == 1

    @property
    def url(self) -> str:
        return f"sentinel://127.0.0.1:{self.sentinel}/{self.service}"


def text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
