"""Slates from Parquet into Redis beside ``redis-cli --pipe`` with the same commands made beforehand; bytes a user.

usage: python -m benchmarks.publish     (USERS=1000000 REPEATS=3 in the environment)

Slates of 100 out of 100,000 items with 20 reasons, and what was seen (log-normal, 30 in the middle, 200 at most). In
each repeat, one after another into one real redis-server that is emptied before each: ours from Parquet, ours with the
packing done beforehand, and ``redis-cli --pipe``. Rates are medians, ratios are of these. Reading everything back is
timed by itself. Writes ``.nightshelf/bench/publish.json``.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import redis

from benchmarks.meter import cores
from conf.settings import load_settings
from deploy.embedded import house
from deploy.embedded.problems import guarded
from deploy.embedded.redis import find_server
from jobs.rim.lake import Lake
from jobs.rim.parcels import Parcel
from jobs.rim.redis_client import connect_to
from jobs.rim.shipment import Shipment
from jobs.rim.side_by_side import Shared, side_by_side
from jobs.rim.slate_files import SlateFiles
from schemas.arrow import arrow_schema
from schemas.keys import Keys
from schemas.tables import SOURCES, TABLES

FOLDER = house.STATE / "bench"
N_ITEMS, N_LISTED, N_REASONS, N_SEEN = 100_000, 100, 20, 200
FILE_USERS = 50_000  # a file and row group
GENERATION = "for_you-20260131T000000Z-000000000001"


def main() -> int:
    n_users, repeats = int(os.environ.get("USERS", 1_000_000)), int(os.environ.get("REPEATS", 3))
    house.enter()
    settings = load_settings(lake={"uri": str(FOLDER / "publish-lake")}, publish={"connections": min(4, cores())})
    lake = Lake.open(settings.lake)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ns-") as folder, server(Path(folder)) as client:
        files = SlateFiles(lake, [write(lake, first, n_users) for first in range(0, n_users, FILE_USERS)])
        bench = Bench(client, Keys("ns"), files, settings.publish, Path(folder))
        print(f"{n_users:,} users, {cores()} cores, {settings.publish.connections} connections", flush=True)
        for repeat in range(repeats + 1):
            bench.once(counts=repeat > 0)  # the first compiles
        shutil.rmtree(FOLDER / "publish-lake")
    report(bench, n_users)
    return 0


class Bench:
    """Seconds of each way, in ``seconds``, and bytes of Redis that all users take."""

    def __init__(self, client: redis.Redis, keys: Keys, files: SlateFiles, settings, folder: Path):
        self.client, self.keys, self.files, self.settings, self.folder = client, keys, files, settings, folder
        self.seconds: dict[str, list[float]] = {}
        self.work: dict[str, list[float]] = {}  # of the last repeat
        self.n_bytes = self.n_value_bytes = 0
        self.parcels = list(self.packed())
        self.stream = folder / "commands"
        with self.stream.open("wb") as out:
            for parcel in self.parcels:
                out.write(parcel.commands)

    def shipment(self) -> Shipment:
        return Shipment(self.client, self.keys, GENERATION, self.settings, lambda: None)

    def packed(self) -> Iterator[Parcel]:
        shipment = self.shipment()
        for part in self.files.parts():
            for batch in self.files.batches(part):
                yield from (users.parcel(rows, shipment.life) for rows, _, users in shipment.parcels(batch))

    def once(self, counts: bool) -> None:
        for name, way in (("ours", self.ours), ("ours, packed before", self.sent), ("redis-cli --pipe", self.piped)):
            self.client.flushall()
            empty = self.client.info("memory")["used_memory"]
            before, began = self.work_s(), time.perf_counter()
            done = way()
            self.note(name, time.perf_counter() - began, counts)
            self.work[name] = [after - first for after, first in zip(self.work_s(), before, strict=True)]
            if name == "ours":
                self.n_bytes = self.client.info("memory")["used_memory"] - empty
                self.n_value_bytes = sum(receipt.n_bytes for receipt in done)
                began = time.perf_counter()
                assert self.shipment().found(done) == self.files.n_rows
                self.note("reading back", time.perf_counter() - began, counts)

    def work_s(self) -> tuple[float, float]:
        """Seconds of processors so far: of this process and what it started and awaited, and of the server."""
        ours = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        told = self.client.info("cpu")
        return ours, told["used_cpu_user"] + told["used_cpu_sys"]

    def note(self, name: str, seconds: float, counts: bool) -> None:
        print(f"{name:20} {self.files.n_rows / seconds:12,.0f} users/s", flush=True)
        if counts:
            self.seconds.setdefault(name, []).append(seconds)

    def ours(self):
        return self.shipment().slates(self.files)

    def sent(self) -> None:
        shipment = self.shipment()

        def work(parcels: Shared) -> None:
            with closing(shipment.carrier()) as carrier:
                for parcel in parcels:
                    carrier.carry(parcel, 0)
                carrier.settle()

        side_by_side(self.parcels, work, self.settings.connections, lambda: None)

    def piped(self) -> None:
        tool = shutil.which("redis-cli")
        if tool is None:
            raise RuntimeError("no redis-cli on PATH: install redis-tools")
        socket = self.client.connection_pool.connection_kwargs["path"]
        with self.stream.open("rb") as commands:
            done = subprocess.run([tool, "-s", socket, "--pipe"], stdin=commands, capture_output=True, text=True)
        assert f"errors: 0, replies: {self.files.n_rows}" in done.stdout, done.stdout + done.stderr


@contextmanager
def server(folder: Path):
    socket = folder / "redis.sock"
    argv = [find_server(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        client = connect_to(f"unix://{socket}", 60)
        while True:
            with suppress(redis.exceptions.ConnectionError):
                client.ping()
                break
            time.sleep(0.05)
        yield client
    finally:
        process.kill()
        process.wait()


def write(lake: Lake, first: int, n_users: int):
    """One file of users from ``first``."""
    table = slates(min(FILE_USERS, n_users - first), np.random.default_rng(first))
    return lake.write(f"slates/{first:09}.parquet", "slates", table)


def slates(n: int, random: np.random.Generator) -> pa.Table:
    own = random.integers(0, N_ITEMS, (n, N_REASONS), dtype=np.int32)
    reason = random.integers(0, N_REASONS, (n, N_LISTED))
    n_seen = random.lognormal(np.log(30), 0.8, n).astype(np.int32).clip(1, N_SEEN)
    digits = np.frombuffer(random.bytes(16 * n).hex().encode(), np.uint8)
    names = pa.Array.from_buffers(
        pa.string(), n, [None, pa.py_buffer(np.arange(0, 32 * n + 1, 32, dtype=np.int32)), pa.py_buffer(digits)]
    )
    source = pa.DictionaryArray.from_arrays((reason % 3).astype(np.int32).ravel(), pa.array(SOURCES[:3]))
    scores = np.tile(1 / (1 + np.arange(N_LISTED, dtype=np.float32)), n)
    columns = {
        "user_id": names,
        "items": listed(random.integers(0, N_ITEMS, n * N_LISTED, dtype=np.int32), n),
        "scores": listed(scores, n),
        "sources": listed(source.cast(pa.string()), n),
        "because_of": listed(np.take_along_axis(own, reason, 1).ravel(), n),
        "propensities": listed(np.ones(n * N_LISTED, np.float32), n),
        "seen": pa.ListArray.from_arrays(
            np.append(0, n_seen.cumsum()).astype(np.int32), random.integers(0, N_ITEMS, n_seen.sum(), dtype=np.int32)
        ),
    }
    schema = arrow_schema(TABLES["slates"])
    return pa.table([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)


def listed(values, n: int) -> pa.ListArray:
    return pa.ListArray.from_arrays(np.arange(0, N_LISTED * n + 1, N_LISTED, dtype=np.int32), values)


def report(bench: Bench, n_users: int) -> None:
    rates = {name: n_users / median(seconds) for name, seconds in bench.seconds.items()}
    beside = rates["redis-cli --pipe"]
    print("\n| way | users/s | of redis-cli --pipe | client, µs of a core a user | server |\n|---|---|---|---|---|")
    for name, rate in rates.items():
        work = [f"{seconds / n_users * 1e6:.1f}" for seconds in bench.work.get(name, ())] or ["", ""]
        print(f"| {name} | {rate:,.0f} | {rate / beside:.2f} | {' | '.join(work)} |")
    users = {"bytes_a_user": bench.n_bytes / n_users, "value_bytes_a_user": bench.n_value_bytes / n_users}
    print(f"\n{users['bytes_a_user']:,.0f} bytes of Redis a user, {users['value_bytes_a_user']:,.0f} of them the value")
    told = {
        "users": n_users,
        "cores": cores(),
        "seconds": bench.seconds,
        "users_a_second": rates,
        "work_s": bench.work,
    } | users
    (FOLDER / "publish.json").write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    sys.exit(guarded(main))
