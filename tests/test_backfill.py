"""An operator backfills three days of ``nightly`` in Airflow's own UI: a real browser, scheduler, Redis and real jobs.

Airflow keeps its state in SQLite, as `make airflow` has it. The day after those three is live before it begins.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from browser import Browser, browser, executable
from conftest import NEED
from lake_fixtures import lake_settings
from redis_server import RedisServer
from resident_command import write_client

from conf.settings import Settings
from deploy.embedded import airflow as embedded
from deploy.embedded import processes
from deploy.embedded.checks import free_port
from deploy.embedded.scheduler import components, wait_until_up
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage, job
from jobs.rim.redis_client import connect
from jobs.rim.redis_release import read_release
from schemas.keys import Keys

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,  # six nights at once, and a browser
    pytest.mark.skipif(not executable(), reason=NEED.format(what="chromium", command="apt-get install chromium")),
]
ROOT = Path(__file__).absolute().parents[1]
SECRET = "a secret of the tests"
SHOP = ("--events", "3000", "--days", "10", "--start", "2026-01-01", "--seed", "3")
LIVE = datetime(2026, 1, 11, tzinfo=UTC)  # as of its end
DAYS = [LIVE - timedelta(days=back) for back in (3, 2, 1)]
FIRST, LAST = (f"{day - timedelta(days=1):%Y-%m-%d}" for day in (DAYS[0], DAYS[-1]))  # the form asks for beginnings
NIGHTLY = ("interactions", "cooccurrence", "cold", "fit", "candidates", "slates")  # made anew each night
SURFACES = ("for_you", "similar", "bought_together")
WAIT_S = 240
RUNS_S = 600  # three nights take 20 s; a task that Airflow loses is missed after 2 minutes and tried again after 1 more


@dataclass
class House:
    """A lake and a Redis, the environment that leads to them, and the command."""

    folder: Path
    env: dict[str, str]
    program: Path

    @property
    def settings(self) -> Settings:
        return lake_settings(self.folder, identity={"secret": SECRET}, redis={"url": self.env["NIGHTSHELF_REDIS__URL"]})

    @property
    def lake(self) -> Lake:
        return Lake.open(self.settings.lake)

    def run(self, *words: str) -> str:
        done = subprocess.run([self.program, *words], env=self.env, capture_output=True, text=True, timeout=WAIT_S)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def night(self, as_of: datetime) -> None:
        """What the DAG does, by hand."""
        run = ("--as-of", as_of.isoformat(), "--snapshot", "1")
        self.run(
            "run", "interactions", "cooccurrence", "cold", "recipe", "evaluate", "fit", "candidates", "slates", *run
        )

    def moments(self) -> dict[str, set[str]]:
        """The ``as_of`` of every committed run, by job, as folders name it."""
        folders = (self.folder / "lake" / "manifests").glob("*/as_of=*")
        found: dict[str, set[str]] = {}
        for folder in folders:
            found.setdefault(folder.parent.name, set()).add(folder.name)
        return found

    def rows(self, name: str, as_of: datetime) -> dict[str, Counter]:
        """What a job left for a night, in any order."""
        lineage = Lineage(self.lake, self.settings, as_of, 1)
        return {table: Counter(map(repr, lineage.read(table).to_pylist())) for table in job(name).outputs}

    def release(self):
        return read_release(connect(self.settings), Keys("ns"))


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[House]:
    """An empty lake, an empty Redis and the resident command."""
    folder = tmp_path_factory.mktemp("operator")
    program = folder / "bin" / "nightshelf"
    redis = RedisServer().start()
    place = redis.folder / "resident.sock"  # short: a Unix socket's path may have 107 bytes
    write_client(program, place)
    with contextlib.ExitStack() as stack:
        stack.callback(redis.close)
        log = stack.enter_context(open(folder / "resident.log", "w"))
        words = [sys.executable, str(ROOT / "tests" / "resident_command.py"), str(place)]
        own = {**os.environ, "PYTHONPATH": str(ROOT)}
        resident = stack.enter_context(processes.started(words, own, log, grace_s=1))
        wait(place.exists, resident)
        env = {**os.environ, "NIGHTSHELF_LAKE__URI": str(folder / "lake"), "NIGHTSHELF_IDENTITY__SECRET": SECRET}
        env |= {"NIGHTSHELF_REDIS__URL": redis.url, "NIGHTSHELF_LAKE__MIN_FREE_MB": "0"}
        yield House(folder, env, program)


def wait(
    done: Callable[[], object], *running: subprocess.Popen, longest_s: float = WAIT_S, why: Callable = lambda: ""
) -> None:
    """Until it is so, and no longer than its processes live; ``why`` says what there is to say if it is never so."""
    deadline = time.monotonic() + longest_s
    while not done():
        assert all(process.poll() is None for process in running)
        assert time.monotonic() < deadline, why()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def shop(house) -> Iterator[Future[tuple[House, House]]]:
    """Ten days of a shop, the last one's release live, and a copy of its lake; at work while Airflow starts."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(fill_shop, house)


