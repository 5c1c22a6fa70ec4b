"""``make s3a``, ``make kafka``: brings the jars a folder's ivy.xml names, once; by the Ivy that Spark carries: it needs
Java alone.

usage: python -m deploy.jars NAME ...

A stamp holds a hash of ivy.xml: other coordinates are brought anew, the same ones are not.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploy.embedded import house, java
from deploy.embedded.problems import TEMPORARY, Problem, guarded
from deploy.embedded.processes import started

HERE = Path("deploy")
STAMP = "coordinates"
CACHE = house.STATE / "ivy"


@dataclass(frozen=True)
class Jars:
    """The jars of one folder of ``deploy``: what for, and the artifact without which they are none."""

    name: str
    what: str
    sign: str

    @property
    def wanted(self) -> Path:
        return HERE / self.name / "ivy.xml"

    @property
    def folder(self) -> Path:
        return HERE / self.name / "jars"

    @property
    def log(self) -> Path:
        return house.LOGS / f"{self.name}.log"


SETS = {
    jars.name: jars
    for jars in (
        Jars("s3a", "S3", "hadoop-aws"),
        Jars("kafka", "a Kafka broker", "kafka_2.13"),
        Jars("spark-kafka", "Spark to read Kafka", "spark-sql-kafka-0-10_2.13"),
    )
}


def main(*names: str) -> int:
    house.enter()
    missing = [SETS[name] for name in names if not is_there(SETS[name])]
    if missing:
        with house.lock("the jars"), ThreadPoolExecutor() as pool:  # they come from far: side by side
            list(pool.map(bring, missing))
    return 0


def coordinates(jars: Jars) -> str:
    return hashlib.sha256(jars.wanted.read_bytes()).hexdigest()


def is_there(jars: Jars) -> bool:
    stamp = jars.folder / STAMP
    return stamp.exists() and stamp.read_text() == coordinates(jars)


def bring(jars: Jars) -> None:
    """Put the jars where they belong, whole or not at all."""
    print(f"jars for {jars.what} into {jars.folder} (once, about half a minute; log: {jars.log})", flush=True)
    fresh = jars.folder.with_name(f"jars.{os.getpid()}")
    try:
        retrieve(jars, fresh)
        (fresh / STAMP).write_text(coordinates(jars))
        shutil.rmtree(jars.folder, ignore_errors=True)
        fresh.replace(jars.folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def retrieve(jars: Jars, folder: Path) -> None:
    """Resolve ivy.xml and copy every jar into a folder.

    Raises:
        Problem: a jar could not be had; code 75, since the network is the usual reason.
    """
    argv = [Path(java.find_java_home(), "bin", "java"), "-jar", ivy(), "-ivy", jars.wanted]
    out = folder / "[artifact]-[revision].[ext]"
    argv += ["-cache", CACHE / jars.name, "-types", "jar", "bundle", "-retrieve", out, *settings()]
    with open(jars.log, "w") as log, started([str(word) for word in argv], os.environ, log) as process:
        code = process.wait()
    if code != 0 or not any(folder.glob(f"{jars.sign}-*.jar")):
        why = reason(jars.log.read_text(errors="replace"))
        raise Problem(f"the jars for {jars.what} did not come: {why} (log: {jars.log}); they are on Maven Central, or "
                      "on the mirror of IVY_SETTINGS=file; run again", TEMPORARY)  # fmt: skip


def settings() -> list[str]:
    """Ivy's own settings, where somebody names a file of them."""
    named = os.environ.get("IVY_SETTINGS")
    return ["-settings", named] if named else []


def ivy() -> Path:
    """The jar of Ivy in the installed Spark."""
    spec = importlib.util.find_spec("pyspark")
    found = sorted(Path(spec.origin).parent.glob("jars/ivy-*.jar")) if spec else []
    if not found:
        raise Problem("Spark is not installed here: run `make install` first")
    return found[-1]


def reason(log: str) -> str:
    """The first line of Ivy's log that says what failed."""
    lines = [re.sub(r"^\W+", "", line) for line in log.splitlines()]
    telling = [line for line in lines if re.search(r"unresolved|not found|failed|error|exception", line, re.IGNORECASE)]
    return (telling or lines or ["no message"])[0][:200]


if __name__ == "__main__":
    sys.exit(guarded(partial(main, *sys.argv[1:])))
