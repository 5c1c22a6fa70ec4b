"""Serving from a venv with its own extra alone: no Airflow, Spark, pandas, numpy or pyarrow."""

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from project_copy import copy_project

from deploy.embedded.checks import free_port


def test_the_serving_extra_alone_serves(tmp_path):
    project, home = copy_project(tmp_path / "project"), tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python, port = home / "bin" / "python", free_port()
    argv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", python, "-c", project / "requirements.txt"]
    subprocess.run([*argv, f"{project}[serving]"], check=True, timeout=300)
    names = {path.name.partition("-")[0] for path in Path(home).glob("lib/*/site-packages/*.dist-info")}
    assert not names & {"apache_airflow", "pyspark", "pandas", "numpy", "pyarrow", "great_expectations", "boto3"}
    (packages,) = Path(home).glob("lib/*/site-packages")
    for part in ("conf", "jobs", "schemas", "serving"):  # every file but code that a wheel would lack unless told
        files = [path.relative_to(project) for path in (project / part).rglob("*") if path.is_file()]
        assert [str(file) for file in files if not (packages / file).is_file()] == []
    env = {
        "PATH": os.environ["PATH"],
        "NIGHTSHELF_IDENTITY__SECRET": "a secret of the tests",
        "NIGHTSHELF_SERVING__PORT": str(port),
        "NIGHTSHELF_REDIS__URL": f"unix://{tmp_path}/none",
    }
    warm = {**env, "NIGHTSHELF_WARM__TABLE": "slates"}
    refused = subprocess.run([python, "-m", "serving"], cwd=tmp_path, env=warm, capture_output=True, text=True)
    assert (refused.returncode, "install nightshelf[serving,warm]" in refused.stderr) == (2, True)
    server = subprocess.Popen([python, "-m", "serving"], cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=2)
    try:
        assert alive(f"http://127.0.0.1:{port}/livez") == b'{"status":"alive"}'
    finally:
        server.terminate()
        server.wait(30)


def alive(url: str) -> bytes:
    """The answer, waited for 30 s."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 30
    while True:
        try:
            with opener.open(url, timeout=5) as answer:
                return answer.read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
