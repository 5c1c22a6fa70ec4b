"""The main job as a user meets it: a clean clone in a folder with a space, another time zone, no Java, no Redis."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from project_copy import begin, copy_project, end_begun, make, running_in
from readme import block, masked

from deploy.embedded.checks import free_port

pytestmark = pytest.mark.slow
ABSENT = re.compile(r"java|redis|jcmd|keytool")
DEAD_NETWORK = {
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "UV_OFFLINE": "1",
}


@pytest.fixture(autouse=True)
def nothing_left_running():
    yield
    end_begun()


@pytest.fixture(scope="module")
def path_without_java_and_redis(tmp_path_factory) -> str:
    tools = tmp_path_factory.mktemp("tools")
    for folder in ("/bin", "/usr/bin"):
        for tool in Path(folder).iterdir():
            if tool.is_file() and not ABSENT.search(tool.name) and not (tools / tool.name).exists():
                (tools / tool.name).symlink_to(tool)
    return str(tools)


@pytest.fixture(scope="module")
def first(tmp_path_factory, path_without_java_and_redis):
    """The clone after its first `make run`, which followed an installation that broke off, and what that said."""
    folder = copy_project(tmp_path_factory.mktemp("a clean") / "night shelf")
    python = f"PYTHON={sys.executable}"
    broken_off = make(
        folder, "install", python, **DEAD_NETWORK, PIP_RETRIES="0", PIP_NO_CACHE_DIR="1", PIP_FIND_LINKS=""
    )
    assert "Error 75" in broken_off.stderr
    done = make(folder, "run", python, PATH=path_without_java_and_redis, JAVA_HOME="", TZ="Asia/Kolkata")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def slates_of(said: str) -> list[str]:
    """The lines between the steps and the table of times."""
    lines = said.partition("\nWhere the time went")[0].splitlines()
    return [line for line in lines if re.match(r"\S+ \(personal, |  \d+\. ", line)]


def lake_of(folder: Path) -> dict[str, int]:
    lake = folder / ".nightshelf" / "lake"
    return {path.relative_to(lake).as_posix(): path.stat().st_size for path in lake.rglob("*.parquet")}


def test_first_run_installs_and_shows_slates_with_titles_and_reasons(first):
    folder, said = first
    slates = slates_of(said)
    assert len([line for line in slates if not line.startswith(" ")]) == 5
    assert len([line for line in slates if line.startswith("  ")]) == 25
    assert len([line for line in slates if " — because of " in line]) > 12
    assert said.rstrip().endswith("`make serve` reopens this release in the browser.")
    assert running_in(folder) == []


def test_readme_shows_what_a_first_run_says(first):
    _, said = first
    # sorted: tasks that need nothing of each other run in any order
    assert sorted(masked(said).splitlines()) == sorted(masked(block("make run").shown).splitlines())


def test_everything_it_leaves_is_in_two_folders(first):
    folder, _ = first
    new = {path.name for path in folder.iterdir()} - {path.name for path in copy_project(folder.parent / "c").iterdir()}
    assert {name for name in new if not name.endswith(".egg-info")} <= {".venv", ".nightshelf", "__pycache__"}
    assert (folder / ".nightshelf" / "secret").stat().st_mode & 0o777 == 0o600


def test_second_run_installs_nothing_needs_no_network_and_gives_equal_rows(first):
    folder, said = first
    rows = lake_of(folder)
    done = make(folder, "run", TZ="America/New_York", **DEAD_NETWORK)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "installing" not in done.stdout
    assert slates_of(done.stdout) == slates_of(said)
    assert lake_of(folder) == rows
    assert running_in(folder) == []


def test_ctrl_c_ends_all_and_the_release_is_served_afterwards(first):
    folder, said = first
    stopped = begin(folder, "run")
    assert "ingest" in stopped.stdout.readline() + stopped.stdout.readline()
    os.killpg(stopped.pid, signal.SIGINT)
    _, errors = stopped.communicate(timeout=30)
    assert stopped.returncode == -signal.SIGINT  # what a shell calls 130; make adds the code of what it ran
    assert "Error 130" in errors
    assert "Traceback" not in errors
    assert running_in(folder) == []

    port = free_port()
    server = begin(folder, "serve", f"PORT={port}")
    lines = [server.stdout.readline() for _ in range(2)]
    assert lines[0].startswith(f"Serving at http://127.0.0.1:{port} until Ctrl-C")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(lines[1].strip(), timeout=10) as answer:
        items = json.load(answer)["items"]
    shown = [line for line in slates_of(said) if line.startswith("  ")]
    assert [item["title"] for item in items[:5]] == [
        line[5:].partition(" — ")[0].partition(" (")[0] for line in shown[:5]
    ]
    told = block("nightshelf explain")
    words = [".venv/bin/python", "-m", "jobs.cli", *shlex.split(told.script)[1:], "--url", f"http://127.0.0.1:{port}"]
    explained = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60)
    assert masked(explained.stdout) == masked(told.shown), explained.stderr
    os.killpg(server.pid, signal.SIGINT)
    server.communicate(timeout=30)
    assert running_in(folder) == []


def test_airflow_shows_both_dags_and_ends_with_ctrl_c(first):
    folder, _ = first
    port = free_port()
    airflow = begin(folder, "airflow", f"PORT={port}")
    assert airflow.stdout.readline().startswith(f"Airflow at http://127.0.0.1:{port} until Ctrl-C"), (
        airflow.stderr.read()
    )
    assert len(running_in(folder)) >= 5  # make, ours, Redis, and three of Airflow's
    os.killpg(airflow.pid, signal.SIGINT)
    _, errors = airflow.communicate(timeout=60)
    assert "Error 130" in errors
    assert running_in(folder) == []


def test_make_test_is_pytest_with_arguments(first):
    folder, _ = first
    done = make(folder, "test", "ARGS=-q tests/test_policy.py -k arrow", COVERAGE_PROCESS_START="", COVERAGE_FILE="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed, " in done.stdout


def test_clean_removes_what_runs_left(first):
    folder, _ = first
    assert make(folder, "clean").returncode == 0
    assert not (folder / ".nightshelf").exists()
    done = make(folder, "serve")
    assert done.stderr.splitlines()[0] == "nightshelf: nothing was published yet: run `make run` first"
