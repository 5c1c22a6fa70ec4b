"""Looks before anything is started: data, source, ports, disk."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.embedded.house import ROOT, STATE, number
from deploy.embedded.problems import TEMPORARY, Problem

SOURCES = Path("conf/sources")


def check_data(data: str, source: str) -> None:
    """DATA and SOURCE come together, and both exist.

    Raises:
        Problem: one is missing or wrong.
    """
    if not data and not source:
        return
    if not data or not source:
        given, missing = ("DATA", "SOURCE") if data else ("SOURCE", "DATA")
        raise Problem(f"{given} is given but {missing} is not; say `make run DATA=path SOURCE=name-or-file`")
    if not Path(data).exists():
        raise Problem(f"DATA = {data!r}: no such file or folder (looked from {ROOT})")
    if source not in shipped_sources() and not Path(source).is_file():
        raise Problem(f"SOURCE = {source!r}: neither a file nor one of {', '.join(shipped_sources())}")


def shipped_sources() -> list[str]:
    return sorted(path.stem for path in SOURCES.glob("*.toml") if path.stem != "template")


LOAD_SETTINGS = """\
import sys
from conf.settings import SettingsError, load_settings
try:
    load_settings()
except SettingsError as error:
    sys.exit(str(error))
"""


def check_settings(env: Mapping[str, str]) -> None:
    """All settings, as the jobs will read them.

    Raises:
        Problem: one is unknown or out of range.
    """
    done = subprocess.run([sys.executable, "-c", LOAD_SETTINGS], env=env, capture_output=True, text=True)
    if done.returncode:
        raise Problem(done.stderr.strip().splitlines()[-1])


def check_port(host: str, port: str) -> int:
    """A port nobody listens on.

    Raises:
        Problem: no number from 1 to 65535, or in use.
    """
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise Problem(f"PORT = {port!r}: allowed are numbers from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            raise Problem(
                f"port {port} of {host} cannot be used ({error.strerror}); give another, as in PORT=8333"
            ) from None
    return int(port)


def free_port() -> int:
    """A port the system says is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check_disk() -> None:
    """The lake's own minimum, before anything is written.

    Raises:
        Problem: less is free.
    """
    wanted, free = number("lake", "min_free_mb"), shutil.disk_usage(STATE).free >> 20
    if free < wanted:
        raise Problem(
            f"disk: {free} MiB free in {STATE}, wanted {wanted} (lake.min_free_mb); free some space", TEMPORARY
        )
