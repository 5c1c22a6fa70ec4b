"""``make test``: pytest; a full run also measures the coverage, reports it and holds it to setup.cfg's minimum."""

import os
import subprocess
import sys

from deploy.embedded import house
from deploy.embedded.problems import guarded
from deploy.embedded.processes import started

COVERAGE = (sys.executable, "-m", "coverage")


def main() -> int:
    house.enter()
    arguments = sys.argv[1:]
    measured = [] if arguments else [*COVERAGE[1:], "run"]
    if measured:
        subprocess.run([*COVERAGE, "erase"], check=True)
    with started([sys.executable, *measured, "-m", "pytest", *arguments], os.environ, None) as process:
        code = process.wait()
    if code or arguments:
        return code
    subprocess.run([*COVERAGE, "combine", "--quiet"], check=False)
    return subprocess.run([*COVERAGE, "report"]).returncode


if __name__ == "__main__":
    sys.exit(guarded(main))
