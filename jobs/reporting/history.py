"""What this night and those before it left in the lake, found by their manifests."""

from datetime import datetime

import orjson

from jobs.rim.lake import Lake
from jobs.rim.manifest import Manifest, compact, decode


def newest_runs(lake: Lake, job: str, before: datetime, n: int, at: bool = False) -> list[Manifest]:
    """The runs of a job for the last ``n`` moments before one (or ``at`` it), oldest first.

    Of several runs for one moment the one committed last counts.
    """
    limit = f"as_of={compact(before)}"
    by_moment: dict[str, list[str]] = {}
    for key in lake.store.walk(f"manifests/{job}"):
        moment = key.split("/")[2]
        if moment < limit or (at and moment == limit):
            by_moment.setdefault(moment, []).append(key)
    last = [by_moment[moment] for moment in sorted(by_moment)[-n:]]
    runs = [[decode(Manifest, lake.store.get(key)) for key in keys] for keys in last]
    return [max(equals, key=lambda run: (run.created_at, run.version)) for equals in runs]


def gate_said(lake: Lake, table: str, run: Manifest) -> str:
    """``passed``, ``REFUSED`` or ``not judged``; judged twice under different settings, a pass counts."""
    moment = compact(datetime.fromisoformat(run.as_of))
    found = [orjson.loads(lake.store.get(key)) for key in lake.store.walk(f"gate/{table}/as_of={moment}")]
    verdicts = {verdict["passed"] for verdict in found if verdict["version"] == run.version}
    return "passed" if True in verdicts else "REFUSED" if verdicts else "not judged"
