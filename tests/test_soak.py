"""The soak: its plan and its eyes in small, then six hours and a night of it for real.

What it compares must differ when it should: a lake that lacks a row, a partition, or has one too many is told apart.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from committed import commit
from lake_fixtures import NIGHT, lake_settings, rows, small_lake

from benchmarks.soak.attempts import Attempt, Look
from benchmarks.soak.equal import compare
from benchmarks.soak.ground import arrivals
from benchmarks.soak.killer import Killer
from benchmarks.soak.plan import WHAT, Kill, draw
from jobs.rim.lineage import Lineage

ROOT = Path(__file__).absolute().parents[1]
TASKS = {"hourly": ["ingest", "trending", "gate", "publish"], "nightly": ["prepare", "recipe", "rank", "publish"]}
END = datetime(2026, 1, 31, tzinfo=UTC)


def test_a_plan_meets_every_step_and_kills_everything_there_is():
    kills = draw(TASKS, {"hourly": 72, "nightly": 3}, 30, seed=1)
    assert kills == draw(TASKS, {"hourly": 72, "nightly": 3}, 30, seed=1)
    assert kills != draw(TASKS, {"hourly": 72, "nightly": 3}, 30, seed=2)
    assert {kill.step for kill in kills[:8]} == {(dag, task) for dag in TASKS for task in TASKS[dag]}
    assert {kill.what for kill in kills} == set(WHAT)
    assert {kill.task for kill in kills if kill.what == "jvm"} <= {"trending", "rank"}
    assert {kill.task for kill in kills if kill.what == "redis" and kill.dag == "nightly"} <= {"publish"}
    assert all(kill.place < (72 if kill.dag == "hourly" else 3) for kill in kills)


def test_lines_arrive_in_the_hour_of_the_newest_before_them():
    moments = ["2026-01-30T17:59:59Z", "2026-01-30T18:10:00Z", "2026-01-29T03:00:00Z", "2031-01-01T00:00:00Z"]
    lines = [b'{"event_time":"%b"}' % moment.encode() for moment in moments] + [b"{broken", b'{"event_time":7}']
    hours = [moment and moment.hour for moment in arrivals(lines, END)]
    assert hours == [17, 18, 18, 18, 18, 18]


class Sleeper:
    """Stands in for the command of a task's try, as Airflow starts it."""

    def __init__(self, attempt: Attempt):
        names = {"DAG_ID": attempt.dag, "TASK_ID": attempt.task, "DAG_RUN_ID": attempt.run}
        names["TRY_NUMBER"] = str(attempt.number)
        env = os.environ | {f"AIRFLOW_CTX_{name}": value for name, value in names.items()}
        argv = [sys.executable, "-c", "import time; time.sleep(60)", "jobs.cli"]
        self.process = subprocess.Popen(argv, env=env)


def wait_for(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killer_finds_an_attempt_by_its_environment_and_strikes_it_once():
    first, again = (Attempt("nightly", "fit", "backfill__2026-01-30", number) for number in (1, 2))
    kill, lines = Kill(1, "nightly", "fit", 0, "command", 0.0), []
    killer = Killer([kill], {("nightly", first.run): 0}, pytest.fail, lines.append)
    sleeper = Sleeper(first)
    wait_for(lambda: killer.watch() or killer.struck)
    assert sleeper.process.wait(10) == -signal.SIGKILL
    wait_for(lambda: killer.watch() or killer.struck[0].gone_s is not None)
    other = Sleeper(again)
    wait_for(lambda: killer.watch() or killer.struck[0].again_s is not None)
    assert (killer.kills, killer.struck[0].attempt, killer.struck[0].met) == ([], first, False)
    assert "command killed" in lines[0]
    other.process.kill()
    other.process.wait()
    assert again not in Look().attempts()


EVENTS = ({"event_id": "1"}, {"event_id": "2", "item_id": "b"})


def lake_of(folder: Path, events=EVENTS, score: float = 1.0, trending: bool = True):
    lake = small_lake(folder, events=events)
    if trending:
        commit(Lineage(lake, lake_settings(folder), NIGHT), "trending", rows("trending", {"score": score}))
    return lake


def unlike(one, other) -> dict[str, tuple[int, int]]:
    return {t.table: (t.missing, t.surplus) for t in compare(one, other) if not t.equal}


def test_lakes_are_equal_row_by_row_or_told_apart(tmp_path):
    calm = lake_of(tmp_path / "calm")
    later = [event | {"ingested_at": END, "batch_id": "another"} for event in reversed(EVENTS)]
    assert unlike(lake_of(tmp_path / "same", later), calm) == {}
    assert {(t.table, t.partitions, t.rows) for t in compare(calm, calm)} >= {("events", 0, 2), ("trending", 1, 1)}
    assert unlike(lake_of(tmp_path / "short", EVENTS[:1]), calm)["events"] == (1, 0)
    assert unlike(lake_of(tmp_path / "twice", (*EVENTS, EVENTS[0])), calm)["events"] == (0, 1)
    assert unlike(lake_of(tmp_path / "other", score=2.0), calm) == {"trending": (1, 1)}
    assert unlike(lake_of(tmp_path / "none", trending=False), calm) == {"trending": (2, 0)}  # the row, the partition


@pytest.mark.slow
def test_six_hours_and_a_night_of_kills_end_as_if_nothing_had_happened(tmp_path):
    asked = {"SOAK_HOURS": "6", "SOAK_KILLS": "8", "SEED": "1", "SOAK_FOLDER": str(tmp_path)}
    argv = [sys.executable, "-m", "benchmarks.soak"]
    done = subprocess.run(argv, cwd=ROOT, env=os.environ | asked, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    told = json.loads((tmp_path / "soak.json").read_text())
    assert len({(kill["dag"], kill["task"]) for kill in told["kills"]}) == 8  # as many steps as kills
    assert {table["table"]: table["partitions"] for table in told["tables"]}["trending"] == 6
    assert not any(told["wrong"].values())
    assert told["n_keys_read"] > 300  # a slate for everybody, and the public lists
