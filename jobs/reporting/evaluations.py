"""The metrics table as the report shows it: how the methods did on the days tested, by segment, and over time."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from jobs.kernels.rolling import LIVE, POPULAR, RECIPE, SOURCE
from jobs.reporting.plots import Line

POOLED = "pooled"
METHODS = (RECIPE, LIVE, POPULAR)  # shown in this order, then any other by name
BESIDE_SOURCES = (RECIPE, POPULAR)
SEGMENTS = ("all", "new", "light", "heavy", "cold", "new_items")
SHOWN = ("ndcg@10", "recall@20")


@dataclass(frozen=True)
class Evaluation:
    """The rows of one ``metrics`` table, as dicts, and its ``as_of``."""

    as_of: str
    rows: list[dict]

    def where(self, **wanted: object) -> list[dict]:
        """The rows whose columns have these values."""
        return [row for row in self.rows if all(row[name] == value for name, value in wanted.items())]

    @property
    def methods(self) -> "Evaluation":
        """Without the sources that rank alone."""
        return Evaluation(self.as_of, [row for row in self.rows if not row["method"].startswith(SOURCE)])

    @property
    def sources(self) -> "Evaluation":
        """The sources that rank alone by their own names, and ``BESIDE_SOURCES``; no rows where none was measured."""
        alone = [row for row in self.rows if row["method"].startswith(SOURCE)]
        beside = [row for row in self.rows if row["method"] in BESIDE_SOURCES] if alone else []
        return Evaluation(self.as_of, beside + [row | {"method": row["method"].removeprefix(SOURCE)} for row in alone])

    @property
    def days(self) -> list[str]:
        return sorted({row["cut"] for row in self.rows} - {POOLED})


def in_order(names: Iterable[str], first: tuple[str, ...]) -> list[str]:
    """Distinct names: those of ``first`` in its order, then the others by name."""
    return sorted(set(names), key=lambda name: (first.index(name) if name in first else len(first), name))


def line(name: str, points: Iterable[tuple[str, dict]]) -> Line:
    """A line through (x, row of the metrics table)."""
    found = list(points)
    return Line(
        name,
        [x for x, _ in found],
        [row["value"] for _, row in found],
        [row["low"] for _, row in found],
        [row["high"] for _, row in found],
    )


def by_day(evaluation: Evaluation, measure: str) -> list[Line]:
    """A line a method over the days of one evaluation."""
    rows = [row for row in evaluation.where(measure=measure, against=None, segment="all") if row["cut"] != POOLED]
    rows.sort(key=lambda row: row["cut"])
    methods = in_order((row["method"] for row in rows), METHODS)
    return [line(method, ((row["cut"], row) for row in rows if row["method"] == method)) for method in methods]


def over_time(evaluations: list[Evaluation], measure: str) -> list[Line]:
    """A line a method over successive evaluations, each pooled over its days."""
    return pooled_lines(evaluations, "method", METHODS, measure=measure, segment="all")


def segments_over_time(evaluations: list[Evaluation], measure: str) -> list[Line]:
    """A line a segment over successive evaluations, for the recipe alone."""
    return pooled_lines(evaluations, "segment", SEGMENTS, measure=measure, method=RECIPE)


def pooled_lines(evaluations: list[Evaluation], by: str, first: tuple[str, ...], **wanted: str) -> list[Line]:
    found = [(e.as_of[:10], row) for e in evaluations for row in e.where(cut=POOLED, against=None, **wanted)]
    names = in_order((row[by] for _, row in found), first)
    return [line(name, ((x, row) for x, row in found if row[by] == name)) for name in names]


def by_segment(evaluation: Evaluation, measure: str) -> list[Line]:
    """A line a method over segments."""
    rows = evaluation.where(cut=POOLED, measure=measure, against=None)
    order = in_order((row["segment"] for row in rows), SEGMENTS)
    rows.sort(key=lambda row: order.index(row["segment"]))
    methods = in_order((row["method"] for row in rows), METHODS)
    return [line(method, ((row["segment"], row) for row in rows if row["method"] == method)) for method in methods]


def differences(evaluation: Evaluation) -> list[dict]:
    """Paired differences, pooled, with ``verdict``: the interval lies above 0, below it, or holds it."""
    rows = [row for row in evaluation.where(cut=POOLED) if row["against"] is not None]
    segments = in_order((row["segment"] for row in rows), SEGMENTS)
    rows.sort(key=lambda row: (row["method"], row["against"], row["measure"], segments.index(row["segment"])))
    return [row | {"verdict": judgement(row["low"], row["high"])} for row in rows]


def judgement(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "no interval"
    return "better" if low > 0 else "worse" if high < 0 else "no difference shown"


def measures(evaluation: Evaluation) -> tuple[list[str], list[tuple[str, list[dict | None]]]]:
    """Methods, and for each measure over all users its pooled row by method (None: not measured)."""
    rows = evaluation.where(cut=POOLED, against=None, segment="all")
    methods = in_order((row["method"] for row in rows), METHODS)
    found = {(row["measure"], row["method"]): row for row in rows}
    names = in_order((row["measure"] for row in rows), SHOWN)
    return methods, [(name, [found.get((name, method)) for method in methods]) for name in names]


def told_apart(lines: list[Line]) -> list[Line]:
    """Many lines without their intervals, which would hide each other; ``BESIDE_SOURCES`` stand out."""
    return [replace(line, low=(), high=(), faint=line.name not in BESIDE_SOURCES) for line in lines]


def best_first(evaluation: Evaluation) -> list[tuple[str, list[dict | None]]]:
    """Methods and their pooled rows over all users, one of each measure of ``SHOWN`` (None: not measured).

    The first of these measures gives the order.
    """
    rows = evaluation.where(cut=POOLED, against=None, segment="all")
    found = {(row["method"], row["measure"]): row for row in rows}
    values = {method: row["value"] for (method, measure), row in found.items() if measure == SHOWN[0]}
    ordered = sorted({row["method"] for row in rows}, key=lambda method: (-values.get(method, 0.0), method))
    return [(method, [found.get((method, measure)) for measure in SHOWN]) for method in ordered]