def fill_shop(house: House) -> tuple[House, House]:
    house.run("generate", "--out", str(house.folder / "traffic"), *SHOP)
    house.run("ingest", "--path", str(house.folder / "traffic"), "--source", "nightshelf")
    house.night(LIVE)
    run = ("--as-of", LIVE.isoformat(), "--snapshot", "1")
    house.run("gate", "--tables", "item_neighbors", "content_neighbors", "slates", *run)
    house.run("publish", "--surfaces", *SURFACES, *run)
    copy = house.folder / "by hand"
    shutil.copytree(house.folder / "lake", copy / "lake")
    return house, House(copy, house.env | {"NIGHTSHELF_LAKE__URI": str(copy / "lake")}, house.program)


@pytest.fixture(scope="module")
def airflow(house) -> Iterator[str]:
    """The URL of Airflow's UI, with the scheduler at work and all DAGs paused."""
    home, port = house.folder / "airflow", free_port()
    env = house.env | embedded.environment(port) | embedded.database(home, "")
    env |= {"AIRFLOW_HOME": str(home), "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs")}
    env |= {"AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor")}
    env |= {"PATH": os.pathsep.join([str(house.program.parent), str(Path(sys.executable).parent), os.environ["PATH"]])}
    url = f"http://127.0.0.1:{port}"
    for words in (("db", "migrate"), ("dags", "reserialize")):
        subprocess.run([*embedded.AIRFLOW, *words], env=env, check=True, capture_output=True, timeout=WAIT_S)
    with contextlib.ExitStack() as stack:
        for name, arguments in components(port).items():
            log = stack.enter_context(open(home / f"{name}.log", "w"))
            process = stack.enter_context(processes.started([*embedded.AIRFLOW, *arguments], env, log))
            wait_until_up({name: process}, url)
        yield url


def click(page: Browser, words: str, where: str = "[role=dialog] *") -> None:
    """On the innermost thing that says just these words, once it is there and may be clicked."""
    here = f"[...document.querySelectorAll({where!r})].filter(e => e.textContent.trim() == {words!r}).at(-1)"
    page.wait(f"{here} && !{here}.closest('button')?.disabled", WAIT_S)
    page.run(f"{here}.click()")


def wait_for(page: Browser, words: str) -> None:
    page.wait(f"document.body.textContent.includes({words!r})", WAIT_S)


def fill(page: Browser, field: str, value: str) -> None:
    """As React hears it: the element's own setter, then what typing sets off."""
    page.run(
        f"(() => {{ const field = document.querySelector({field!r}); field.focus();"
        f"Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, {value!r});"
        "for (const type of ['input', 'change']) field.dispatchEvent(new Event(type, {bubbles: true}));"
        "field.blur() })()"
    )


def fill_date(page: Browser, which: int, day: str) -> None:
    """The form's date fields open on a click; without a time, the first is a day's beginning, the second its end."""
    toggle = f"document.querySelectorAll('[data-testid=datetime-input]')[{which}].click()"
    field = "input[placeholder='YYYY/MM/DD']"
    page.run(toggle)
    page.wait(f'!!document.querySelector("{field}")', WAIT_S)
    fill(page, field, day.replace("-", "/"))
    page.run(toggle)
    page.wait(f'!document.querySelector("{field}")', WAIT_S)


