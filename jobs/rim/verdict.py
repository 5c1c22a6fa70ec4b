"""The gate's verdict on one table of one run: written once, read by whoever would take the table out of the lake."""

from dataclasses import asdict, dataclass, field
from datetime import timedelta

import orjson

from jobs.rim.lake import as_of_of
from jobs.rim.lineage import MAKERS, Lineage, content_hash, settings_hash
from jobs.rim.manifest import Manifest, compact


@dataclass(frozen=True)
class Verdict:
    """Passed or not, the statistics seen, a line per failed expectation, and what is legal but should be looked at."""

    table: str
    version: str
    passed: bool
    statistics: dict[str, float]
    failures: list[str]
    warnings: list[str] = field(default_factory=list)


def verdict_key(table: str, lineage: Lineage) -> str:
    """Its place: by the judged version and the gate's settings, so that a judgement is never mistaken for another's."""
    settings = settings_hash(lineage.settings, ("gate", "slates", "evaluate"))
    rules = content_hash([lineage.version(MAKERS[table]), settings])
    return f"gate/{table}/as_of={compact(lineage.as_of)}/v={rules}.json"


def read_verdict(table: str, lineage: Lineage) -> Verdict | None:
    """The verdict, or None when this version was not judged."""
    data = lineage.lake.store.get(verdict_key(table, lineage))
    return None if data is None else Verdict(**orjson.loads(data))


def write_verdict(verdict: Verdict, lineage: Lineage) -> None:
    lineage.lake.store.put_if_absent(verdict_key(verdict.table, lineage), orjson.dumps(asdict(verdict)))


def earlier_night(table: str, lineage: Lineage, within: timedelta) -> tuple[Verdict, Manifest] | None:
    """The newest night before this one, by at most ``within``, in which the table passed; None without one.

    Of several runs of one night the one made last.
    """
    store, tonight = lineage.lake.store, lineage.as_of
    nights = [key for key in store.walk(f"gate/{table}") if tonight - within <= as_of_of(key) < tonight]
    for as_of in sorted(set(map(as_of_of, nights)), reverse=True):
        verdicts = [Verdict(**orjson.loads(store.get(key))) for key in nights if as_of_of(key) == as_of]
        passed = {verdict.version: verdict for verdict in verdicts if verdict.passed}
        manifests = [lineage.lake.manifest(MAKERS[table], as_of, version) for version in passed]
        made = [manifest for manifest in manifests if manifest is not None]
        if made:
            last = max(made, key=lambda manifest: manifest.created_at)
            return passed[last.version], last
    return None
