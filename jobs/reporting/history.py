"""What the gate said of a run that is in the lake."""

from datetime import datetime

import orjson

from jobs.rim.lake import Lake
from jobs.rim.manifest import Manifest, compact


def gate_said(lake: Lake, table: str, run: Manifest) -> str:
    """``passed``, ``REFUSED`` or ``not judged``; judged twice under different settings, a pass counts."""
    moment = compact(datetime.fromisoformat(run.as_of))
    found = [orjson.loads(lake.store.get(key)) for key in lake.store.walk(f"gate/{table}/as_of={moment}")]
    verdicts = {verdict["passed"] for verdict in found if verdict["version"] == run.version}
    return "passed" if True in verdicts else "REFUSED" if verdicts else "not judged"
