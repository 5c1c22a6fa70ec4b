"""Where things are, the lock, the secret, and the environment everything runs in."""

import contextlib
import fcntl
import json
import os
import re
import secrets
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.embedded.problems import TEMPORARY, Problem
from deploy.embedded.processes import running_processes

ROOT = Path(__file__).absolute().parents[2]
STATE = Path(".nightshelf")  # relative: everything runs in ROOT, and paths of sockets must stay short
LOGS = STATE / "logs"
RELEASE = STATE / "release.json"  # what the last run published, for `make serve`

# What a shell may hand down and would change what runs here.
INHERITED = ("AIRFLOW", "SPARK", "PYSPARK", "HADOOP", "YARN_", "PYTHON", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS")
INHERITED += (
    "JDK_JAVA_OPTIONS",
    "VIRTUAL_ENV",
    "CONDA",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "ftp_proxy",
    "no_proxy",
)


def enter() -> None:
    """Go to the project's folder and make the state folder."""
    os.chdir(ROOT)
    LOGS.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def lock(purpose: str, shared: bool = False) -> Iterator[None]:
    """Hold the folder: alone (a run), or with others that only keep things running (serve, airflow).

    Raises:
        Problem: somebody else holds it.
    """
    with open(STATE / "lock", "a+") as handle:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            who = " and ".join(holders(handle.read())) or "another command"
            verb, them = ("are", "them") if " and " in who else ("is", "it")
            told = f"{who} {verb} at work in {ROOT}; wait for {them} or stop {them}, then run again"
            raise Problem(told, TEMPORARY) from None
        if not shared:
            handle.truncate(0)  # whoever is named there has ended
        handle.write(f"`{purpose}` (process {os.getpid()})\n")
        handle.flush()
        yield


def holders(names: str) -> list[str]:
    """Those of the lock's names whose process still lives."""
    alive = running_processes()
    return [name[0] for name in re.finditer(r"`[^`]+` \(process (\d+)\)", names) if int(name[1]) in alive]


def make_secret() -> None:
    """The secret behind the pseudonyms: made once, readable by its owner only."""
    path = STATE / "secret"
    if not path.exists():
        fresh = STATE / f"secret.{os.getpid()}"
        with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as handle:
            handle.write(secrets.token_hex(32) + "\n")
        fresh.replace(path)


def setting(section: str, key: str) -> str:
    """One setting, from where the settings come from: the environment, the file NIGHTSHELF_CONF names, the defaults."""
    if (value := os.environ.get(f"NIGHTSHELF_{section}__{key}".upper())) is not None:
        return value
    for path in filter(None, (os.environ.get("NIGHTSHELF_CONF"), "conf/default.toml")):
        try:
            found = tomllib.loads(Path(path).read_text()).get(section, {}).get(key)
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise Problem(f"settings file {path}: {error}") from None
        if found is not None:
            return str(found)
    raise Problem(f"setting {section}.{key}: no value anywhere")


def number(section: str, key: str) -> int:
    """One setting that is a whole number."""
    value = setting(section, key)
    if not value.isdecimal():
        raise Problem(f"setting {section}.{key} = {value!r}: allowed are whole numbers")
    return int(value)


def clean(inherited: Mapping[str, str]) -> dict[str, str]:
    """Without what would change how things run here."""
    prefixes = tuple(prefix.lower() for prefix in INHERITED)
    return {name: value for name, value in inherited.items() if not name.lower().startswith(prefixes)}


def environment(lake: Path = STATE, namespace: str = "ns") -> dict[str, str]:
    """A clean environment with the embedded places filled in; all other settings given as NIGHTSHELF_… stay."""
    kept = clean(os.environ)
    return kept | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)]),
        "PYTHONUTF8": "1",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "OPENBLAS_NUM_THREADS": "1",  # compiled loops bring their own threads; both together cost several times the time
        "NIGHTSHELF_LAKE__URI": str(lake / "lake"),
        "NIGHTSHELF_INGEST__LANDING": str(lake / "landing"),
        "NIGHTSHELF_SERVING__CACHE_DIR": str(lake / "serving"),
        "NIGHTSHELF_IDENTITY__SECRET_FILE": str(STATE / "secret"),
        "NIGHTSHELF_REDIS__URL": f"unix://{STATE / 'redis.sock'}",
        "NIGHTSHELF_REDIS__NAMESPACE": namespace,
        "NIGHTSHELF_PUBLISH__TARGETS": "[]",
    }


def remember_release(**place: str) -> None:
    """Lake and namespace of a release, and the input it was made of."""
    RELEASE.write_text(json.dumps(place) + "\n")


def last_release() -> dict:
    """What ``remember_release`` wrote last.

    Raises:
        Problem: nothing was published yet.
    """
    try:
        return json.loads(RELEASE.read_text())
    except (OSError, ValueError):
        raise Problem("nothing was published yet: run `make run` first") from None
