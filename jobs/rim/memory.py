"""How much memory a command may take and has taken, all its processes together: Spark's JVM, Python workers, itself.

Estimates choose blocks and engines; what they miss is stopped here, with one line and before the kernel's OOM killer
chooses whom to end. Nothing is lost by that: what no manifest names was never there.
"""

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from conf.settings import Resources, Settings, Spark
from jobs.rim.errors import EXIT_USAGE

HEAP_SHARE = 0.4  # of memory_gb, for the JVM's heap; beside it stand the JVM's own needs and the Python workers
KERNEL_SHARE = 0.8  # of what is left for this process: what an estimate may fill
DRIVER_THREADS = 2
INTERVAL_S = 1.0
GROWTH = 1.02  # of resident memory since the last close look: asking a JVM of 3 GiB for its PSS takes 50 ms
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PATIENCE = 3  # samples above the limit in a row: what is freed at once never hurt
PROC = Path("/proc")


def heap_mb(wanted: Resources) -> int:
    return int(wanted.memory_gb * 1024 * HEAP_SHARE)


def is_local(master: str) -> bool:
    """Whether Spark's tasks run in the driver's own process, with the driver's own code."""
    return re.match(r"local(\[|$)", master) is not None


def tasks_at_once(wanted: Spark) -> int:
    """Of one machine's share of the memory: as many as ``local[N]`` says, on a cluster as an executor has cores."""
    if not is_local(wanted.master):
        return int(wanted.options.get("spark.executor.cores", 1))
    threads = wanted.master.removeprefix("local").strip("[]").partition(",")[0]
    return (os.cpu_count() or 1) if threads == "*" else int(threads or 1)


def threads_here(wanted: Spark) -> int:
    """How many threads work in this process: as many as ``local[N]`` says, beside a cluster ``DRIVER_THREADS``."""
    return tasks_at_once(wanted) if is_local(wanted.master) else DRIVER_THREADS


def task_bytes(settings: Settings) -> int:
    """What the kernels of one task of Spark may plan to fill."""
    return kernel_bytes(settings.resources, beside_spark=True) // (tasks_at_once(settings.spark) + 1)


def kernel_bytes(wanted: Resources, beside_spark: bool) -> int:
    """What a native kernel of this process may plan to fill."""
    left = wanted.memory_gb * (1 - HEAP_SHARE if beside_spark else 1)
    return int(left * KERNEL_SHARE * 2**30)


class MemoryWatch:
    """Samples the memory of this process and all below it; ``peak_bytes`` since ``reset``, 0 where /proc is missing."""

    def __init__(self, wanted: Resources):
        self.limit_bytes = int(wanted.memory_gb * 2**30)
        self.peak_bytes = 0
        self._ended = threading.Event()
        self._resident = 0  # the most seen at the last close look
        self._above = 0
        self._looking = threading.Lock()  # who asks for the peak waits for a look that has begun

    def reset(self) -> None:
        with self._looking:
            self.peak_bytes = self._resident = 0

    def run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self.sample()

    def sample(self) -> None:
        """Look once; the third look in a row that finds more than is allowed ends the command."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        pids = [os.getpid(), *descendants(os.getpid())]
        resident = sum(map(resident_bytes, pids))  # never less than what is held, and cheap to ask for
        if resident <= min(GROWTH * self._resident, self.limit_bytes):
            self._above = 0
            return
        self._resident = max(self._resident, resident)
        held = sum(map(held_bytes, pids))
        self.peak_bytes = max(self.peak_bytes, held)
        self._above = self._above + 1 if held > self.limit_bytes else 0
        if self._above >= PATIENCE:
            end(pids[1:], held, self.limit_bytes)

    def stop(self) -> None:
        self._ended.set()


@contextmanager
def watched(wanted: Resources) -> Iterator[MemoryWatch]:
    """A watch over all that happens inside."""
    watch = MemoryWatch(wanted)
    thread = threading.Thread(target=watch.run, name="memory", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()


def end(below: list[int], held: int, limit: int) -> None:
    """End the processes below and this one: the main thread may be deep in native code that hears no exception."""
    print(
        f"nightshelf: this command holds {held / 2**30:.1f} GiB where resources.memory_gb allows {limit / 2**30:g}: "
        "raise it, or give it less to do at once",
        file=sys.stderr,
        flush=True,
    )
    for pid in reversed(below):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(EXIT_USAGE)


def descendants(pid: int) -> list[int]:
    """Processes below one, parents before their children."""
    children: dict[int, list[int]] = {}
    for entry in PROC.glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found[1:]


def resident_bytes(pid: int) -> int:
    """The memory a process maps that is in RAM: pages that processes share count in each."""
    with suppress(OSError):
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_BYTES
    return 0


def held_bytes(pid: int) -> int:
    """A process's share of the memory it maps (PSS): pages of forked workers count once among them.

    Pages of files are not held: the kernel drops them when it wants their place, and reads them again.
    """
    with suppress(OSError):
        told = (line.split() for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:])
        pages = {name: int(kilobytes) for name, kilobytes, *_ in told}
        return (pages["Pss:"] - pages.get("Pss_File:", 0)) * 1024
    return 0
