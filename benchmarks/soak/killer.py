"""Carries out the kills: watches attempts come and go, strikes when one is due, and writes down what came of it."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median

from benchmarks.soak.attempts import Attempt, Look, Processes
from benchmarks.soak.plan import LEAST_S, Kill

AT_ONCE_S = 0.3  # the least a step takes that says nothing else: Python's own start
PIDS = ("command", "runner", "executor", "jvm", "worker")


@dataclass
class Struck:
    """A kill that was carried out; times in seconds. ``gone_s``: until no process of the attempt was left;
    ``again_s``: until the task's next attempt began; None: never, for it went on.
    """

    kill: Kill
    attempt: Attempt
    what: str
    at_s: float
    into_s: float
    gone_s: float | None = None
    again_s: float | None = None
    met: bool = False  # the next attempt began while processes of this one were left

    def as_json(self) -> dict:
        one, kill = self.attempt, self.kill
        told = {"number": kill.number, "dag": one.dag, "task": one.task, "run": one.run, "try": one.number}
        told |= {"what": self.what, "at_s": self.at_s, "into_s": self.into_s}
        return told | {"gone_s": self.gone_s, "again_s": self.again_s, "met": self.met}


@dataclass
class Seen:
    """When an attempt was first and last seen, and whether it was struck."""

    first: float
    last: float
    struck: bool = False


@dataclass
class Killer:
    """``places``: of each run its place in its backfill; ``service`` kills one of the stage's."""

    kills: list[Kill]
    places: Mapping[tuple[str, str], int]
    service: Callable[[str], None]
    say: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)
    look: Look = field(default_factory=Look)
    seen: dict[Attempt, Seen] = field(default_factory=dict)
    struck: list[Struck] = field(default_factory=list)
    changed: float = field(default_factory=time.monotonic)  # when an attempt last came or went
    at_work: int = 0  # attempts there are
    hurry: bool = False  # strike in any run, at once: the backfills are over, what is left was cleared for it

    def watch(self) -> None:
        """One look: to be called often."""
        now, found = time.monotonic(), self.look.attempts()
        if len(found) != self.at_work or found.keys() - self.seen.keys():
            self.changed, self.at_work = now, len(found)
        for attempt in found:
            self.seen.setdefault(attempt, Seen(now, now)).last = now
        self.follow(found, now)
        for attempt, processes in found.items():
            kill = self.due(attempt, now - self.seen[attempt].first)
            if kill and self.strike(kill, attempt, processes, now):
                self.kills.remove(kill)
                break  # what is there now has changed

    def due(self, attempt: Attempt, age_s: float) -> Kill | None:
        """The first of the kills whose time has come in this attempt; one attempt is struck once."""
        place = self.places.get((attempt.dag, attempt.run))
        if self.seen[attempt].struck or place is None:
            return None
        usual_s = 0 if self.hurry else self.usual_s(attempt)
        for kill in (kill for kill in self.kills if kill.step == attempt.step):
            if (self.hurry or kill.place <= place) and age_s >= kill.share * usual_s:
                return kill
        return None

    def usual_s(self, attempt: Attempt) -> float:
        """How long the step's attempts took that nobody disturbed."""
        took = [
            seen.last - seen.first
            for other, seen in self.seen.items()
            if other.step == attempt.step and not seen.struck and other.run != attempt.run
        ]
        return median(took) if took else LEAST_S.get(attempt.task, AT_ONCE_S)

    def strike(self, kill: Kill, attempt: Attempt, processes: Processes, now: float) -> bool:
        """Kill; False when there is not yet what is to be killed."""
        what = kill.what
        if what in ("jvm", "worker") and self.hurry:
            what = "command"  # a step that was cleared finds its tables and starts no Spark
        if what in PIDS:
            pid = processes.first(what)
            if pid is None:
                return False
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        else:
            self.service(what)
        seen = self.seen[attempt]
        seen.struck = True
        times = round(now - self.began, 1), round(now - seen.first, 1)
        self.struck.append(Struck(kill, attempt, what, *times))
        self.say(f"soak: {times[0]:.0f} s: {what} killed, {times[1]:.1f} s into {attempt.dag}.{attempt.task}, "
                 f"{attempt.run}, try {attempt.number}")  # fmt: skip
        return True

    def follow(self, found: Mapping[Attempt, Processes], now: float) -> None:
        """Note what became of attempts that were struck."""
        for one in self.struck:
            since = round(now - self.began - one.at_s, 1)
            if one.gone_s is None and one.attempt not in found:
                one.gone_s = since
            if one.again_s is None and any(follows(other, one.attempt) for other in found):
                one.again_s, one.met = since, one.gone_s is None

    def left(self) -> list[Kill]:
        """Kills that have not found their step."""
        return list(self.kills)


def follows(other: Attempt, one: Attempt) -> bool:
    return (other.dag, other.task, other.run) == (one.dag, one.task, one.run) and other.number > one.number
