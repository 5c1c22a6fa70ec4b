"""What users see while Redis or a worker fails: an open loop of 500 look-ups a second through every fault.

usage: python -m benchmarks.faults [fault …]     SECONDS=30 of each, RATE=500, WORKERS=2 in the environment

Each fault begins a fifth of the time after the load did and ends at three fifths of it; latency counts from when a
request was due. Nine of ten requests are personal, the others for similar items and trending. Prints for each fault the
requests, errors, statuses, tiers, p50, p99 and the slowest, and how long after Redis accepted data again the last
answer came from a copy.
"""

import json
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context

from benchmarks.load import Load, Told
from benchmarks.serving import wait_for, workers_of
from benchmarks.shelves import KEYS, Shelves, Store, environment, publish, running, settings_of, user_id
from deploy.embedded.checks import free_port
from schemas.keys import tag_of

N_USERS, N_ITEMS = 2_000, 5_000
SLOW_S = 0.014  # just below the time-out of a read: the slowness that no time-out ends


@dataclass
class Stage:
    """What a fault may lay hands on; ``full_from`` is when Redis accepted data again."""

    store: Store
    shelves: Shelves
    settings: object
    api: object
    proxy: "Proxy | None" = None
    replica: Store | None = None
    good: bytes = b""  # the release before a corrupt one
    full_from: float | None = None

    def whole(self) -> None:
        self.full_from = time.monotonic()

    def publish(self) -> None:
        with self.store.client() as client:
            publish(self.shelves.release(), self.settings, client)


class Proxy:
    """Hands bytes between a socket of its own and Redis, ``delay_s`` later on the way back."""

    def __init__(self, store: Store):
        self.store, self.delay_s = store, 0.0
        self.path = store.folder / "slow.sock"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(self.store.socket))
            threading.Thread(target=self.hand, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self.hand, args=(far, near, True), daemon=True).start()

    def hand(self, source: socket.socket, target: socket.socket, back: bool) -> None:
        try:
            while data := source.recv(65_536):
                if back and self.delay_s:
                    time.sleep(self.delay_s)
                target.sendall(data)
        except OSError:
            pass
        finally:
            source.close()
            target.close()

    def close(self) -> None:
        self.listener.close()


# the faults: what begins one, and what ends it


def nothing(stage: Stage) -> None:
    pass


def kill(stage: Stage) -> None:
    stage.store.kill()


def start_filled(stage: Stage) -> None:
    stage.store.start()
    stage.whole()
    stage.publish()


def pause(stage: Stage) -> None:
    os.kill(stage.store.process.pid, signal.SIGSTOP)


def resume(stage: Stage) -> None:
    os.kill(stage.store.process.pid, signal.SIGCONT)
    stage.whole()


def slow(stage: Stage) -> None:
    stage.proxy.delay_s = SLOW_S


def fast(stage: Stage) -> None:
    stage.proxy.delay_s = 0.0
    stage.whole()


def fill_up(stage: Stage) -> None:
    """Out of memory: a publish in mid-load is refused."""
    with stage.store.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 200_000)
    try:
        stage.publish()
    except Exception as error:
        print(f"    publish was refused: {str(error)[:90]}")


def make_room(stage: Stage) -> None:
    with stage.store.client() as client:
        client.config_set("maxmemory", 0)
    stage.whole()
    stage.publish()


def promote(stage: Stage) -> None:
    """The master is killed, the replica becomes one."""
    stage.store.kill()
    with stage.replica.client() as client:
        client.execute_command("REPLICAOF", "NO", "ONE")


def empty(stage: Stage) -> None:
    stage.store.kill()
    stage.store.start()


def refill(stage: Stage) -> None:
    stage.whole()
    stage.publish()


def kill_worker(stage: Stage) -> None:
    os.kill(workers_of(stage.api)[0], signal.SIGKILL)


def corrupt(stage: Stage) -> None:
    """A release goes live whose slates and neighbors are rubbish, behind the publisher's back."""
    with stage.store.client() as client:
        good = client.get(KEYS.live)
        shelf = stage.shelves.release()
        release = json.loads(good)
        release["epoch"] += 1
        for generation in shelf.generations[:-1]:  # without sound trending lists it would not be adopted at all
            entry = release["surfaces"][f"{generation.surface}/control"]
            entry |= {"base": generation.name, "tag": tag_of(generation.name)}
            pipe = client.pipeline(transaction=False)
            for key, _ in generation.entries():
                pipe.set(key, b"\x07rubbish")
            pipe.execute()
        stage.good = good
        client.set(KEYS.live, json.dumps(release))


def put_back(stage: Stage) -> None:
    with stage.store.client() as client:
        release = json.loads(stage.good)
        release["epoch"] += 2
        client.set(KEYS.live, json.dumps(release))
    stage.whole()


