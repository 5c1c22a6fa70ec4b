"""What became of every row: accepted + duplicate + quarantined by reason = read."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Accounts:
    """Counts of one ingest's event rows; ``catalogue`` counts those of items and users apart.

    ``known`` are the duplicates that the lake had before; ``late`` those accepted into hours covered before, by day in
    ``reopened``.
    """

    read: int = 0
    accepted: int = 0
    duplicate: int = 0
    known: int = 0
    anonymous: int = 0
    stitched: int = 0
    late: int = 0
    reopened: Counter = field(default_factory=Counter)
    quarantined: Counter = field(default_factory=Counter)
    by_kind: Counter = field(default_factory=Counter)
    unknown_fields: Counter = field(default_factory=Counter)
    catalogue: dict[str, dict] = field(default_factory=dict)

    def check(self) -> None:
        """Raise AssertionError when a row is unaccounted for: a bug, and nothing is committed."""
        total = self.accepted + self.duplicate + self.quarantined.total()
        if total != self.read:
            raise AssertionError(f"accounts: accepted + duplicate + quarantined = {total}, read = {self.read}")

    def as_json(self) -> dict:
        """For the batch's manifest."""
        counts = ("read", "accepted", "duplicate", "known", "anonymous", "stitched", "late")
        plain = {name: getattr(self, name) for name in counts}
        counters = ("reopened", "quarantined", "by_kind", "unknown_fields")
        return plain | {n: dict(sorted(getattr(self, n).items())) for n in counters} | {"catalogue": self.catalogue}


def table(accounts: dict) -> str:
    """Accounts as aligned lines; parts are indented below what they are parts of."""
    rows = [("read", accounts["read"]), ("accepted", accounts["accepted"])]
    rows += [(f"  {kind}", n) for kind, n in sorted(accounts["by_kind"].items())]
    rows += [(f"  of these {name}", accounts[name]) for name in ("anonymous", "stitched", "late") if accounts[name]]
    rows += [(f"    of {day}", n) for day, n in sorted(accounts.get("reopened", {}).items())]
    rows += [("duplicate", accounts["duplicate"]), ("quarantined", sum(accounts["quarantined"].values()))]
    rows += [(f"  {reason}", n) for reason, n in sorted(accounts["quarantined"].items())]
    for name, part in accounts.get("catalogue", {}).items():
        rows += [(name, part["accepted"])] + [(f"  refused: {r}", n) for r, n in sorted(part["quarantined"].items())]
    rows += [(f"field not of ours: {name}", n) for name, n in sorted(accounts["unknown_fields"].items())]
    width = max(len(label) for label, _ in rows)
    digits = max(len(f"{n:,}") for _, n in rows)
    return "\n".join(f"{label:<{width}}  {n:>{digits},}" for label, n in rows)
