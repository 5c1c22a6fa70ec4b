"""What a run says on the terminal: a line a step, and where the time went."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

# What jobs print about their own time; the rest of a step is start-up of Python and its imports.
SPARK_START = re.compile(r"^spark: started in ([\d.]+) s")
WORK = re.compile(r" in ([\d.]+) s\b")


@dataclass(frozen=True)
class Row:
    """A step: its seconds, and how many of them went into starting Spark and into the work itself, where it says so."""

    step: str
    seconds: float
    spark_start: float = 0.0
    work: float = 0.0


class Report:
    """Steps in order."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.began = time.monotonic()

    @contextmanager
    def step(self, name: str, note: str = "") -> Iterator[list[str]]:
        """Time a block; lines appended to the list that is given are looked through for times."""
        started, lines = time.monotonic(), []
        yield lines
        self.add(name, time.monotonic() - started, lines, note)

    def add(self, name: str, seconds: float, lines: list[str], note: str = "") -> None:
        spark = sum(float(found[1]) for line in lines if (found := SPARK_START.match(line)))
        work = sum(float(found[1]) for line in lines if not SPARK_START.match(line) and (found := WORK.search(line)))
        self.rows.append(Row(name, seconds, spark, work))
        print(f"{name:<34}{seconds:7.1f} s   {note}".rstrip(), flush=True)

    @contextmanager
    def whole(self, name: str) -> Iterator[None]:
        """Account for the part of a block that the steps added within it do not: what drives them."""
        before, started = sum(row.seconds for row in self.rows), time.monotonic()
        yield
        inside = sum(row.seconds for row in self.rows) - before
        self.rows.append(Row(name, time.monotonic() - started - inside))

    def table(self) -> str:
        lines = [f"{'step':<34}{'seconds':>9}{'Spark start':>13}{'work':>8}"]
        for row in self.rows:
            known = ("" if not seconds else f"{seconds:.1f}" for seconds in (row.spark_start, row.work))
            lines.append("{:<34}{:9.1f}{:>13}{:>8}".format(row.step, row.seconds, *known).rstrip())
        return "\n".join([*lines, f"{'all':<34}{time.monotonic() - self.began:9.1f}"])

    def as_dicts(self) -> list[dict]:
        return [asdict(row) for row in self.rows]
