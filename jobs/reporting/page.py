"""The report as one HTML page: nothing outside it is asked for, and everything from the lake is escaped."""

import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from jobs.reporting import evaluations
from jobs.reporting.content import Content
from jobs.reporting.nights import TOP, Night
from jobs.reporting.plots import Line, draw_lines, draw_shares

NOTHING = "\N{EN DASH}"


def render(content: Content) -> str:
    """The same content gives the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "share": share, "plain": plain, "between": between}
    newest = content.evaluations[-1] if content.evaluations else None
    return environment.get_template("page.html").render(
        content=content,
        newest=newest,
        differences=evaluations.differences(newest) if newest else [],
        measures=evaluations.measures(newest.methods) if newest else None,
        sources=evaluations.best_first(newest.sources) if newest else [],
        shown=evaluations.SHOWN,
        quality=quality_plots(content),
        by_source=source_plots(content),
        lists=list_plots(content.nights),
        top=TOP,
    )


def number(value: float | None) -> str:
    """Four decimals below 1, else four significant digits, thousands apart; nothing measured is a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:,.4g}"


def share(value: float | None) -> str:
    return NOTHING if value is None or math.isnan(value) else f"{100 * value:.1f} %"


def between(bounds: tuple[float | None, float | None] | None) -> str:
    """A statistic's bounds in words; nothing where it is not judged."""
    low, high = bounds or (None, None)
    if low is None or high is None:
        return "" if low == high else f"{number(low)} or more" if high is None else f"{number(high)} or less"
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def plain(name: str) -> str:
    return name.replace("_", " ")


def figure(title: str, alt: str, svg: str) -> dict:
    return {"title": title, "alt": alt, "svg": svg}


def quality_plots(content: Content) -> list[dict]:
    """Of the newest evaluation by day and segment, then of all of them over time."""
    if not content.evaluations:
        return []
    methods = [evaluation.methods for evaluation in content.evaluations]
    newest, found = methods[-1], []
    for measure in evaluations.SHOWN:
        days, segments = evaluations.by_day(newest, measure), evaluations.by_segment(newest, measure)
        found.append(lines(f"{measure} by day tested", days))
        found.append(lines(f"{measure} by segment", segments, joined=False))
        found.append(lines(f"{measure} over evaluations", evaluations.over_time(methods, measure)))
        by_segment = evaluations.segments_over_time(methods, measure)
        found.append(lines(f"{measure} of the recipe by segment, over evaluations", by_segment))
    return [plot for plot in found if plot]


def source_plots(content: Content) -> list[dict]:
    """Of each source alone, by day of the newest evaluation and over all of them; none where that one has none."""
    sources, measure = [evaluation.sources for evaluation in content.evaluations], evaluations.SHOWN[0]
    if not sources or not sources[-1].rows:
        return []
    drawn = {
        " and day tested": evaluations.by_day(sources[-1], measure),
        ", over evaluations": evaluations.over_time(sources, measure),
    }
    found = [lines(f"{measure} by source{over}", evaluations.told_apart(of)) for over, of in drawn.items()]
    return [plot for plot in found if plot]


def lines(title: str, drawn: list[Line], joined: bool = True) -> dict | None:
    """A figure with its last values in words; None without a line."""
    if not drawn:
        return None
    newest = "; ".join(f"{plain(line.name)} {number(line.y[-1])} ({plain(line.x[-1])})" for line in drawn)
    return figure(title, f"{title}: {newest}", draw_lines(title, drawn, joined))


def list_plots(nights: list[Night]) -> list[dict]:
    """What the slates themselves are like, night by night."""
    if not nights:
        return []
    days = [night.as_of[:10] for night in nights]
    newest = sorted(nights[-1].shares.items(), key=lambda part: (-part[1], part[0]))
    told = ", ".join(f"{plain(name)} {share(part)}" for name, part in newest)
    title = "Share of places by source"
    drawn = draw_shares(title, days, [night.shares for night in nights])
    return [
        figure(title, f"{title}, {days[-1]}: {told}", drawn),
        lines("Share of places with a reason", [measured("reason", nights, "explained")]),
        lines(f"Coverage: share of known items within the first {TOP}", [measured("coverage", nights, "coverage")]),
        lines(f"Churn of the first {TOP} since the night before", [measured("churn", nights, "churn")]),
        lines("Novelty, in bits", [measured("novelty", nights, "novelty")]),
        lines("Gini of exposure", [measured("Gini", nights, "gini")]),
        lines("Mean length of a slate", [measured("length", nights, "length")]),
    ]


def measured(name: str, nights: list[Night], attribute: str) -> Line:
    return Line(name, [night.as_of[:10] for night in nights], [getattr(night, attribute) for night in nights])
