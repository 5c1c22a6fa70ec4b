"""What a run was made of and what the gate said of it."""

from dataclasses import dataclass

from jobs.judging.bounds import Bounds, bounds
from jobs.rim.lineage import MAKERS, Lineage
from jobs.rim.manifest import Manifest
from jobs.rim.shelf import TABLES_OF, generation_name
from jobs.rim.verdict import Verdict, read_verdict


@dataclass(frozen=True)
class Account:
    """Manifests by job in the order of the night, jobs without one; by table its verdict and what was allowed; by
    surface the generation id."""

    runs: dict[str, Manifest]
    missing: list[str]
    verdicts: dict[str, Verdict]
    allowed: dict[str, Bounds]
    generations: dict[str, str]

    @property
    def gate(self) -> str:
        """``passed`` when every table judged was, ``REFUSED`` when one was not, else ``not judged``."""
        if not self.verdicts:
            return "not judged"
        return "passed" if all(verdict.passed for verdict in self.verdicts.values()) else "REFUSED"


def account(lineage: Lineage) -> Account:
    tables = {table: lineage.find(table) for table in MAKERS}
    made = {table: run for table, run in tables.items() if run is not None}
    judged = {table: read_verdict(table, lineage) for table in made}
    verdicts = {table: verdict for table, verdict in judged.items() if verdict is not None}
    return Account(
        {MAKERS[table]: run for table, run in made.items()},
        list(dict.fromkeys(MAKERS[table] for table in tables if table not in made)),
        verdicts,
        {table: allowed(verdict, lineage) for table, verdict in verdicts.items()},
        {
            surface: generation_name(lineage, surface, {table: made[table].files[table] for table in needed})
            for surface, needed in TABLES_OF.items()
            if made.keys() >= set(needed)
        },
    )


def allowed(verdict: Verdict, lineage: Lineage) -> Bounds:
    """The bounds its statistics were judged by; none where the table could not be measured."""
    return bounds(verdict.table, lineage.settings, verdict.statistics) if verdict.statistics else {}
