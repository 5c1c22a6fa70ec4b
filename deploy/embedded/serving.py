"""Starts the API and waits until it answers."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from deploy.embedded.house import LOGS
from deploy.embedded.http import is_up
from deploy.embedded.problems import TEMPORARY, Problem
from deploy.embedded.processes import started

START_S = 60.0
LOG = LOGS / "serving.log"


@contextmanager
def serving(env: Mapping[str, str], port: int) -> Iterator[str]:
    """``python -m serving`` on 127.0.0.1 until the block is left; gives its URL once it is ready."""
    url = f"http://127.0.0.1:{port}"
    with open(LOG, "w") as log, started([sys.executable, "-m", "serving"], env, log) as process:
        wait_until_ready(process, url)
        yield url


def wait_until_ready(process: subprocess.Popen, url: str) -> None:
    deadline = time.monotonic() + START_S
    while not is_up(f"{url}/readyz"):
        if process.poll() is not None or time.monotonic() > deadline:
            said = [line for line in LOG.read_text(errors="replace").splitlines() if line.strip()]
            why = said[-1] if said else "it said nothing"
            raise Problem(
                f"the API at {url} did not become ready: {why.removeprefix('nightshelf: ')} (log: {LOG})", TEMPORARY
            )
        time.sleep(0.1)
