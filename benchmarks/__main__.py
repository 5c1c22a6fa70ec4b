"""``make bench``: our kernels beside their peers, then two nights on lakes of growing size.

EVENTS in the environment sets the sizes of the lakes, KERNELS the arguments of ``benchmarks.kernels``. A process of its
own runs the kernels: the JVM it starts would count as a part of the nights.
"""

import os
import sys

from benchmarks import scaling
from deploy.embedded import house
from deploy.embedded.problems import Problem, guarded, job_code
from deploy.embedded.processes import started


def main() -> int:
    house.enter()
    sizes = scaling.prepare()
    argv = [sys.executable, "-m", "benchmarks.kernels", *os.environ.get("KERNELS", "").split()]
    with started(argv, house.environment(scaling.FOLDER, scaling.NAMESPACE), None) as process:
        if code := process.wait():
            raise Problem("the kernels did not end well", job_code(code))
    print(flush=True)
    return scaling.run(sizes)


if __name__ == "__main__":
    sys.exit(guarded(main))
