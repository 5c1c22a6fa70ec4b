"""Commands that end with those they work for: with kill -9 of these, or of the command, and with SIGTERM.

The starter does what Airflow's BashOperator does: bash in a session of its own, output through a pipe. A shell above it
stands for the supervisor of the task.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from jobs.rim.watchman import fields, others

ROOT = Path(__file__).absolute().parents[1]
STARTER = """
import os, subprocess, sys
with subprocess.Popen(["bash", "-c", sys.argv[1]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                      start_new_session=True) as command:
    print("session", command.pid, os.getpid(), flush=True)
    for line in command.stdout:
        os.write(1, line)
sys.exit(command.returncode % 256)
"""


class Started:
    """A supervisor, the starter, and the session of the command that started."""

    def __init__(self, process: subprocess.Popen):
        self.process = process
        self.session, self.starter = map(int, self.read("session").split()[1:])

    def read(self, wanted: str) -> str:
        """The next line of output that begins so."""
        for line in self.process.stdout:
            if line.startswith(wanted):
                return line
        raise AssertionError(f"the output ended before {wanted!r}")

    def gone_within(self, limit_s: float) -> float:
        """Seconds until nothing of the session runs any more."""
        began = time.monotonic()
        while running := others(self.session):
            assert time.monotonic() - began < limit_s, [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in running]
            time.sleep(0.05)
        return time.monotonic() - began


@contextmanager
def started(kind: str, tmp_path: Path, **env: str):
    command = f"{sys.executable} {ROOT}/tests/long_command.py long {kind}"
    variables = {"NIGHTSHELF_RESOURCES__END_WITH_PARENT": "true", "PYTHONPATH": str(ROOT)} | env
    process = subprocess.Popen(
        ["bash", "-c", '"$0" -c "$1" "$2"; exit $?', sys.executable, STARTER, command],
        cwd=tmp_path,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        began = Started(process)
        try:
            yield began
        finally:
            for pid in (process.pid, began.starter, *others(began.session)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def names(session: int) -> list[str]:
    """What runs in a session, by the program."""
    return sorted(Path(f"/proc/{pid}/comm").read_text().strip() for pid in others(session))


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["starter", "command"])
def test_a_killed_task_takes_its_spark_along(tmp_path, victim):
    with started("spark", tmp_path) as began:
        began.read("worker")
        assert "java" in names(began.session)
        assert len(others(began.session)) >= 5  # command, watchman, JVM, the daemon of its workers, a worker
        os.kill(began.starter if victim == "starter" else began.session, signal.SIGKILL)
        began.gone_within(8)
    assert not list((tmp_path / ".nightshelf/spark/local").iterdir())  # the JVM had the time to clear its folders


def test_a_killed_supervisor_takes_the_command_along(tmp_path):
    with started("held", tmp_path) as began:
        began.read("held")
        began.process.kill()
        assert began.read("nightshelf: asked to end")
        assert began.read("given back")
        began.gone_within(4)


def test_sigterm_ends_a_command_in_order(tmp_path):
    with started("held", tmp_path) as began:
        began.read("held")
        os.killpg(began.session, signal.SIGTERM)  # as BashOperator.on_kill does
        assert began.read("nightshelf: asked to end")
        assert began.read("given back")
        assert began.process.wait(5) == 143
        began.gone_within(2)


def test_a_command_that_cannot_hear_is_killed_when_its_time_is_over(tmp_path):
    with started("deaf", tmp_path) as began:
        began.read("deaf")
        time.sleep(0.3)  # it says so just before
        os.kill(began.session, signal.SIGTERM)
        time.sleep(0.5)
        assert fields(began.session), "it has its time to end in order"
        assert began.process.wait(4) == 256 - signal.SIGKILL
        began.gone_within(2)


def test_whoever_asks_for_nothing_outlives_a_shell(tmp_path):
    with started("held", tmp_path, NIGHTSHELF_RESOURCES__END_WITH_PARENT="false") as began:
        began.read("held")
        os.kill(began.starter, signal.SIGKILL)
        time.sleep(1)
        assert names(began.session)
