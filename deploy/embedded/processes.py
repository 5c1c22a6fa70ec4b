"""Starts processes and makes sure that none outlives us, whichever session or group it moved itself to."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 8.0


def adopt_orphans() -> None:
    """On Linux a grandchild whose parent died becomes ours, so that ``end_descendants`` still finds it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextlib.contextmanager
def started(
    argv: list[str],
    env: Mapping[str, str],
    log: IO | int | None,
    *,
    errors: IO | int = subprocess.STDOUT,
    cwd: Path | None = None,
    grace_s: float | None = None,
) -> Iterator[subprocess.Popen]:
    """A process in its own session (Ctrl-C reaches us only), ended with all it started when the block is left.

    ``log`` takes what it prints; None: where our own goes.
    """
    errors = None if log is None else errors
    process = subprocess.Popen(
        argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=errors, start_new_session=True
    )
    try:
        yield process
    finally:
        end_descendants(process.pid, grace_s)
        process.wait()
        if process.stdout:
            process.stdout.close()


def end_descendants(root: int | None = None, grace_s: float | None = None) -> None:
    """End ``root`` and everything below it (default: everything below us): SIGTERM, and SIGKILL after ``grace_s``."""
    grace_s = GRACE_S if grace_s is None else grace_s
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        told: set[int] = set()
        deadline = time.monotonic() + patience_s
        while (alive := family(root) | still_running(told)) and time.monotonic() < deadline:
            for pid in alive - told:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            told |= alive
            time.sleep(0.05)


def family(root: int | None) -> set[int]:
    """``root`` and its descendants; without ``root`` our own descendants. Zombies are no longer running."""
    parents = running_processes()
    found = {root} if root in parents else set()
    frontier = {os.getpid() if root is None else root}
    while frontier := {pid for pid, parent in parents.items() if parent in frontier} - found:
        found |= frontier
    return found


def still_running(pids: set[int]) -> set[int]:
    return pids & running_processes().keys() if pids else set()


def running_processes() -> dict[int, int]:
    """Process id → parent's id."""
    return from_proc() if Path("/proc/self/stat").exists() else from_ps()


def from_proc() -> dict[int, int]:
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                state, parent = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents[int(entry)] = int(parent)
    return parents


def from_ps() -> dict[int, int]:
    """For systems without /proc, such as macOS."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}
