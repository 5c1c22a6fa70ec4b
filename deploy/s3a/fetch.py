"""``make s3a``: brings the jars of ivy.xml into jars/, once; by the Ivy that Spark carries: it needs Java alone.

A stamp holds a hash of ivy.xml: other coordinates are brought anew, the same ones are not.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

from deploy.embedded import house, java
from deploy.embedded.problems import TEMPORARY, Problem, guarded
from deploy.embedded.processes import started

FOLDER = Path("deploy/s3a")
WANTED = FOLDER / "ivy.xml"
JARS = FOLDER / "jars"
STAMP = "coordinates"
LOG = house.LOGS / "s3a.log"
CACHE = house.STATE / "ivy"


def main() -> int:
    house.enter()
    wanted = hashlib.sha256(WANTED.read_bytes()).hexdigest()
    stamp = JARS / STAMP
    if stamp.exists() and stamp.read_text() == wanted:
        return 0
    with house.lock("make s3a"):
        print(f"jars for S3 into {JARS} (once, about half a minute; log: {LOG})", flush=True)
        fresh = FOLDER / f"jars.{os.getpid()}"
        try:
            retrieve(fresh)
            (fresh / STAMP).write_text(wanted)
            shutil.rmtree(JARS, ignore_errors=True)
            fresh.replace(JARS)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return 0


def retrieve(folder: Path) -> None:
    """Resolve ivy.xml and copy every jar into a folder.

    Raises:
        Problem: a jar could not be had; code 75, since the network is the usual reason.
    """
    argv = [Path(java.find_java_home(), "bin", "java"), "-jar", ivy(), "-ivy", WANTED, "-cache", CACHE, "-types", "jar"]
    argv += ["-retrieve", folder / "[artifact]-[revision].[ext]", *settings()]
    with open(LOG, "w") as log, started([str(word) for word in argv], os.environ, log) as process:
        code = process.wait()
    if code != 0 or not any(folder.glob("hadoop-aws-*.jar")):
        raise Problem(f"the jars for S3 did not come: {reason(LOG.read_text(errors='replace'))} (log: {LOG}); they are "
                      "on Maven Central, or on the mirror of IVY_SETTINGS=file; run again", TEMPORARY)  # fmt: skip


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
    sys.exit(guarded(main))
