"""Releases switched under load: is any answer mixed, empty, late or an error, and how soon does every worker follow?

usage: python -m benchmarks.switches     SWITCHES=200 ANSWERS=100000 RATE=450 WORKERS=4 in the environment

Every release replaces all four surfaces, loaded and read back by the publisher. It holds items of its own: the number
in a generation's id says which hundred, and no two that follow one another share any. So an answer whose items are not
all from the hundred of the generation it names is mixed. The load is an open loop, first for some seconds without any
switch, then until the last one; then the release is rolled back once.
"""

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context

from benchmarks.load import Load, Told
from benchmarks.serving import wait_for
from benchmarks.shelves import KEYS, Shelves, Store, environment, number_of, publish, running, settings_of, user_id
from deploy.embedded.checks import free_port

N_USERS, N_ITEMS, N_NEIGHBORS, POOL, N = 300, 4_000, 100, 100, 20
COPY = "copy"  # sound, but of a worker that believes Redis to be away
QUIET_S, WARM_S = 10.0, 2.0


@dataclass
class Seen:
    """What the answers were: how many of each kind of fault, and when each release was named last."""

    told: Told
    wrong: Counter = field(default_factory=Counter)
    last: dict[int, float] = field(default_factory=dict)
    example: str = ""


def pool_of(number: int) -> range:
    """The items of the release of that number."""
    first = number % (N_ITEMS // POOL) * POOL
    return range(first, first + POOL)


def paths(n_users: int, seed: int = 5) -> Iterator[str]:
    chooser = random.Random(seed)
    while True:
        draw = chooser.random()
        if draw < 0.7:
            yield f"/v1/users/{user_id(chooser.randrange(n_users))}/recommendations?n={N}"
        elif draw < 0.9:
            surface = chooser.choice(("similar", "bought-together"))
            yield f"/v1/items/item-{chooser.randrange(N_NEIGHBORS)}/{surface}?n={N}"
        else:
            yield f"/v1/trending?n={N}"


class Checker:
    """Looks at every answer."""

    def __init__(self) -> None:
        self.seen = Seen(Told())

    def __call__(self, path: str, status: int, body: bytes) -> None:
        fault = self.fault(status, body)
        if fault:
            self.seen.wrong[fault] += 1
            self.seen.example = self.seen.example or f"{path}: {status} {body[:600].decode(errors='replace')}"

    def fault(self, status: int, body: bytes) -> str:
        if status != 200:
            return f"status {status}"
        answer = json.loads(body)
        if len(answer["items"]) != N:
            return "empty" if not answer["items"] else "short"
        number = number_of(answer["generation"])
        self.seen.last[number] = time.monotonic()
        pool = pool_of(number)
        items = {int(item["item_id"].removeprefix("item-")) for item in answer["items"]}
        if len(items) < N or not items <= set(pool):
            return "mixed"
        return COPY if answer["degraded"] or answer["tier"] == "copy" else ""


def drive(port: int, rate: float, seconds: float, n_users: int) -> Seen:
    checker = Checker()
    checker.seen.told = Load(port, paths(n_users), checker).open(rate, seconds)
    return checker.seen


@dataclass
class Result:
    """``lags``: seconds from each switch to the last answer of the release before; ``rollback_s`` of the rollback."""

    quiet: Seen
    switching: Seen
    lags: list[float]
    rollback_s: float
    n_switches: int


def run(
    n_switches: int,
    rate: float,
    workers: int,
    quiet_s: float = QUIET_S,
    most_s: float = 3_600,
    n_answers: int = 0,
    **times: str,
) -> Result:
    """All of it, the load for ``most_s`` at most and in a process of its own; ``times`` are settings as variables.

    The switches are spread over as long as so many answers take.
    """
    with ExitStack() as stack:
        store = Store().start()
        stack.callback(store.close)
        client = stack.enter_context(store.client())
        settings = settings_of(store.url, store.folder, free_port(), workers=workers)
        shelves = Shelves(N_ITEMS, N_USERS, N_NEIGHBORS)
        publish(next_shelf(shelves), settings, client)
        stack.enter_context(running([sys.executable, "-m", "serving"], environment(settings, **times)))
        port = settings.serving.port
        wait_for(f"http://127.0.0.1:{port}/readyz")
        drivers = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
        drivers.submit(drive, port, rate, min(WARM_S, quiet_s), N_USERS).result()
        quiet = drivers.submit(drive, port, rate, quiet_s, N_USERS).result()
        began = time.monotonic()
        publish(next_shelf(shelves), settings, client)
        seconds = min(most_s, max(n_switches * (time.monotonic() - began), n_answers / rate) + 2)
        load = drivers.submit(drive, port, rate, seconds, N_USERS)
        began, switched = time.monotonic(), []
        while time.monotonic() < began + seconds - 2.0 and len(switched) < n_switches:
            publish(next_shelf(shelves), settings, client)
            switched.append((shelves.n_made, time.monotonic()))
            due = began + len(switched) * (n_answers / rate) / n_switches
            time.sleep(max(0.0, due - time.monotonic()))
        rolled_at = roll_back(client)
        seen = load.result()
        follow = switched[:-1]  # the rollback brings back the one before the last
        lags = [max(0.0, seen.last.get(number - 1, 0) - at) for number, at in follow]
        return Result(quiet, seen, lags, max(0.0, seen.last.get(shelves.n_made, 0) - rolled_at), len(switched))


def next_shelf(shelves: Shelves):
    return shelves.release(pool_of(shelves.n_made + 1))


def roll_back(client) -> float:
    """The generations before the live ones are live again; when that was written."""
    release = json.loads(client.get(KEYS.live))
    release["epoch"] += 1
    for name, before in release["previous"].items():
        release["surfaces"][name], before[0] = before[0], release["surfaces"][name]
    client.set(KEYS.live, json.dumps(release))
    return time.monotonic()


def main() -> int:
    n_switches, rate = int(os.environ.get("SWITCHES", "200")), float(os.environ.get("RATE", "450"))
    n_answers = int(os.environ.get("ANSWERS", "100000"))
    found = run(n_switches, rate, int(os.environ.get("WORKERS", "4")), n_answers=n_answers)
    told, quiet = found.switching.told, found.quiet.told
    wrong = found.switching.wrong + found.quiet.wrong + Counter(told.errors)
    n = len(told.seconds) + len(quiet.seconds)
    print(f"{found.n_switches} switches, {n:,} answers checked, wrong: {dict(wrong) or 'none'}")
    print(
        f"p99 {told.ms(0.99):.1f} ms, quiet {quiet.ms(0.99):.1f} ms; p50 {told.ms(0.5):.1f} and {quiet.ms(0.5):.1f} ms"
    )
    print(f"followed within {max(found.lags):.2f} s by every worker; the rollback within {found.rollback_s:.2f} s")
    if found.switching.example:
        print(found.switching.example)
    return int(bool(wrong) or found.rollback_s > 1)


if __name__ == "__main__":
    sys.exit(main())
