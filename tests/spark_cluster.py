"""A Spark cluster on this machine, of Spark's own Master and Worker, each worker a process with a folder of its own.

Workers have the Python packages but not the project: they stand in folders where it cannot be imported.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

import pyspark
from s3_server import answers, free_port

from deploy.embedded.processes import running_processes

SPARK_HOME = Path(pyspark.__file__).parent
DEPLOY = "org.apache.spark.deploy"
EXECUTOR = "CoarseGrainedExecutorBackend"
DAEMON_MB, EXECUTOR_MB = 256, 512


class SparkCluster:
    """A master and ``n_workers`` of one core each; ``close`` ends them and all they started."""

    def __init__(self, folder: Path, n_workers: int = 2):
        self.folder = folder
        self.folder.mkdir()
        self.processes: list[subprocess.Popen] = []
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

    def executors(self) -> list[int]:
        """Process ids of the executors of any application that runs now."""
        parents = running_processes()
        workers = {process.pid for process in self.processes[1:]}
        return [pid for pid, parent in parents.items() if parent in workers and EXECUTOR in command_of(pid)]

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
