"""Events through Kafka into the lake: killed five times on the way, and how fast beside a bare Spark job.

usage: python -m benchmarks.kafka     (EVENTS=1000000 KILLS=5 REPEATS=3 SEED=1 PARTITIONS=4 in the environment)

One real broker; the generator's events, its broken and doubled ones included. First `nightshelf ingest --interval` is
ended by SIGKILL at seeded moments, as often as KILLS says, then left alone: each event must be in the lake once, and
each offset in one batch. Then, in turns, whole commands by the wall: ours; Spark's batch read of the topic, written to
Parquet as it is (bare); the same with the JSON cut into our columns (parsed). Ratios are of medians; the first turn
fills caches and does not count. Writes ``.nightshelf/bench/kafka.json``.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from statistics import median

import pyarrow.compute as pc
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.broker import Broker
from benchmarks.meter import Meter, cores
from conf.settings import load_settings
from deploy import jars
from deploy.embedded import house, java
from deploy.embedded.problems import Problem, guarded
from jobs.rim.lake import Lake

FOLDER = house.STATE / "bench" / "kafka"
TOPIC = "events"
HOUR = ("--interval", "2026-01-31T00:00:00Z", "2026-01-31T01:00:00Z")
SPARK = """
import sys
from pyspark.sql import SparkSession
servers, topic, out, jars, schema = sys.argv[1:]
builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.jars", jars)
spark = builder.config("spark.driver.memory", "2g").config("spark.sql.parquet.compression.codec", "zstd").getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
rows = spark.read.format("kafka").option("kafka.bootstrap.servers", servers).option("subscribe", topic).load()
if schema:
    rows = rows.selectExpr(f"from_json(cast(value as string), '{schema}') as e", "partition", "offset")
    rows = rows.select("e.*", "partition", "offset")
