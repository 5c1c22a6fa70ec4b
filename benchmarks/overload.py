"""What is left of the service when twice as much is asked as it can answer: with shedding, and without.

usage: python -m benchmarks.overload     SECONDS=10 WORKERS=2 in the environment

First a closed loop of 16 clients says what it can answer; then an open loop asks for half of that, as much, and twice
that. Without shedding (``serving.queue_ms`` = 60000) requests wait for as long as they have to.
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.faults import N_ITEMS, N_USERS, paths
from benchmarks.load import Load, Told, quantile_ms
from benchmarks.serving import wait_for
from benchmarks.shelves import Shelves, Store, environment, publish, running, settings_of
from deploy.embedded.checks import free_port

CLIENTS = 16
SHARES = (0.5, 1, 2)


def closed(port: int, seconds: float) -> Told:
    return Load(port, paths(N_USERS)).closed(CLIENTS, seconds)


def opened(port: int, rate: float, seconds: float) -> Told:
    return Load(port, paths(N_USERS)).open(rate, seconds)


def main() -> int:
    seconds, workers = float(os.environ.get("SECONDS", "10")), int(os.environ.get("WORKERS", "2"))
    store = Store().start()
    try:
        settings = settings_of(store.url, store.folder, free_port(), workers=workers)
        with store.client() as client:
            publish(Shelves(N_ITEMS, N_USERS).release(), settings, client)
        print("| shedding | asked | answered | p50 / p99, ms | refused | p99 of all | errors |\n" + "|---" * 7 + "|")
        for name, queue_ms in (("yes", "25"), ("no", "60000")):
            measure(name, settings, environment(settings, NIGHTSHELF_SERVING__QUEUE_MS=queue_ms), seconds)
    finally:
        store.close()
    return 0


def measure(name: str, settings, env: dict[str, str], seconds: float) -> None:
    port = settings.serving.port
    with running([sys.executable, "-m", "serving"], env), ProcessPoolExecutor(1, get_context("spawn")) as drivers:
        wait_for(f"http://127.0.0.1:{port}/readyz")
        drivers.submit(closed, port, 1.0).result()
        capacity = drivers.submit(closed, port, seconds).result().rate
        for share in SHARES:
            told = drivers.submit(opened, port, capacity * share, seconds).result()
            well = f"{quantile_ms(told.well, 0.5):.1f} / {quantile_ms(told.well, 0.99):.1f}"
            refused = sorted(set(told.statuses) - {200})
            shed = sum(told.statuses[status] for status in refused) / seconds
            answered = len(told.well) / told.took_s
            print(
                f"| {name} | {capacity * share:,.0f}/s ({share:g} x) | {answered:,.0f}/s | {well} | "
                f"{shed:,.0f}/s {refused or ''} | {told.ms(0.99):.1f} ms | {dict(told.errors) or 'none'} |",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
