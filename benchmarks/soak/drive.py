"""Sees a soak through: the hours, then the nights, then whatever step no kill has met yet, once more."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.soak.ground import HOUR, Ground
from benchmarks.soak.killer import Killer
from benchmarks.soak.lines import say
from benchmarks.soak.plan import Kill, draw
from benchmarks.soak.runs import DONE, Run, Runs
from benchmarks.soak.stage import Stage
from deploy.embedded.command import nightshelf
from deploy.embedded.problems import TEMPORARY, Problem

DAGS = ("hourly", "nightly")
LOOK_S, ASK_S = 0.1, 3.0
STILL_S = 900.0  # nothing new in this time: it stands still
CLEARED_TIMES = 5  # of one step, for a kill that its few seconds escape again and again


@dataclass
class Soaked:
    """What happened: the kills, and of each run how it ended and its tasks' states and tries."""

    killer: Killer
    ended_by_themselves: list[str]
    states: dict[tuple[str, str], str] = field(default_factory=dict)
    tasks: dict[tuple[str, str], dict[str, tuple[str, int]]] = field(default_factory=dict)

    def failed(self) -> list[str]:
        return [f"{dag} {run} {state}" for (dag, run), state in self.states.items() if state != "success"]


def soak(ground: Ground, stage: Stage) -> Soaked:
    """History, backfills, kills."""
    stage.prepare(*backfills(ground))
    nightshelf(["ingest", "--path", str(ground.history), "--source", "nightshelf"], stage.env)
    stage.start()
    runs = Runs(stage.url)
    every = {dag: runs.of(dag) for dag in DAGS}
    say(f"soak: {' and '.join(f'{len(found)} runs of {dag}' for dag, found in every.items())} begin")
    tasks = {dag: runs.tasks(dag) for dag in DAGS}
    kills = draw(tasks, {dag: len(found) for dag, found in every.items()}, ground.kills, ground.seed)
    places = {(run.dag, run.run): run.place for found in every.values() for run in found}
    driver = Driver(stage, runs, Killer(kills, places, stage.kill, say))
    driver.finish("hourly")
    runs.unpause("nightly")
    driver.finish("nightly")
    for kill in driver.killer.left():
        driver.once_more(kill, every[kill.dag][-1])
    driver.go_on(lambda: not stage.left and not driver.killer.at_work and driver.through(*DAGS), "the last task")
    return driver.account()


def backfills(ground: Ground) -> list[list[str]]:
    """Both asked for before the scheduler starts: SQLite has one writer. The nights wait, paused, for their hours."""
    first, last = ground.intervals[0], ground.intervals[-1]
    nights = ground.nights[0] - 24 * HOUR, ground.nights[-1] - 24 * HOUR
    create = ["backfill", "create", "--max-active-runs", "1", "--dag-id"]
    return [
        ["dags", "unpause", "-y", "hourly"],
        *(
            [*create, dag, "--from-date", begin.isoformat(), "--to-date", end.isoformat()]
            for dag, begin, end in (("hourly", first, last), ("nightly", *nights))
        ),
    ]


class Driver:
    """Keeps watch over stage and kills while it waits for Airflow."""

    def __init__(self, stage: Stage, runs: Runs, killer: Killer):
        self.stage, self.runs, self.killer = stage, runs, killer

    def go_on(self, done: Callable[[], bool], what: str) -> None:
        """Until ``done``, which is asked every few seconds.

        Raises:
            Problem: no attempt began or ended for a quarter of an hour.
        """
        asked = 0.0
        while True:
            self.killer.watch()
            self.stage.tend()
            if time.monotonic() - asked >= ASK_S:
                if done():
                    return
                asked = time.monotonic()
            if time.monotonic() - self.killer.changed > STILL_S:
                raise Problem(f"nothing happens any more, waiting for {what}: see {self.stage.folder}", TEMPORARY)
            time.sleep(LOOK_S)

    def finish(self, dag: str) -> None:
        """Until every run of a DAG has ended."""
        self.go_on(lambda: self.through(dag), dag)
        say(f"soak: {dag} is through, {len(self.killer.struck)} kills so far")

    def through(self, *dags: str) -> bool:
        """Whether every run has ended; one with a task that was cleared goes on for a moment after it."""
        return all(run.state in DONE for dag in dags for run in self.runs.of(dag))

    def once_more(self, kill: Kill, run: Run) -> None:
        """Clear one task of a run that has ended, as an operator may at any time, so that the kill can meet it."""
        self.killer.hurry = True
        for _ in range(CLEARED_TIMES):
            if kill not in self.killer.kills:
                return
            before = self.runs.states(run)[kill.task][1]
            self.runs.clear(run, kill.task)

            def done(before: int = before) -> bool:
                state, tries = self.runs.states(run)[kill.task]
                return state in DONE and tries > before

            self.go_on(done, f"{run.dag} {run.run}")

    def account(self) -> Soaked:
        soaked = Soaked(self.killer, self.stage.ended_by_themselves)
        for run in (run for dag in DAGS for run in self.runs.of(dag)):
            soaked.states[run.dag, run.run], soaked.tasks[run.dag, run.run] = run.state, self.runs.states(run)
        return soaked