def open_form(page: Browser, url: str, first: str, last: str) -> None:
    """The form of a backfill of ``nightly``, with its dates."""
    page.open(f"{url}/dags/nightly")
    click(page, "Trigger", "button *, button")
    click(page, "Backfill")
    page.wait("document.querySelectorAll('[data-testid=datetime-input]').length == 2", WAIT_S)
    fill_date(page, 0, first)
    fill_date(page, 1, last)


def runs(page: Browser) -> dict[str, str]:
    """The backfill's runs of ``nightly`` → state, as the UI's own API says; unpaused, the DAG has another one."""
    return page.run(
        "fetch('/api/v2/dags/nightly/dagRuns').then(answer => answer.json())"
        ".then(told => told.dag_runs.filter(run => run.run_type == 'backfill'))"
        ".then(runs => Object.fromEntries(runs.map(run => [run.dag_run_id, run.state])))"
    )


def tries(house: House) -> str:
    """The end of every task's log that has not just ended well, of the command's and of the scheduler's."""
    home = house.folder / "airflow"
    logs = [*sorted(home.glob("logs/dag_id=*/**/attempt=*.log")), home / "scheduler.log", house.folder / "resident.log"]
    ends = {log: log.read_text().splitlines()[-20:] for log in logs}
    return "\n".join(
        f"{log}:\n" + "\n".join(line[:600] for line in lines)
        for log, lines in ends.items()
        if not any("return code 0" in line for line in lines)
    )


def backfill(page: Browser, url: str) -> None:
    open_form(page, url, FIRST, LAST)
    wait_for(page, "3 runs will be triggered.")
    fill(page, "input[name=max_active_runs]", "3")
    click(page, "Run Backwards")
    click(page, "Run Backfill", "[role=dialog] button")
    wait_for(page, "Backfill generated")


def read_report(page: Browser, url: str, run: str) -> str:
    """What the page says that a run's gate has a link to."""
    page.open(f"{url}/dags/nightly/runs/{quote(run)}/tasks/gate")
    click(page, "Details", "a")
    wait_for(page, "Extra Links")
    page.wait_load(lambda: click(page, "Report", "a"))
    return page.run("document.body.innerText")


def test_three_days_backfilled_in_the_ui_are_these_three_and_no_others(shop, airflow):
    """Beside them the same nights are run by hand in a copy of the lake: equal rows come out."""
    shop, by_hand = shop.result()
    before, live = shop.moments(), shop.release()
    with browser() as page, ThreadPoolExecutor(1) as pool:
        page.look(1400)
        backfill(page, airflow)
        nights = pool.submit(lambda: [by_hand.night(as_of) for as_of in DAYS])  # while Airflow is at it
        wait(lambda: set(runs(page).values()) <= {"success", "failed"}, longest_s=RUNS_S, why=lambda: tries(shop))
        assert runs(page) == {f"backfill__{day.isoformat()}": "success" for day in DAYS}
        nights.result()
        report = read_report(page, airflow, f"backfill__{DAYS[0].isoformat()}")
        assert report.startswith(f"Nightshelf, as of {DAYS[0]:%Y-%m-%d}")
        open_form(page, airflow, FIRST, LAST)  # by default only missing runs: now there are none
        wait_for(page, "No runs matching selected criteria.")

    new = {f"as_of={day:%Y%m%dT%H%M%SZ}" for day in DAYS}
    assert {name: moments - before[name] for name, moments in shop.moments().items()} == {
        name: new if name in NIGHTLY else set() for name in before
    }
    for name in NIGHTLY:
        for as_of in DAYS:
            rows = shop.rows(name, as_of)
            assert rows == by_hand.rows(name, as_of), f"{name} as of {as_of}"
            assert sum(map(Counter.total, rows.values())) > 0
    assert shop.release() == live
    assert {surface.as_of for surface in live.surfaces.values()} == {"2026-01-11T00:00:00Z"}
