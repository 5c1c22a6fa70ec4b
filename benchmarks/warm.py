"""Slates into an emulated DynamoDB and back: rows a second and CPU of writing, time of single reads.

usage: python -m benchmarks.warm     (USERS=20000 READS=2000 in the environment)

moto's server runs in a process of its own and is slow: of the times of writing only the CPU of our process says
something of a real table. Reads go as those of a request do: by a thread, with a time-out, into the breaker's account.
Beside them the client alone, in the caller's own thread.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

import boto3

from benchmarks.publish import FILE_USERS, GENERATION, write
from conf.settings import Settings, load_settings
from jobs.rim.lake import Lake
from jobs.rim.slate_files import SlateFiles
from jobs.rim.warm import Load
from jobs.rim.warm_table import WarmTable
from schemas.keys import Keys, tag_of
from schemas.warm import KEY_SCHEMA, key_of
from serving.deadline import Deadline
from serving.warm import WarmReader

TABLE, PORT = "slates", 18_331
KEY = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}


def main() -> int:
    n_users, n_reads = int(os.environ.get("USERS", 20_000)), int(os.environ.get("READS", 2_000))
    os.environ.update(KEY)
    with TemporaryDirectory(prefix="ns-") as folder, emulator() as endpoint:
        warm = {"table": TABLE, "endpoint": endpoint, "connections": 4, "read_timeout_ms": 30_000}
        settings = load_settings(lake={"uri": str(Path(folder) / "lake")}, warm=warm)
        users = writing(settings, n_users)
        reading(settings, users[:n_reads])
    return 0


@contextmanager
def emulator() -> Iterator[str]:
    """The endpoint of a moto server with the table in it."""
    endpoint = f"http://127.0.0.1:{PORT}"
    code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{PORT}'])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = boto3.client("dynamodb", endpoint_url=endpoint, region_name="us-east-1")
        types = [{"AttributeName": key["AttributeName"], "AttributeType": "S"} for key in KEY_SCHEMA]
        wait_for(lambda: client.list_tables()["TableNames"] == [])
        client.create_table(
            TableName=TABLE, BillingMode="PAY_PER_REQUEST", AttributeDefinitions=types, KeySchema=KEY_SCHEMA
        )
        yield endpoint
    finally:
        process.terminate()
        process.wait()


def wait_for(ready: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            assert ready()
            return
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def writing(settings: Settings, n_users: int) -> list[str]:
    """Write all slates; returns the users that were read back."""
    lake = Lake.open(settings.lake)
    files = SlateFiles(lake, [write(lake, first, n_users) for first in range(0, n_users, FILE_USERS)])
    table = WarmTable(settings.warm, 60)
    load = Load(table, files, Keys("ns"), GENERATION, n_users, n_sample=n_users)
    before, began = cpu_s(), time.perf_counter()
    load.run(settings.warm.connections, lambda: None, int(time.time()) + 86_400)
    took, used = time.perf_counter() - began, cpu_s() - before
    lacking = load.lacks()
    mean = sum(map(len, load.sample.values())) / n_users
    print(f"written: {n_users:,} rows of {mean:.0f} bytes, {n_users / took:,.0f}/s, {lacking or 'all read back'}")
    print(f"our CPU: {1e6 * used / n_users:.0f} µs a row, so {n_users / used:,.0f} rows/s a core at most", flush=True)
    return list(load.sample)


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def reading(settings: Settings, users: list[str]) -> None:
    tag = tag_of(GENERATION)
    reader = WarmReader(settings.warm, lambda *row: None)
    reader.begin()
    client = reader.client
    timed("read, as a request does", users, lambda user: reader.values([user], tag, Deadline.after(60))[user])
    timed("boto3's client alone", users, lambda user: client.get_item(TableName=TABLE, Key=key_of(user, tag))["Item"])
    reader.close()


def timed(what: str, users: list[str], read: Callable[[str], object]) -> None:
    times, before = [], cpu_s()
    for user in users:
        began = time.perf_counter()
        read(user)
        times.append(1e3 * (time.perf_counter() - began))
    cuts = quantiles(times, n=100)
    used = 1e3 * (cpu_s() - before) / len(users)
    print(f"{what}: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms, our CPU {used:.2f} ms", flush=True)


if __name__ == "__main__":
    sys.exit(main())
