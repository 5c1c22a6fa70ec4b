"""What a block cost: seconds by the wall, seconds of CPU and the most memory held, of every process below this one.

Processes are looked at five times a second in /proc: the JVM, Spark's Python workers and Redis are nobody's children
that ``resource`` could tell of. What a process did in its last fifth is missed. Memory is PSS: a page that several
processes share counts once. The kernel takes 20 ms of CPU a GB to tell it, so it is asked only when the resident pages
are more than ever before. Where there is no /proc only the wall's seconds are known.
"""

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from jobs.rim.memory import held_bytes

EVERY_S = 0.2
GROWN = 1.02  # times the resident bytes of the last look at PSS
TICKS_A_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
KNOWN = Path("/proc/self/smaps_rollup").exists()


@dataclass(frozen=True)
class Seen:
    """A process: its parent, when it started, its own seconds of CPU and the bytes it has in memory."""

    parent: int
    start: int
    cpu_s: float
    resident: int


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
        self.peak_bytes = self.resident = 0
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
        while not self.over.wait(EVERY_S):
            self.look()

    def look(self) -> dict[tuple[int, int], float]:
        """CPU seconds of every process so far, those that ended included."""
        mine = below(os.getpid(), processes(), self.own)
        self.cpu_s |= {(pid, one.start): one.cpu_s for pid, one in mine.items()}
        resident = sum(one.resident for one in mine.values())
        if resident > GROWN * self.resident:
            self.resident = resident
            self.peak_bytes = max(self.peak_bytes, sum(map(held_bytes, mine)))
        return dict(self.cpu_s)


def processes() -> dict[int, Seen]:
    """All that run, by id."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:  # it may end meanwhile
            fields = file.read().rpartition(b")")[2].split()
            parent, user, system, start, pages = (int(fields[at]) for at in (1, 11, 12, 19, 21))
            found[int(entry)] = Seen(parent, start, (user + system) / TICKS_A_S, pages * PAGE_BYTES)
    return found


def below(root: int, seen: dict[int, Seen], own: bool) -> dict[int, Seen]:
    """Descendants of ``root``, and itself where ``own``."""
    found, frontier = {root: seen[root]} if own else {}, {root}
    while frontier := {pid for pid, one in seen.items() if one.parent in frontier} - found.keys():
        found |= {pid: seen[pid] for pid in frontier}
    return found


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
