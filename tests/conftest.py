"""What all tests share: a clean environment, markers, data sets, one Spark session, an account of what did not run.

A test that cannot run here is skipped and listed with the command that adds what it needs. Under REQUIRE=all a skip is
a failure, except for tests marked ``data`` when the data set is absent.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded import house, java

ROOT = Path(__file__).absolute().parents[1]
DATA = Path(os.environ.get("TEST_DATA", ROOT.parent / "shared" / "data"))
# settings, and make's to its like
FROM_OUTSIDE = ("NIGHTSHELF_", "MAKE", "MFLAGS", "ARGS", "DATA", "SOURCE", "PORT", "SOAK_", "SEED")
LONGEST = ("soak", "make_run", "bench", "nightly", "dags", "cluster")  # begun first
NEED = "needs {what}; add it: {command}"


def pytest_configure(config: pytest.Config) -> None:
    """Tests see neither settings nor servers of whoever starts them."""
    for name in list(os.environ):
        if name.startswith(FROM_OUTSIDE) or name not in house.clean(os.environ):
            del os.environ[name]
    os.chdir(ROOT)
    house.LOGS.mkdir(parents=True, exist_ok=True)
    os.environ["JAVA_HOME"] = java.find_java_home()
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    main = sys.modules["__main__"]
    if not hasattr(main, "__file__"):  # a worker of xdist: PySpark would take it for its own doctests, and exit
        main.__file__ = pytest.__file__


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files run side by side: a long one begun last would be waited for alone."""
    place = {f"test_{name}.py": k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        program, command = marker.args
        if shutil.which(program) is None:
            pytest.skip(NEED.format(what=program, command=command))
    for marker in item.iter_markers("data"):
        if not data_set(marker.args[0]).is_dir():
            pytest.skip(
                NEED.format(what=f"the data set {marker.args[0]}", command=f"put it into {DATA} or say TEST_DATA=")
            )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = yield
    return required(report, may_be_absent=item.get_closest_marker("data") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    report = yield
    return required(report, may_be_absent=False)


def required(report, may_be_absent: bool):
    """Under REQUIRE=all a skip becomes a failure; expected failures (xfail) stay what they are."""
    if os.environ.get("REQUIRE") == "all" and report.skipped and not may_be_absent and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"skipped although REQUIRE=all: {reason_of(report)}"
    return report


def reason_of(report) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple | list) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter) -> None:
    """Each reason once, with the tests it kept from running."""
    kept: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        kept.setdefault(reason_of(report), []).append(report.nodeid)
    if kept:
        terminalreporter.section("not run on this machine")
    for reason, tests in kept.items():
        terminalreporter.write_line(reason)
        for test in tests:
            terminalreporter.write_line(f"    {test}")


def data_set(name: str) -> Path:
    """The folder of a data set; tests that read it carry ``@pytest.mark.data(name)``."""
    return DATA / name


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder that holds the data sets, one folder each."""
    return DATA


@pytest.fixture(scope="session")
def spark() -> Iterator:
    """One session for all tests that need Spark, with the settings' defaults."""
    from conf.settings import load_settings
    from jobs.rim.spark_session import spark_session

    with spark_session(load_settings(), "tests", quick=True) as session:
        yield session
