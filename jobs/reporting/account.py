"""What a run was made of and what the gate said of it."""

from dataclasses import dataclass

from jobs.judging.bounds import Bounds, bounds
from jobs.rim.lineage import MAKERS, Lineage
from jobs.rim.manifest import Manifest, iso
from jobs.rim.packing import generation_id
from jobs.rim.shelf import TABLE_OF
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
        {surface: generation(lineage, surface, made[t].files[t]) for surface, t in TABLE_OF.items() if t in made},
    )


def allowed(verdict: Verdict, lineage: Lineage) -> Bounds:
    """The bounds its statistics were judged by; none where the table could not be measured."""
    return bounds(verdict.table, lineage.settings, verdict.statistics) if verdict.statistics else {}


def generation(lineage: Lineage, surface: str, files: list) -> str:
    """The id a publish of this surface gives it."""
    n_items, key_version = lineage.batches[-1].n_items, lineage.settings.identity.key_version
    return generation_id(surface, iso(lineage.as_of), files, n_items, key_version)