FAULTS: dict[str, tuple[Callable, Callable]] = {
    "quiet": (nothing, nothing),
    "killed": (kill, start_filled),
    "paused": (pause, resume),
    "slow": (slow, fast),
    "out-of-memory": (fill_up, make_room),
    "failing-over": (promote, nothing),
    "restarted-empty": (empty, refill),
    "worker-killed": (kill_worker, nothing),
    "corrupt-generation": (corrupt, put_back),
}


def paths(n_users: int, seed: int = 3) -> Iterator[str]:
    chooser = random.Random(seed)
    while True:
        draw = chooser.random()
        if draw < 0.9:
            yield f"/v1/users/{user_id(chooser.randrange(n_users))}/recommendations?n=20"
        elif draw < 0.97:
            yield f"/v1/items/item-{chooser.randrange(100) + 1}/similar?n=20"
        else:
            yield "/v1/trending?n=20"


def run(name: str, seconds: float, rate: float, workers: int, **times: str) -> tuple[Told, float | None]:
    """One fault: what was told, and the seconds to the last answer from a copy. ``times`` are settings as variables."""
    begin, end = FAULTS[name]
    with ExitStack() as stack:
        stage = staged(name, workers, stack, times)
        drivers = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
        drivers.submit(drive, stage.settings.serving.port, rate, 0.0, N_USERS).result()  # it takes a while to be there
        clock = [threading.Timer(seconds * 0.2, begin, [stage]), threading.Timer(seconds * 0.6, end, [stage])]
        for timer in clock:
            timer.start()
        told = drivers.submit(drive, stage.settings.serving.port, rate, seconds, N_USERS).result()
        for timer in clock:
            timer.join()
        until = None
        if stage.full_from is not None:
            until = max((at - stage.full_from for at in told.copied if at > stage.full_from), default=0.0)
        return told, until


def drive(port: int, rate: float, seconds: float, n_users: int) -> Told:
    """In a process of its own: what the faults do must not delay it."""
    return Load(port, paths(n_users)).open(rate, seconds)


def staged(name: str, workers: int, stack: ExitStack, times: dict[str, str]) -> Stage:
    """Redis, filled, and the API over it, warm."""
    store = Store().start()
    stack.callback(store.close)
    proxy = replica = None
    url, urls = store.url, []
    if name == "slow":
        proxy = Proxy(store)
        stack.callback(proxy.close)
        url = f"unix://{proxy.path}"
    if name == "failing-over":
        replica, urls = follow(store, stack)
    settings = settings_of(url, store.folder, free_port(), workers=workers)
    shelves = Shelves(N_ITEMS, N_USERS)
    with store.client() as client:
        publish(shelves.release(), settings, client)
    env = environment(settings, NIGHTSHELF_REDIS__REPLICA_URLS=json.dumps(urls), **times)
    api = stack.enter_context(running([sys.executable, "-m", "serving"], env))
    port = settings.serving.port
    wait_for(f"http://127.0.0.1:{port}/readyz")
    Load(port, paths(N_USERS)).closed(4, 0.5)
    return Stage(store, shelves, settings, api, proxy, replica)


def follow(store: Store, stack: ExitStack) -> tuple[Store, list[str]]:
    """A replica of the store, caught up once data is written; the master listens on a port for it."""
    port = free_port()
    with store.client() as client:
        client.config_set("repl-diskless-sync-delay", 0)
        client.config_set("port", port)
    replica = Store("--replicaof", "127.0.0.1", str(port)).start()
    stack.callback(replica.close)
    deadline = time.monotonic() + 10
    with replica.client() as client:
        while client.info("replication")["master_link_status"] != "up":
            if time.monotonic() > deadline:
                raise RuntimeError("the replica did not catch up within 10 s")
            time.sleep(0.05)
    return replica, [replica.url]


def line(name: str, told: Told, until: float | None) -> str:
    n = len(told.seconds)
    errors = {str(key): count for key, count in {**told.errors, **told.statuses}.items() if key != 200}
    tiers = ", ".join(f"{tier} {count / n:.0%}" for tier, count in told.tiers.most_common()) if n else "-"
    whole = "-" if until is None else f"{until:.1f} s"
    figures = f"{told.ms(0.5):.1f} / {told.ms(0.99):.1f} / {told.ms(1):.0f}"
    return f"| {name} | {n:,} | {errors or 'none'} | {tiers} | {figures} | {whole} |"


def main() -> int:
    seconds, rate = float(os.environ.get("SECONDS", "30")), float(os.environ.get("RATE", "500"))
    workers = int(os.environ.get("WORKERS", "2"))
    chosen = sys.argv[1:] or list(FAULTS)
    if unknown := set(chosen) - FAULTS.keys():
        print(f"fault {', '.join(sorted(unknown))}: unknown; allowed: {', '.join(FAULTS)}", file=sys.stderr)
        return 2
    lines = [
        "| fault | answers | errors | tiers | p50 / p99 / slowest, ms | full again after |",
        "|---|---|---|---|---|---|",
    ]
    for name in chosen:
        lines.append(line(name, *run(name, seconds, rate, workers)))
        print(lines[-1], flush=True)
    print("\n" + "\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
