"""What Prometheus is told, from every worker: each writes files of its own, and whichever is asked adds them up.

Files of workers that ended are folded into one: what they counted stays counted, what they were does not.
``PROMETHEUS_MULTIPROC_DIR`` names the folder; it has to stand in the environment before prometheus_client is imported,
so that is imported late here. Without it, as in tests, the numbers of this process alone are told.
"""

import fcntl
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.release import parse_time
from schemas.tables import SURFACES
from serving.release_watch import ReleaseWatch

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
FOLDED = 0  # stands for the id of all processes that ended
BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.25, 1.0)
NONE = "none"  # surface of what is no list, tier of what answered no list


def prepare(folder: Path) -> None:
    """An empty folder for the workers of this service; before they start."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[FOLDER] = str(folder.absolute())


class Metrics:
    """The counters of one app; ``watch`` tells of the release and the breaker."""

    def __init__(self, watch: ReleaseWatch):
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

        disable_created_metrics()  # a series more for each of the others; multi-process mode has none either
        self.watch, self.in_flight = watch, 0
        self.registry = CollectorRegistry()
        made = {"registry": self.registry}
        self.requests = Counter(
            "nightshelf_requests", "Answers given, refused and failed.", ["surface", "status"], **made
        )
        self.seconds = Histogram(
            "nightshelf_request_seconds",
            "Time from arrival to answer, by the rung that gave the first item.",
            ["surface", "tier"],
            buckets=BUCKETS,
            **made,
        )
        self.shed = Counter("nightshelf_shed", "Requests refused because others waited too long already.", **made)
        self.opened = Counter("nightshelf_breaker_opened", "Times a worker stopped asking Redis.", **made)
        self.warm = Counter("nightshelf_warm_reads", "Users looked for in the warm store.", ["result"], **made)
        live = {"multiprocess_mode": "livesum", **made}
        self.breaker = Gauge("nightshelf_breaker_open", "Workers that do not ask Redis now.", **live)
        self.degraded = Gauge("nightshelf_degraded", "Workers that answer from copies now.", **live)
        self.workers = Gauge("nightshelf_workers", "Workers that answer.", **live)
        self.flying = Gauge("nightshelf_in_flight", "Requests being answered now.", **live)
        self.epoch = Gauge("nightshelf_epoch", "Release a worker answers from.", multiprocess_mode="liveall", **made)
        self.children: dict[tuple, object] = {}
        self.n_opened = 0

    def took(self, surface: str, status: str, tier: str, seconds: float) -> None:
        """One request was answered."""
        children = self.children
        key = (surface, status, tier)
        pair = children.get(key)
        if pair is None:
            pair = children[key] = (self.requests.labels(surface, status), self.seconds.labels(surface, tier))
        pair[0].inc()
        pair[1].observe(seconds)

    def read_warm(self, result: str, n: int) -> None:
        """So many users' lists were found there, absent, or it was away."""
        if n:
            self.warm.labels(result).inc(n)

    def sample(self) -> None:
        """What is, not what was counted; called as often as the release is looked at."""
        watch = self.watch
        self.workers.set(1)
        self.breaker.set(int(watch.reader.away))
        self.degraded.set(int(watch.degraded))
        self.flying.set(self.in_flight)
        self.epoch.set(watch.snapshot.release.epoch if watch.snapshot else 0)
        n_opened = sum(node.breaker.times_opened for node in watch.reader.nodes)
        self.opened.inc(n_opened - self.n_opened)
        self.n_opened = n_opened

    def render(self) -> bytes:
        """All numbers in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(Given(*self.families(), self.ages()))
        return generate_latest(registry)

    def families(self) -> list:
        """What all workers counted and what they are now, as prometheus_client has it."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector

        self.sample()
        folder = os.environ.get(FOLDER)
        if folder is None:
            return list(self.registry.collect())
        with alone(Path(folder)):
            fold_dead(Path(folder))
            return list(MultiProcessCollector(CollectorRegistry(), folder).collect())

    def ages(self):
        """How old the live generation of each surface is, as the asked worker knows it."""
        from prometheus_client.metrics_core import GaugeMetricFamily

        ages = GaugeMetricFamily(
            "nightshelf_release_age_seconds", "Time since a live list was made.", labels=["surface"]
        )
        release = self.watch.snapshot.release if self.watch.snapshot else None
        for surface in SURFACES:
            if release and (entry := release.live(surface)):
                ages.add_metric([surface], max(0.0, time.time() - parse_time(entry.generated_at).timestamp()))
        return ages


class Given:
    """A collector of metrics that are there already."""

    def __init__(self, *families: object):
        self.families = families

    def collect(self) -> Iterator[object]:
        yield from self.families


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other worker reads or folds the files meanwhile."""
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fold_dead(folder: Path) -> None:
    """Add what ended workers counted to one file for each kind, and remove theirs."""
    counted: dict[str, list[Path]] = defaultdict(list)
    for path in folder.glob("*.db"):
        kind, _, pid = path.stem.rpartition("_")
        if pid.isdecimal() and int(pid) != FOLDED and not runs(int(pid)):
            counted[kind].append(path)
    for kind, paths in counted.items():
        if not kind.startswith("gauge"):
            fold(folder / f"{kind}_{FOLDED}.db", paths)
        for path in paths:
            path.unlink()


def fold(target: Path, paths: list[Path]) -> None:
    from prometheus_client.mmap_dict import MmapedDict

    sums = MmapedDict(str(target))
    try:
        for path in paths:
            for key, value, stamp, _ in MmapedDict.read_all_values_from_file(str(path)):
                sums.write_value(key, sums.read_value(key)[0] + value, stamp)
    finally:
        sums.close()


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
