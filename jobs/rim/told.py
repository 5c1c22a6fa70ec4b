"""The line a step says of itself: rows out, rows in, seconds, and what somebody should look at."""

from collections.abc import Mapping

from jobs.rim.lineage import LIVE_RECIPE, RAW, Job, Lineage
from jobs.rim.manifest import Manifest


def describe_run(manifest: Manifest) -> str:
    """Of a step that has just run."""
    read = ", ".join(f"{n:,} {table}" for table, n in manifest.measured["rows_in"].items())
    source = f" from {read}" if read else ""
    ending = describe_engine(manifest) + describe_warnings(manifest)
    seconds = f"{manifest.measured['seconds']:.1f} s"
    return f"{describe_rows(manifest)}{source} in {seconds}, version {manifest.version}{ending}"


def describe_rows(manifest: Manifest) -> str:
    return ", ".join(f"{manifest.rows(table):,} {table}" for table in manifest.files)


def describe_engine(manifest: Manifest) -> str:
    """Of several engines the one that was chosen, and why."""
    chosen = manifest.measured
    if "engine" not in chosen:
        return ""
    part = (
        "" if chosen.get("share_of_users", 1) == 1 else f", the rest from {chosen['share_of_users']:.0%} of the users"
    )
    return f"; by {chosen['engine']}: {chosen['why']} ({chosen['estimate_mb']:,} MiB of memory estimated){part}"


def describe_warnings(manifest: Manifest) -> str:
    """What the job measured under ``warnings``: its result stands, but somebody should look."""
    return "".join(f"; warning: {warning}" for warning in manifest.measured.get("warnings", ()))


def rows_in(of: Job, lineage: Lineage, inputs: Mapping) -> dict[str, int]:
    """Rows of each input as it was read, by what the manifests say where nothing else counted them.

    Of events those of the files: a few may lie outside of the days asked for.
    """
    start = inputs["base"].start if of.base else lineage.window_start(of)

    def count(table: str) -> int | None:
        if hasattr(inputs[table], "num_rows"):
            return inputs[table].num_rows
        if table == "events":
            return sum(file.rows for file in lineage.lake.event_files(lineage.snapshot, start, lineage.moment(of)))
        return None if table in (*RAW, LIVE_RECIPE) else lineage.resolve(table).rows(table)

    counted = {table: count(table) for table in of.inputs}
    return {table: n for table, n in counted.items() if n is not None}
