"""Two nights on lakes of generated events, of growing size: seconds, CPU and memory of each task, and its floor.

usage: python -m benchmarks.scaling     EVENTS="1000000 10000000 100000000" in the environment sets the sizes

The first night finds 60 days of events, the second one day more. Users are a hundredth of the events, items a fiftieth
up to 100,000. Events are written straight into the lake (``benchmarks.shop.stock``); what follows runs as in the DAG,
but one task after another, up to a Redis of its own. ``recipe`` and ``evaluate`` are made once a week and counted
apart; they learn from a sample of RECIPE_EVENTS events (default 100000). ``resources.memory_gb`` is 16 if not set.

Writes ``.nightshelf/bench/scaling.json`` after every task, and draws it.
"""

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks.meter import cores
from benchmarks.night import Task, night, settings_of
from benchmarks.plots import main as draw
from benchmarks.tables import night_table, series_table
from deploy.embedded import house, java, redis
from deploy.embedded.problems import TEMPORARY, Problem, guarded
from deploy.embedded.processes import started

FOLDER = house.STATE / "bench"
TARGET = FOLDER / "scaling.json"
DAYS = 60
FIRST_NIGHT = datetime.fromisoformat("2026-01-31T00:00:00+00:00")  # the end of the last of so many days
NAMESPACE = "ns-bench"
LEAST_EVENTS = 10_000
EVENTS, RECIPE_EVENTS, MEMORY_GB = "1000000", "100000", "16"
BYTES_AN_EVENT = 400  # of disk, all tables of two nights and what Spark spills between
SECONDS_AN_EVENT = 3.5e-5  # on two cores, beside what starting costs
STARTING_S = 240


def main() -> int:
    house.enter()
    return run(prepare())


def prepare() -> list[int]:
    """The sizes asked for; says what they need.

    Raises:
        Problem: EVENTS is wrong, or there is less disk than the greatest needs.
    """
    sizes = wanted(os.environ.get("EVENTS") or EVENTS)
    FOLDER.mkdir(parents=True, exist_ok=True)
    check_room(sizes)
    return sizes


def run(sizes: list[int]) -> int:
    """All sizes, in the order given."""
    with house.lock("make bench"):
        house.make_secret()
        env = house.environment(FOLDER, NAMESPACE) | {"JAVA_HOME": java.find_java_home()}
        learned = os.environ.get("RECIPE_EVENTS") or RECIPE_EVENTS
        env = {"NIGHTSHELF_RECIPE__MAX_EVENTS": learned, "NIGHTSHELF_RESOURCES__MEMORY_GB": MEMORY_GB} | env
        series = Series(env)
        for n_events in sizes:
            measure(n_events, env, series)
    print(f"\n{series_table(series.told)}\nwritten to {TARGET}")
    return draw([str(FOLDER)])


def wanted(text: str) -> list[int]:
    """The sizes in EVENTS.

    Raises:
        Problem: one is no whole number, or too small for a night.
    """
    words = text.replace(",", " ").split()
    if not words or any(not word.isdecimal() or int(word) < LEAST_EVENTS for word in words):
        raise Problem(f"EVENTS = {text!r}: allowed are whole numbers from {LEAST_EVENTS}, with spaces between")
    return [int(word) for word in words]


def check_room(sizes: list[int]) -> None:
    """Says what the sizes need, one after another: disk of the greatest, time of all.

    Raises:
        Problem: there is less disk.
    """
    need, free = max(sizes) * BYTES_AN_EVENT, shutil.disk_usage(FOLDER).free
    minutes = sum(STARTING_S + n * SECONDS_AN_EVENT for n in sizes) / 60
    lakes = " and ".join(f"{n:,}" for n in sizes)
    print(f"nights on {lakes} events: {need / 1e9:.1f} GB of disk ({free / 1e9:.0f} free), {minutes:.0f} minutes or so")
    if free < need:
        raise Problem(f"disk: {free >> 20} MiB free in {FOLDER}, wanted {need >> 20}; free some space", TEMPORARY)


