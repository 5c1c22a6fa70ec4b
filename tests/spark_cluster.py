"""A Spark cluster on this machine, of Spark's own Master and Worker, each worker a process with a folder of its own.

Workers have the Python packages but not the project: their Python does not see how it is installed.
"""

import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pyspark
from s3_server import answers, free_port

from deploy.embedded.processes import running_processes

SPARK_HOME = Path(pyspark.__file__).parent
DEPLOY = "org.apache.spark.deploy"
EXECUTOR = "CoarseGrainedExecutorBackend"
DAEMON_MB, EXECUTOR_MB = 256, 512
# Packages found by PYTHONPATH alone: without site, no .pth file leads to the project.
PYTHON = """\
#!/bin/sh
export PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{packages}"
exec {python} -S "$@"
"""


class SparkCluster:
    """A master and ``n_workers`` of one core each; ``close`` ends them and all they started."""

    def __init__(self, folder: Path, n_workers: int = 2):
        self.folder = folder
        self.folder.mkdir()
        self.processes: list[subprocess.Popen] = []
        self.python = folder / "python"
        packages = sysconfig.get_path("purelib")
        self.python.write_text(PYTHON.format(packages=packages, python=shlex.quote(sys.executable)))
        self.python.chmod(0o755)
        port = free_port()
        self.master = f"spark://127.0.0.1:{port}"
        self.start("Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0")
        answers(port)
        for k in range(n_workers):
            own = ("--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", f"{EXECUTOR_MB}m")
            self.start("Worker", *own, "--work-dir", str(folder / f"worker{k}"), self.master)

    def start(self, kind: str, *arguments: str) -> None:
        env = {name: os.environ[name] for name in ("PATH", "JAVA_HOME", "HOME") if name in os.environ}
        env |= {"SPARK_HOME": str(SPARK_HOME), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": f"{DAEMON_MB}m"}
        env |= {"SPARK_DAEMON_JAVA_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"}
        argv = [str(SPARK_HOME / "bin" / "spark-class"), f"{DEPLOY}.{kind.lower()}.{kind}", *arguments]
        number = len(self.processes)
        with open(self.folder / f"{number}-{kind.lower()}.log", "w") as log:
            self.processes.append(
                subprocess.Popen(argv, cwd=self.folder, env=env, stdout=log, stderr=log, start_new_session=True)
            )

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.rglob("stderr")))

    def close(self) -> None:
        for process in reversed(self.processes):
            os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def executors_of(application: str) -> list[int]:
    """Process ids of an application's executors."""
    mine = (f"{EXECUTOR} ", f"--app-id {application} ")
    return [pid for pid in running_processes() if all(word in command_of(pid) for word in mine)]


def command_of(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "cmdline").read_text().replace("\0", " ")
    except OSError:  # it has ended
        return ""


def wait_until(happened, patience_s: float = 120) -> None:
    """Raise TimeoutError when it has not."""
    deadline = time.monotonic() + patience_s
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience_s} s")
        time.sleep(0.05)
