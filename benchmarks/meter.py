"""What a block cost: seconds by the wall, seconds of CPU and the most memory held, of every process below this one.

Processes are looked at ten times a second in /proc: the JVM, Spark's Python workers and Redis are nobody's children
that ``resource`` could tell of. What a process did in its last tenth is missed. Memory is PSS: a page that several
processes share counts once. Where there is no /proc only the wall's seconds are known.
"""

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.processes import family

EVERY_S = 0.1
MEMORY_EVERY = 3  # looks at processes to one at their memory, which costs milliseconds for each GB
TICKS_A_S = os.sysconf("SC_CLK_TCK")
KNOWN = Path("/proc/self/smaps_rollup").exists()


@dataclass
class Cost:
    """``cpu_s`` and ``peak_bytes`` are None where they are not known."""

    seconds: float = 0.0
    cpu_s: float | None = None
    peak_bytes: int | None = None


class Meter:
    """``with Meter() as cost:`` fills ``cost`` when the block is left; ``own`` counts this process, too."""

    def __init__(self, own: bool = False):
        self.own, self.cost = own, Cost()
        self.cpu_s: dict[tuple[int, int], float] = {}  # of each process, by id and start: ids are used again
        self.peak_bytes = 0
        self.over = threading.Event()

    def __enter__(self) -> Cost:
        self.began = time.perf_counter()
        if KNOWN:
            self.before = self.look()
            self.thread = threading.Thread(target=self.watch, daemon=True)
            self.thread.start()
        return self.cost

    def __exit__(self, *_) -> None:
        self.cost.seconds = time.perf_counter() - self.began
        if KNOWN:
            self.over.set()
            self.thread.join()
            self.look()
            self.cost.cpu_s = sum(seconds - self.before.get(key, 0) for key, seconds in self.cpu_s.items())
            self.cost.peak_bytes = self.peak_bytes

    def watch(self) -> None:
        turn = 0
        while not self.over.wait(EVERY_S):
            self.look(memory=turn % MEMORY_EVERY == 0)
            turn += 1

    def look(self, memory: bool = True) -> dict[tuple[int, int], float]:
        """CPU seconds of every process so far, those that ended included."""
        pids = family(None) | ({os.getpid()} if self.own else set())
        for pid in pids:
            with contextlib.suppress(OSError):  # it ended between two looks
                key, seconds = cpu_of(pid)
                self.cpu_s[key] = seconds
        if memory:
            self.peak_bytes = max(self.peak_bytes, sum(map(memory_of, pids)))
        return dict(self.cpu_s)


def cpu_of(pid: int) -> tuple[tuple[int, int], float]:
    """The process, by id and start, and its own seconds of CPU."""
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    return (pid, int(fields[19])), (int(fields[11]) + int(fields[12])) / TICKS_A_S


def memory_of(pid: int) -> int:
    """Bytes a process holds, its part of what it shares; 0 once it ended."""
    with contextlib.suppress(OSError):
        for line in Path("/proc", str(pid), "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
