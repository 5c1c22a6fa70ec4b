"""``make test``: pytest; a full run also measures the coverage, reports it and holds it to setup.cfg's minimum.

A full run has two parts: test files side by side, then, one by one, those that a busy machine would fail.
"""

import os
import subprocess
import sys

from deploy.embedded import house
from deploy.embedded.problems import guarded
from deploy.embedded.processes import started

COVERAGE = (sys.executable, "-m", "coverage")
MOST_AT_ONCE = 4  # each may hold a Spark of its own
PARTS = {"side by side": "not alone", "one by one": "alone"}


def main() -> int:
    house.enter()
    arguments = sys.argv[1:]
    if arguments:
        return run([sys.executable, "-m", "pytest", *arguments])
    subprocess.run([*COVERAGE, "erase"], check=True)
    code = full_run()
    if code:
        return code
    subprocess.run([*COVERAGE, "combine", "--quiet"], check=False)
    return subprocess.run([*COVERAGE, "report"]).returncode


def full_run() -> int:
    """Both parts, whatever becomes of the first; the first exit code that is not 0."""
    at_once = min(os.cpu_count() or 1, MOST_AT_ONCE)
    codes = []
    for told, which in PARTS.items():
        spread = ["-n", str(at_once), "--dist", "loadfile", "--no-loadscope-reorder"] if which == "not alone" else []
        print(f"tests that run {told}:", flush=True)
        codes.append(run([*COVERAGE, "run", "-m", "pytest", "-m", which, *spread]))
    return next((code for code in codes if code), 0)


def run(argv: list[str]) -> int:
    with started(argv, os.environ, None) as process:
        return process.wait()


if __name__ == "__main__":
    sys.exit(guarded(main))
