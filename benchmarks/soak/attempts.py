"""Which attempts of which tasks run right now, read from the processes below this one: Airflow names a task's try in
the environment of whatever the task starts.
"""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from deploy.embedded.processes import family, running_processes

NAMES = ("AIRFLOW_CTX_DAG_ID", "AIRFLOW_CTX_TASK_ID", "AIRFLOW_CTX_DAG_RUN_ID", "AIRFLOW_CTX_TRY_NUMBER")


@dataclass(frozen=True, order=True)
class Attempt:
    """One try of one task in one run."""

    dag: str
    task: str
    run: str
    number: int

    @property
    def step(self) -> tuple[str, str]:
        return self.dag, self.task


@dataclass
class Processes:
    """Of one attempt, by what they are: ``command``, ``jvm``, ``worker`` (Spark's Python), ``runner`` (Airflow's
    process of the task) and ``executor`` (Airflow's worker above it, which tells the scheduler how the task fares).
    """

    pids: dict[str, list[int]] = field(default_factory=dict)
    own: set[int] = field(default_factory=set)  # all that the task started

    def first(self, what: str) -> int | None:
        return next(iter(self.pids.get(what, ())), None)


class Look:
    """Reads the process table; remembers whose a process was, for its environment stays what it was."""

    def __init__(self) -> None:
        self.known: dict[int, Attempt] = {}

    def attempts(self) -> dict[Attempt, Processes]:
        """Those with a process now."""
        parents, ours = running_processes(), family(None)
        self.known = {pid: attempt for pid, attempt in self.known.items() if pid in ours}
        found: dict[Attempt, Processes] = {}
        for pid in sorted(ours):
            attempt = self.known.get(pid) or attempt_of(pid)
            if attempt:
                self.known[pid] = attempt
                found.setdefault(attempt, Processes()).own.add(pid)
        for processes in found.values():
            sort(processes, parents)
        return found


def attempt_of(pid: int) -> Attempt | None:
    """Whose process it is; None for Airflow's own and for one that has just ended."""
    pairs = dict(word.partition("=")[::2] for word in words_of(pid, "environ") if word.startswith("AIRFLOW_CTX_"))
    if not pairs.keys() >= set(NAMES):
        return None
    dag, task, run, number = (pairs[name] for name in NAMES)
    return Attempt(dag, task, run, int(number))


def sort(processes: Processes, parents: dict[int, int]) -> None:
    """Tell an attempt's processes by their command lines; the two of Airflow are above its topmost one."""
    top = next((pid for pid in sorted(processes.own) if parents.get(pid) not in processes.own), 0)
    for pid in sorted(processes.own):
        if what := kind(words_of(pid, "cmdline")):
            processes.pids.setdefault(what, []).append(pid)
    runner = parents.get(top, 0)
    if title(runner).startswith("airflow worker"):  # else it is gone and the attempt an orphan
        processes.pids["runner"] = [runner]
        if title(parents.get(runner, 0)).startswith("airflow worker"):
            processes.pids["executor"] = [parents[runner]]


def kind(command: list[str]) -> str:
    if command and command[0].rpartition("/")[2] == "java":
        return "jvm"
    if "jobs.cli" in command:
        return "command"
    return "worker" if any(word.startswith("pyspark") for word in command) else ""


def title(pid: int) -> str:
    return " ".join(words_of(pid, "cmdline"))


def words_of(pid: int, name: str) -> list[str]:
    """The words of a file of /proc; none when the process has ended."""
    with contextlib.suppress(OSError):
        return Path("/proc", str(pid), name).read_bytes().decode(errors="replace").split("\0")
    return []