class Series:
    """What was measured so far, on disk after every task: a crash late in a series loses nothing."""

    def __init__(self, env: Mapping[str, str]):
        system = {"cores": cores(), "memory_bytes": memory(), "system": platform.platform()}
        self.told = {"machine": system | {"python": platform.python_version()}, "settings": settings_of(env)}
        self.told |= {"method": __doc__.split("\n\n")[2].replace("\n", " "), "sizes": []}

    def begin(self, **size) -> dict:
        self.told["sizes"].append(size)
        self.write()
        return size

    def write(self) -> None:
        TARGET.write_text(json.dumps(self.told, indent=1) + "\n")


def memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def measure(n_events: int, env: Mapping[str, str], series: Series) -> None:
    """Two nights of one size; the lake is removed before and after, Redis is empty before."""
    remove_lake()
    with redis.running(env):
        forget()
        began = time.monotonic()
        batch = stock(n_events, 0, DAYS, env)
        print(f"{batch['events']:,} events written in {time.monotonic() - began:.0f} s", flush=True)
        size = series.begin(wanted=n_events, **batch, write_s=round(time.monotonic() - began, 1), nights=[])
        one_night(size, FIRST_NIGHT, env, series)
        size["floors"] = floors(FIRST_NIGHT, size["snapshot"], env)
        batch = stock(n_events, DAYS, DAYS + 1, env)
        one_night(size, FIRST_NIGHT + timedelta(days=1), env, series, batch["snapshot"])
        size["lake_bytes"] = sum(path.stat().st_size for path in (FOLDER / "lake").rglob("*") if path.is_file())
        series.write()
        print(f"\n{night_table(size)}", flush=True)
        forget()
    remove_lake()


def one_night(size: dict, as_of: datetime, env: Mapping[str, str], series: Series, snapshot: int = 1) -> None:
    tasks: list[dict] = []
    size["nights"].append({"as_of": as_of.isoformat(), "tasks": tasks})

    def told(task: Task) -> None:
        tasks.append(asdict(task))
        series.write()
        print(f"  night {len(size['nights'])} {task.task:<10}{task.seconds:9.1f} s", flush=True)

    night(as_of, snapshot, env, told)


def stock(n_events: int, first: int, last: int, env: Mapping[str, str]) -> dict:
    """Write the days; what the batch holds."""
    return json.loads(module("benchmarks.shop.stock", [n_events, DAYS, first, last], env))


def floors(as_of: datetime, snapshot: int, env: Mapping[str, str]) -> dict[str, dict]:
    """Of each step of the night what it could not be done without; see ``benchmarks.floors``."""
    return json.loads(module("benchmarks.floors", [as_of.isoformat(), snapshot], env))


def module(name: str, arguments: list, env: Mapping[str, str]) -> str:
    """The last line of what a module of ours prints, run in a process of its own.

    Raises:
        Problem: it failed; its own last line says why.
    """
    log = house.LOGS / f"{name}.log"
    argv = [sys.executable, "-m", name, *map(str, arguments)]
    with open(log, "w+") as output, started(argv, env, output) as process:
        code = process.wait()
    lines = log.read_text(errors="replace").strip().splitlines() or [f"exit code {code}"]
    if code:
        raise Problem(f"{name}: {lines[-1]} (log: {log})", TEMPORARY)
    return lines[-1]


def remove_lake() -> None:
    for name in ("lake", "landing", "serving"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)


def forget() -> None:
    """Remove the series' keys: another size is another shop, and Redis saves what it holds when it stops."""
    import redis as client

    with client.Redis(unix_socket_path=str(Path(redis.SOCKET).absolute()), protocol=2) as store:
        for key in store.scan_iter(match=f"{NAMESPACE}:*", count=10_000):
            store.unlink(key)


if __name__ == "__main__":
    sys.exit(guarded(main))
