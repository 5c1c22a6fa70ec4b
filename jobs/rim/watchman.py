"""A process beside a command, so that nothing of a command that was ended goes on: not itself, its JVM, its workers.

A process of its own, because the command may be deep in native code, or killed. It learns by its standard input which
signals reached the command, and by the process table that the command, or one of those it works for, is gone. Started
by ``lifetime``, as a file: it imports the standard library only.
"""

import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

POLL_S = 0.25
SWEEP_S = 3.0  # what the command leaves running, such as a JVM that clears its folders, may take
PROC = Path("/proc")


def main(command: int, above: list[int], grace_s: float, sweeps: bool) -> None:
    """Watch ``command`` and those ``above`` it; ``sweeps``: its session holds nothing but what it started itself."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the command: what we have to do begins there
    deadline = None
    while os.getppid() == command:
        asked = signal_told()
        if deadline is None and parents(command) != above:
            end(command, signal.SIGTERM)
            asked = True
        if deadline is None and asked:
            deadline = time.monotonic() + grace_s
        if deadline is not None and time.monotonic() > deadline:
            end(command, signal.SIGKILL)
            break
    if sweeps:
        sweep(os.getsid(0), time.monotonic() + SWEEP_S)


def signal_told() -> bool:
    """Wait a moment for the number of a signal; whether it is one that ends commands."""
    if not select.select([0], [], [], POLL_S)[0]:
        return False
    told = os.read(0, 64)
    if not told:  # the command closes its end by ending only: the next look at the process table sees it
        time.sleep(POLL_S)
    return signal.SIGTERM in told


def parents(command: int) -> list[int]:
    """Who started a process, and who started that one: of Airflow the task's process and its supervisor.

    Whose parent is gone gets another one. Nobody where /proc is missing.
    """
    starter = fields(command)[1:2]
    return [int(parent) for parent in [*starter, *(fields(int(starter[0]))[1:2] if starter else [])]]


def fields(pid: int) -> list[str]:
    """State, parent, group and session of a process; nothing where it, or /proc, is missing."""
    with suppress(OSError):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[:4]
    return []


def sweep(session: int, deadline: float) -> None:
    """Wait for the rest of a session, then kill it."""
    while time.monotonic() < deadline and others(session):
        time.sleep(POLL_S)
    for pid in others(session):
        end(pid, signal.SIGKILL)


def end(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def others(session: int) -> list[int]:
    """Processes of a session that run, without this one."""
    pids = [int(entry.name) for entry in PROC.glob("[0-9]*")]
    of = {pid: fields(pid) for pid in pids if pid != os.getpid()}
    return [pid for pid, found in of.items() if found[3:] == [str(session)] and found[0] != "Z"]


if __name__ == "__main__":
    me, grace, leads, *above = sys.argv[1:]
    main(int(me), [int(pid) for pid in above], float(grace), leads == "sweep")
