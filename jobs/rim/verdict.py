"""The gate's verdict on one table of one run: written once, read by whoever would take the table out of the lake."""

from dataclasses import asdict, dataclass

import orjson

from jobs.rim.lineage import MAKERS, Lineage, content_hash, settings_hash
from jobs.rim.manifest import compact


@dataclass(frozen=True)
class Verdict:
    """Passed or not, the statistics seen, and one line per failed expectation."""

    table: str
    version: str
    passed: bool
    statistics: dict[str, float]
    failures: list[str]


def verdict_key(table: str, lineage: Lineage) -> str:
    """Its place: by the judged version and the gate's settings, so that a judgement is never mistaken for another's."""
    rules = content_hash([lineage.version(MAKERS[table]), settings_hash(lineage.settings, ("gate", "slates"))])
    return f"gate/{table}/as_of={compact(lineage.as_of)}/v={rules}.json"


def read_verdict(table: str, lineage: Lineage) -> Verdict | None:
    """The verdict, or None when this version was not judged."""
    data = lineage.lake.store.get(verdict_key(table, lineage))
    return None if data is None else Verdict(**orjson.loads(data))


def write_verdict(verdict: Verdict, lineage: Lineage) -> None:
    lineage.lake.store.put_if_absent(verdict_key(verdict.table, lineage), orjson.dumps(asdict(verdict)))
