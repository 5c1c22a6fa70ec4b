"""Which computed runs nobody needs any more, and how they leave.

A run stays while it is young, is among the newest of its job, or is what a release is made of; of roll-ups the first
midnight of each month stays, too, for a rebuild to begin from. Others go: first what says that a generation could be
loaded from them, then their manifests, which lie apart as long as a reader may still be at their files.
"""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import NamedTuple

from jobs.rim.base import midnight
from jobs.rim.garbage import READ_THREADS, RETIRED
from jobs.rim.history import History, Run, generation_key
from jobs.rim.lake import Lake, manifest_key
from jobs.rim.manifest import Manifest, compact, decode, encode, iso

NEWEST = 3  # moments of each job that stay whatever their age: of a recipe, say, that holds for months
ROLLUPS = ("interactions",)  # jobs that go on from an earlier run of their own


class Expired(NamedTuple):
    """Runs that may go, and the generations that could be loaded from them."""

    runs: list[Manifest]
    generations: list[str]


def find_expired(lake: Lake, now: datetime, keep_days: int) -> Expired:
    """What was computed more than ``keep_days`` ago and is needed for nothing."""
    before, needed = iso(now - timedelta(days=keep_days)), released(lake)
    by_job: dict[str, list[Manifest]] = defaultdict(list)
    for run in all_runs(lake):
        by_job[run.job].append(run)
    old = [run for runs in by_job.values() for run in without_kept(runs) if run.created_at < before]
    gone = {Run.of(run) for run in old if Run.of(run) not in needed}
    history = History(lake, "")
    origins = [origin for name in history.generations() if (origin := history.find(name))]
    names = [origin.generation for origin in origins if gone & set(origin.runs.values())]
    return Expired([run for run in old if Run.of(run) in gone], names)


def all_runs(lake: Lake) -> list[Manifest]:
    with ThreadPoolExecutor(READ_THREADS) as pool:
        found = pool.map(lake.store.get, lake.store.walk("manifests"))
        return [decode(Manifest, data) for data in found if data is not None]


def without_kept(runs: list[Manifest]) -> list[Manifest]:
    """The runs of one job but those that stay whatever their age."""
    newest = sorted({run.as_of for run in runs})[-NEWEST:]
    firsts = {id(run) for run in first_of_months(runs)} if runs[0].job in ROLLUPS else set()
    return [run for run in runs if run.as_of not in newest and id(run) not in firsts]


def first_of_months(runs: list[Manifest]) -> list[Manifest]:
    """Of each month the run of its first midnight; of several the one committed last."""
    firsts: dict[str, Manifest] = {}
    for run in sorted(runs, key=lambda run: (run.as_of, run.created_at)):
        moment, month = datetime.fromisoformat(run.as_of), run.as_of[:7]
        if moment == midnight(moment) and run.as_of <= firsts.get(month, run).as_of:
            firsts[month] = run
    return list(firsts.values())


def released(lake: Lake) -> set[Run]:
    """The runs of every generation that is live, kept or pinned by the newest release of a namespace."""
    names: set[str] = set()
    for namespace in {key.split("/")[1] for key in lake.store.walk("releases")}:
        live = History(lake, namespace).newest()
        names |= {*live.kept(), *live.pinned} if live else set()
    origins = [History(lake, "").find(name) for name in names]
    return {run for origin in origins if origin for run in origin.runs.values()}


def retire(lake: Lake, expired: Expired) -> None:
    """Killed anywhere, the next one goes on: a run has its manifest in one of two places, or in both."""
    lake.store.delete([generation_key(name) for name in expired.generations])
    for run in expired.runs:
        as_of = datetime.fromisoformat(run.as_of)
        made = compact(datetime.fromisoformat(run.created_at))
        lake.store.put_if_absent(f"{RETIRED}/{run.job}/as_of={compact(as_of)}/v={run.version}-{made}.json", encode(run))
        lake.store.delete([manifest_key(run.job, as_of, run.version)])
