"""What happens to tests that cannot run here: listed with what would add it, and failures under REQUIRE=all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).absolute().parent
SUITE = """
import pytest

@pytest.mark.needs("no-such-program", "apt-get install no-such-program")
def test_wants_a_program(): ...

@pytest.mark.data("no-such-set")
def test_wants_data(): ...

@pytest.mark.xfail(strict=True)
def test_expected_to_fail(): assert False

def test_runs(): ...
"""


@pytest.mark.parametrize(
    ("require", "code", "counts"),
    [("", 0, "1 passed, 2 skipped, 1 xfailed"), ("all", 1, "1 passed, 1 skipped, 1 xfailed, 1 error")],
)
def test_skips_are_listed_and_count_when_all_is_required(tmp_path, require, code, counts):
    (tmp_path / "test_suite.py").write_text(SUITE)
    argv = [sys.executable, "-m", "pytest", "-c", str(TESTS.parent / "setup.cfg"), "--rootdir", str(TESTS.parent)]
    argv += ["-p", "conftest", "-p", "no:cacheprovider", str(tmp_path / "test_suite.py")]
    env = os.environ | {"REQUIRE": require, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert (done.returncode, counts in done.stdout) == (code, True), done.stdout
    assert "needs no-such-program; add it: apt-get install no-such-program" in done.stdout
    assert "needs the data set no-such-set" in done.stdout
