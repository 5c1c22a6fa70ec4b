"""How the recipe stood on its rolling days, as the job ``evaluate`` measured it."""

import pyarrow as pa

from jobs.rim.lineage import Lineage

MEASURE = "ndcg@10"


def measure_standing(lineage: Lineage) -> dict[str, float]:
    """The recipe's pooled NDCG@10 minus that of popularity_30 and of live, and the upper bounds of these.

    Nothing where it was not evaluated; no difference where there was nothing to compare it with.
    """
    manifest = lineage.find("metrics")
    return standing(lineage.lake.read("metrics", manifest.files["metrics"])) if manifest else {}


def standing(metrics: pa.Table) -> dict[str, float]:
    found = {}
    for row in metrics.to_pylist():
        wanted = ("pooled", "recipe", MEASURE, "all")
        named = tuple(row[name] for name in ("cut", "method", "measure", "segment"))
        if named == wanted and row["against"] and row["high"] is not None:
            found |= {f"gain_on_{row['against']}": row["value"], f"gain_high_on_{row['against']}": row["high"]}
    return found
