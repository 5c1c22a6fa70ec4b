"""Personal look-ups beside a bare Flask route with one Redis GET, under the same server, in turns.

usage: python -m benchmarks.serving [--seconds 10] [--rounds 3] [--clients 16] [--workers 2]

100,000 users by Zipf and 5 % unknown; 100,000 items; n = 20 with titles and reasons; no personal answer is cached. The
bare route (``benchmarks.bare_route``) gives 600 bytes of a user as they are, under granian's WSGI with one blocking
thread a worker; ours runs as ``python -m serving`` runs it, under granian too. On one Redis each, one after the other
in every round, loaded by ``benchmarks.load``. Prints requests a second, p50, p99, their ratios, and the memory (PSS) of
each worker.
"""

import argparse
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.load import USERS, Load, Told, users
from benchmarks.meter import processes
from benchmarks.shelves import Shelves, Store, environment, publish, running, settings_of, user_id
from deploy.embedded.checks import free_port
from jobs.rim.memory import held_bytes

N_ITEMS, N = 100_000, 20
LEAST_RATIO, MOST_P99, MOST_BYTES = 0.7, 3.0, 150 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    store = Store().start()
    try:
        return compare(store, args)
    finally:
        store.close()


def compare(store: Store, args: argparse.Namespace) -> int:
    ours, bare = free_port(), free_port()
    settings = settings_of(store.url, store.folder, ours, workers=args.workers)
    stock(store, settings)
    argv = [sys.executable, "-m", "granian", "--interface", "wsgi", "--workers", str(args.workers)]
    argv += ["--blocking-threads", "1", "--respawn-failed-workers", "--no-ws", "--log-level", "warning"]
    argv += ["--host", "127.0.0.1", "--port", str(bare), "benchmarks.bare_route:app"]
    env = environment(settings, BARE_REDIS=f"unix://{store.socket}")
    with running(argv, env), running([sys.executable, "-m", "serving"], env) as api:
        wait_for(f"http://127.0.0.1:{ours}/readyz")
        wait_for(f"http://127.0.0.1:{bare}/users/1")
        told = rounds(ours, bare, args)
        memory = {pid: held_bytes(pid) for pid in workers_of(api)}
    return report(told, memory)


def rounds(ours: int, bare: int, args: argparse.Namespace) -> list[tuple[Told, Told]]:
    """Bare and ours in turns; a short one first warms both."""
    for port, paths in ((bare, bare_paths()), (ours, our_paths())):
        Load(port, paths).closed(args.clients, min(2.0, args.seconds))
    told = []
    for k in range(args.rounds):
        pair = {}
        for which in ("bare", "ours") if k % 2 == 0 else ("ours", "bare"):
            port, paths = (bare, bare_paths()) if which == "bare" else (ours, our_paths())
            pair[which] = Load(port, paths).closed(args.clients, args.seconds)
        told.append((pair["bare"], pair["ours"]))
    return told


def bare_paths() -> Iterator[str]:
    return (f"/users/{user}" for user in users())


def our_paths() -> Iterator[str]:
    return (f"/v1/users/{user_id(user)}/recommendations?n={N}" for user in users())


def stock(store: Store, settings) -> None:
    began = time.monotonic()
    with store.client() as client:
        publish(Shelves(N_ITEMS, USERS).release(), settings, client)
        pipe = client.pipeline(transaction=False)
        for k in range(USERS):
            pipe.set(f"u:{k}", os.urandom(600), ex=86_400)
            if k % 1_000 == 999:
                pipe.execute()
        pipe.execute()
    print(f"{USERS:,} users and {N_ITEMS:,} items loaded in {time.monotonic() - began:.0f} s", flush=True)


def wait_for(url: str, seconds: float = 30) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + seconds
    while True:
        try:
            with opener.open(url, timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def workers_of(api: subprocess.Popen) -> list[int]:
    return [pid for pid, one in processes().items() if one.parent == api.pid and Path(f"/proc/{pid}/exe").exists()]


def report(told: list[tuple[Told, Told]], memory: dict[int, int]) -> int:
    print(f"{'':<8}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}  statuses, errors")
    for pair in told:
        for name, one in zip(("bare", "ours"), pair, strict=True):
            figures = f"{one.rate:>12,.0f}{one.ms(0.5):>9.2f}{one.ms(0.99):>9.2f}"
            print(f"{name:<8}{figures}  {dict(one.statuses)} {dict(one.errors)}")
    ratio = median(ours.rate / bare.rate for bare, ours in told)
    tail = median(ours.ms(0.99) / bare.ms(0.99) for bare, ours in told)
    most = max(memory.values(), default=0)
    print(f"rate {ratio:.2f} x bare (wanted {LEAST_RATIO} or more), p99 {tail:.2f} x (wanted {MOST_P99:g} or less)")
    print(f"memory of a worker: {most / 2**20:.0f} MiB at most (wanted below {MOST_BYTES >> 20})")
    return int(ratio < LEAST_RATIO or tail > MOST_P99 or most >= MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
