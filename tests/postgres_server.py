"""A real PostgreSQL server for tests: a cluster of its own on a Unix socket, ended by its pid."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

WAYS = (os.environ["PATH"], *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)))  # Debian's
ACCOUNTS = ("postgres", "nobody")  # it refuses to be root
START_S = 20


def executable(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join(WAYS))


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty database of a user ``airflow``; nothing of it is written to disk for good."""
    account = unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="ns-pg-"))  # short: a Unix socket's path may have 107 bytes
    if account:
        shutil.chown(folder, account)
    words = ("--username", "airflow", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
    subprocess.run(
        [executable("initdb"), "-D", str(folder / "data"), *words],
        user=account, cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    options = ("-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200")
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(
            [executable("postgres"), "-D", str(folder / "data"), *options],
            user=account, cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_until_it_answers(folder, server)
        yield f"postgresql://airflow@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGQUIT)  # at once, whoever is connected
        server.wait()
        shutil.rmtree(folder)


def unprivileged() -> str | None:
    """Whose the server is: ours, unless we are root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ACCOUNTS if name in known)


def wait_until_it_answers(folder: Path, server: subprocess.Popen) -> None:
    import psycopg

    deadline = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(host=str(folder), user="airflow", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
