"""Makes ``.venv`` and installs the lock and the project into it, once: a stamp holds a hash of what was asked for.

Run by the system's Python 3.11 or 3.12, before anything is installed.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.embedded import house
from deploy.embedded.problems import TEMPORARY, Problem, guarded
from deploy.embedded.processes import started

VENV = Path(".venv")
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "nightshelf.stamp"
UNFINISHED = VENV / "nightshelf.installing"
LOCKED = ("requirements.txt", "setup.cfg", "pyproject.toml")
UV = "uv==0.13.9"
NEEDED_MB = 3000
LOG = house.LOGS / "install.log"

# uv does not read pip's configuration: hand on a mirror, a certificate or a wheel folder the machine relies on.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}


def main() -> int:
    house.enter()
    wanted = fingerprint()
    if STAMP.exists() and STAMP.read_text() == wanted and PYTHON.exists():
        return 0
    with house.lock("the installation"):
        check_disk()
        print(f"installing into {VENV} (once, about a minute; log: {LOG})", flush=True)
        install()
        STAMP.write_text(wanted)
    return 0


def fingerprint() -> str:
    """Hash of the lock, the set-up, and where they are installed: a moved virtual environment does not run."""
    digest = hashlib.sha256(str(VENV.absolute()).encode())
    for name in LOCKED:
        digest.update(Path(name).read_bytes())
    return digest.hexdigest()


def check_disk() -> None:
    free = shutil.disk_usage(".").free >> 20
    if free < NEEDED_MB:
        raise Problem(f"disk: {free} MiB free in {house.ROOT}, the installation wants {NEEDED_MB}", TEMPORARY)


def install() -> None:
    """An installation that was interrupted before is started afresh."""
    if UNFINISHED.exists() or not usable():
        shutil.rmtree(VENV, ignore_errors=True)
        make_venv()
    UNFINISHED.touch()
    with open(LOG, "w") as log:
        execute([PYTHON, "-m", "pip", "install", "--quiet", UV], os.environ, log)
        env = uv_environment()
        execute([PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, "-r", "requirements.txt"], env, log)
        execute([PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, "--no-deps", "-e", "."], env, log)
    UNFINISHED.unlink()


def usable() -> bool:
    """Whether there is a virtual environment here that runs, with pip."""
    try:
        return subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode == 0
    except OSError:
        return False


def make_venv() -> None:
    if importlib.util.find_spec("ensurepip") is None:
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        raise Problem(
            f"{sys.executable} cannot make virtual environments: install {name}-venv (apt-get install {name}-venv)"
        )
    done = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True)
    if done.returncode != 0:
        raise Problem(
            f"{sys.executable} -m venv {VENV} failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}"
        )


def uv_environment() -> dict[str, str]:
    """The caller's environment and, where uv has none of its own, what pip is configured with."""
    done = subprocess.run([PYTHON, "-m", "pip", "config", "list"], capture_output=True, text=True)
    env = dict(os.environ)
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        if name := PIP_TO_UV.get(key.rpartition(".")[2]):
            env.setdefault(name, value.strip("'\""))
    return env


def execute(argv: list, env: dict[str, str], log) -> None:
    """Run one step of the installation.

    Raises:
        Problem: it failed; code 75, since the network is the usual reason.
    """
    with started([str(word) for word in argv], env, log) as process:
        code = process.wait()
    if code != 0:
        log.flush()
        raise Problem(f"the installation failed: {reason(LOG.read_text(errors='replace'))} (log: {LOG}); "
                      "the first run needs a package index such as pypi.org, then run again", TEMPORARY)  # fmt: skip


def reason(log: str) -> str:
    """The line of a pip or uv log that says most."""
    lines = [re.sub(r"^\W+", "", line) for line in log.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line.lower() for word in ("error", "failed", "could not"))]
    return (telling or lines or ["no message"])[-1][:200]


if __name__ == "__main__":
    sys.exit(guarded(main))
