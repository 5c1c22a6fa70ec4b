"""Runs the command ``nightshelf`` of this checkout and gives what it printed."""

import subprocess
import sys
from collections.abc import Mapping

from deploy.embedded.house import LOGS
from deploy.embedded.problems import Problem, job_code
from deploy.embedded.processes import started


def nightshelf(arguments: list[str], env: Mapping[str, str]) -> list[str]:
    """Run the command; its lines of output.

    Raises:
        Problem: it failed; the message and the code are its own.
    """
    log = LOGS / f"{arguments[0]}.log"
    argv = [sys.executable, "-m", "jobs.cli", *arguments]
    with open(log, "w") as errors, started(argv, env, subprocess.PIPE, errors=errors) as process:
        lines = [raw.decode(errors="replace").rstrip("\n") for raw in process.stdout]
        code = process.wait()
    if code != 0:
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] or [f"exit code {code}"]
        raise Problem(f"{arguments[0]}: {said[-1].removeprefix('nightshelf: ')}", job_code(code))
    return lines


def some_people(path: str, source: str, n: int, env: Mapping[str, str]) -> list[str]:
    """Ids of a few recently active people, as the source spells them; they are never written down here."""
    lines = nightshelf(["people", "--path", path, "--source", source, "-n", str(n)], env)
    return [line for line in lines if line.strip()]
