"""``make soak``: hours and nights as backfills under Airflow's own scheduler, while seeded kills strike tasks, the
processes Airflow has for them, Spark, the scheduler and Redis; then the lake is compared with one nobody disturbed.

SOAK_HOURS (72), SOAK_KILLS (30) and SEED (1) in the environment; SOAK_FOLDER is where it happens (.nightshelf/soak).
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.soak import drive, told
from benchmarks.soak.ground import Ground, lay
from benchmarks.soak.lines import say, size
from benchmarks.soak.stage import Stage, airflow_environment
from benchmarks.soak.windup import wind_up
from deploy.embedded import checks, house
from deploy.embedded.problems import TEMPORARY, Problem, guarded
from deploy.embedded.processes import started


def main() -> int:
    """0 when the lake, Redis and the machine are as if nothing had been killed, else 1."""
    house.enter()
    ground = Ground.of_environment()
    checks.check_disk()
    with house.lock("make soak"):
        began = time.monotonic()
        say(f"soak: {size(ground)} in {ground.folder}")
        lay(ground)
        port = checks.free_port()
        env = ground.environment(ground.folder) | airflow_environment(ground.folder, port)
        env["SOAK_END"] = ground.end.isoformat()  # for Airflow's policy
        checks.check_settings(env)
        with Stage(ground.folder, env, port) as stage:
            with undisturbed(ground):
                soaked = drive.soak(ground, stage)
            left = wind_up(ground, stage)
        return told.tell(ground, soaked, left, time.monotonic() - began)


@contextmanager
def undisturbed(ground: Ground) -> Iterator[subprocess.Popen]:
    """The lake to compare with comes into being beside the soak; waits for it at the end.

    Raises:
        Problem: it failed.
    """
    log, env = ground.folder / "logs" / "undisturbed.log", ground.environment(ground.folder / "calm")
    argv = [sys.executable, "-m", "benchmarks.soak.undisturbed"]
    with open(log, "w") as handle, started(argv, env | ground.asked(), handle) as process:
        yield process
        if process.wait():
            raise Problem(f"the undisturbed run failed: see {log}", TEMPORARY)


if __name__ == "__main__":
    sys.exit(guarded(main))