rows.write.mode("overwrite").parquet(out)
"""
SCHEMA = (
    "event_id string, event_time timestamp, kind string, user_id string, session_id string, item_id string, "
    "basket_id string, query string, value double, quantity int, price double, country string, device string"
)


def main() -> int:
    told = {name: int(os.environ.get(name, default)) for name, default in DEFAULTS.items()}
    house.enter()
    for name in ("kafka", "spark-kafka"):
        jars.main(name)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    broker = Broker(memory_mb=512)
    try:
        bench = Bench(broker.servers, told["SEED"])
        told["bytes"] = bench.fill(told["EVENTS"], told["PARTITIONS"])
        told["killed"] = bench.killed(told["EVENTS"], told["KILLS"])
        told["seconds"] = bench.race(told["EVENTS"], told["REPEATS"]) if told["REPEATS"] else {}
    finally:
        broker.close()
    report(told)
    return 0


DEFAULTS = {"EVENTS": "1000000", "KILLS": "5", "REPEATS": "3", "SEED": "1", "PARTITIONS": "4"}


class Bench:
    def __init__(self, servers: str, seed: int):
        self.servers, self.random = servers, random.Random(seed)
        text = (house.ROOT / "conf/sources/nightshelf.toml").read_text()
        self.source = FOLDER / "source.toml"
        self.source.write_text(text.replace("[[events]]\n", f'[[events]]\nstream = {{ kafka = "{TOPIC}" }}\n'))

    def fill(self, n: int, partitions: int) -> int:
        """Generate events and write them to a topic, dealt out to its partitions; their bytes."""
        print(f"{n:,} events, {partitions} partitions, {cores()} cores", flush=True)
        made = [sys.executable, "-m", "jobs.cli", "generate", "--out", str(FOLDER / "made"), "--events", str(n)]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        admin = AdminClient({"bootstrap.servers": self.servers})
        admin.create_topics([NewTopic(TOPIC, partitions, 1)])[TOPIC].result()
        producer = Producer({"bootstrap.servers": self.servers, "linger.ms": 50, "compression.type": "lz4"})
        with open(FOLDER / "made" / "events.jsonl", "rb") as lines:
            for number, line in enumerate(lines):
                if number % 10_000 == 0:
                    producer.flush(60)
                producer.produce(TOPIC, line.rstrip(b"\n"), partition=number % partitions)
        if producer.flush(60):
            raise Problem("the broker did not take all events")
        return (FOLDER / "made" / "events.jsonl").stat().st_size

    def ours(self, lake: str, **settings: str) -> subprocess.Popen:
        env = house.environment(FOLDER / lake) | settings
        env |= {"NIGHTSHELF_KAFKA__SERVERS": self.servers, "NIGHTSHELF_IDENTITY__SECRET": "a secret of the benchmark"}
        argv = [sys.executable, "-m", "jobs.cli", "ingest", "--source", str(self.source), *HOUR]
        return subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL)

    def killed(self, n: int, kills: int) -> dict:
        """Kill the ingest at seeded moments, then let it end, and look at the lake."""
        limit = {"NIGHTSHELF_INGEST__MAX_MESSAGES": str(max(n // 8, 1_000))}
        began, moments = time.perf_counter(), []
        quick = self.measured(self.ours("once", **limit))
        while len(moments) < kills:
            process, moment = self.ours("killed", **limit), self.random.uniform(0.05, 0.3) * quick
            with suppress(subprocess.TimeoutExpired):
                if process.wait(moment) == 0:
                    raise Problem(f"it ended within {moment:.1f} s, before it was killed {kills} times")
                raise Problem(f"it failed: {process.returncode}")
            process.kill()
            process.wait()
            moments.append((round(moment, 2), len(batches("killed"))))
            print(f"killed after {moment:5.1f} s, {moments[-1][1]} batches committed", flush=True)
        self.measured(self.ours("killed", **limit))
        return {"moments": moments, "seconds": time.perf_counter() - began} | compared(n)

    def measured(self, process: subprocess.Popen) -> float:
        began = time.perf_counter()
        if process.wait():
            raise Problem(f"a command failed: {process.returncode}")
        return time.perf_counter() - began

    def spark(self, out: str, schema: str) -> subprocess.Popen:
        found = ",".join(str(path) for path in sorted((house.ROOT / "deploy/spark-kafka/jars").glob("*.jar")))
        argv = [sys.executable, "-c", SPARK, self.servers, TOPIC, str(FOLDER / out), found, schema]
        env = house.environment() | {"JAVA_HOME": java.find_java_home()}
        return subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def race(self, n: int, repeats: int) -> dict[str, list[tuple[float, float]]]:
        seconds: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": [], "parsed": []}
        for turn in range(repeats + 1):
            for way, start in (
                ("ours", lambda: self.ours("race")),
                ("bare", lambda: self.spark("bare", "")),
                ("parsed", lambda: self.spark("parsed", SCHEMA)),
            ):
                shutil.rmtree(FOLDER / "race", ignore_errors=True)
                with Meter() as cost:
                    took = self.measured(start())
                print(f"{way:7} {took:6.1f} s  {n / took:10,.0f} events/s", flush=True)
                seconds[way] += [(took, cost.cpu_s or 0.0)] if turn else []
        return seconds


def batches(lake: str) -> list:
    return Lake.open(load_settings(lake={"uri": str(FOLDER / lake / "lake")}).lake).batches()


def rows(lake: str, table: str, columns: list[str]):
    here = Lake.open(load_settings(lake={"uri": str(FOLDER / lake / "lake")}).lake)
    return here.read(table, [file for batch in here.batches() for file in batch.files.get(table, ())], columns)


def compared(n: int) -> dict:
    """What the lake of the killed ingest holds beside the undisturbed one's.

    Raises:
        Problem: an event is missing or there twice, or an offset is in no batch or in two.
    """
    told = {}
    for lake in ("once", "killed"):
        names = ["event_id", "event_time", "kind", "session_id", "item_id"]
        events = rows(lake, "events", names).sort_by([(name, "ascending") for name in names])
        accounts = [batch.accounts for batch in batches(lake)]
        sums = {name: sum(part[name] for part in accounts) for name in ("read", "accepted", "duplicate")}
        refused = sorted(zip(*rows(lake, "quarantine", ["file", "line"]).to_pydict().values(), strict=True))
        told[lake] = (events.drop_columns("session_id"), sums, refused)
        if pc.count_distinct(events["event_id"]).as_py() != events.num_rows or sums["read"] != n:
            raise Problem(f"{lake}: {events.num_rows:,} events, {sums} of {n:,}")
        check_offsets(lake)
    if told["once"] != told["killed"]:
        raise Problem("what came in after kills is not what comes in without")
    return told["killed"][1] | {"quarantined": len(told["killed"][2]), "batches": len(batches("killed"))}


def check_offsets(lake: str) -> None:
    """Raise Problem unless each partition's stretches follow each other from 0 on."""
    ends: dict[str, int] = {}
    for entry in (entry for batch in batches(lake) for entry in batch.inputs):
        if entry["first"] != ends.get(entry["part"], 0):
            raise Problem(f"{lake}: {entry['name']} goes on at {entry['first']} after {ends.get(entry['part'])}")
        ends[entry["part"]] = entry["last"] + 1


def report(told: dict) -> None:
    (FOLDER.parent / "kafka.json").write_text(json.dumps(told, indent=1))
    killed = told["killed"]
    print(f"\nkilled {len(killed['moments'])} times: {killed['read']:,} read = {killed['accepted']:,} accepted + "
          f"{killed['duplicate']:,} duplicate + {killed['quarantined']:,} quarantined, each offset in one batch of "
          f"{killed['batches']}; rows equal those of an undisturbed ingest")  # fmt: skip
    middle = {way: [median(part) for part in zip(*turns, strict=True)] for way, turns in told["seconds"].items()}
    print("\n| way | seconds | of processors | events/s | ours over it |\n|---|---|---|---|---|")
    for way, (took, worked) in middle.items():
        ratio = took / middle["ours"][0]
        print(f"| {way} | {took:.1f} | {worked:.1f} | {told['EVENTS'] / took:,.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    sys.exit(guarded(main))
