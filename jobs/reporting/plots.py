"""Small plots as inline SVG: the same bytes for the same numbers, text that stays text, colours the page decides.

matplotlib draws with stand-in colours that become CSS variables, so one drawing is right on light and dark paper.
"""

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure

SIZE_IN = (4.2, 2.9)  # about as wide as a phone: text keeps its size there
INK, GRID, PAPER = "#010101", "#020202", "#030303"
SERIES = tuple(f"#0400{k:02x}" for k in range(9))
MARKERS = "os^Dvphd<"
VARIABLES = {INK: "currentColor", GRID: "var(--line)", PAPER: "var(--paper)"} | {
    color: f"var(--s{k})" for k, color in enumerate(SERIES)
}
STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
}
MAX_TICKS = 6
NAMES_A_ROW = 3  # of the legend
ROW_IN = 0.4


@dataclass(frozen=True)
class Line:
    """A named series; ``low`` and ``high`` bound the values where known; ``faint`` ones lie thin below the others."""

    name: str
    x: Sequence[str]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    faint: bool = False


def draw_lines(title: str, lines: list[Line], joined: bool = True) -> str:
    """Lines with their intervals over the categories of x; points alone unless ``joined``."""
    with style(title):
        figure, axes = canvas(len(lines))
        places = categories(lines)
        for k, line in enumerate(lines):
            shift = 0.0 if len(lines) == 1 else 0.16 * (k / (len(lines) - 1) - 0.5) * (1 if joined else 3)
            draw_line(axes, line, [places[x] + shift for x in line.x], k % len(SERIES), joined)
        name_categories(axes, list(places))
        highest = max((v for line in lines for v in (*line.y, *line.high) if v is not None and v == v), default=0)
        axes.set_ylim(0, 1.12 * highest if highest > 0 else 1)
        return finished(figure, len(lines))


def draw_line(axes, line: Line, x: list[float], k: int, joined: bool) -> None:
    y = [math.nan if value is None else value for value in line.y]
    size, width, order = (3.5, 0.9, 2) if line.faint else (4.5, 1.6, 3)
    style = {"color": SERIES[k], "marker": MARKERS[k], "markersize": size, "linewidth": width if joined else 0}
    axes.plot(x, y, label=line.name.replace("_", " "), zorder=order, **style)
    known = [
        (at, low, high)
        for at, low, high in zip(x, line.low, line.high, strict=False)
        if low is not None and high is not None
    ]
    if known:
        at, low, high = zip(*known, strict=True)
        axes.vlines(at, low, high, color=SERIES[k], linewidth=1.2)


def draw_shares(title: str, columns: list[str], shares: list[dict[str, float]]) -> str:
    """Stacked columns of shares of 1: the largest parts by name, the rest as other."""
    totals: dict[str, float] = {}
    for column in shares:
        for name, share in column.items():
            totals[name] = totals.get(name, 0.0) + share
    ordered = sorted(totals, key=lambda name: (-totals[name], name))
    named = ordered if len(ordered) <= len(SERIES) else ordered[: len(SERIES) - 1]
    parts = {name: [column.get(name, 0.0) for column in shares] for name in named}
    if len(named) < len(ordered):
        parts["other"] = [sum(share for name, share in column.items() if name not in named) for column in shares]
    with style(title):
        figure, axes = canvas(len(parts))
        base = [0.0] * len(columns)
        for k, (name, heights) in enumerate(parts.items()):
            bars = {"color": SERIES[k], "edgecolor": PAPER, "linewidth": 0.8, "width": 0.8}
            axes.bar(range(len(columns)), heights, bottom=base, label=name.replace("_", " "), **bars)
            base = [low + height for low, height in zip(base, heights, strict=True)]
        name_categories(axes, columns)
        axes.set_ylim(0, 1)
        return finished(figure, len(parts))


def style(title: str):
    """Ids in the SVG are hashes salted with the title: plots of one page have titles of their own, so ids, too."""
    return matplotlib.rc_context(STYLE | {"svg.hashsalt": title})


def canvas(n_names: int):
    """The higher, the more rows the legend has."""
    width, height = SIZE_IN
    further = max(math.ceil(n_names / NAMES_A_ROW) - 1, 0)
    figure = Figure(figsize=(width, height + further * ROW_IN), layout="constrained")
    return figure, figure.add_subplot()


def categories(lines: list[Line]) -> dict[str, int]:
    """x value → place; dates sort as text, other categories keep the order they came in."""
    seen = list(dict.fromkeys(x for line in lines for x in line.x))
    dated = all(re.fullmatch(r"\d{4}-\d\d-\d\d", x) for x in seen)
    return {x: place for place, x in enumerate(sorted(seen) if dated else seen)}


def name_categories(axes, names: list[str]) -> None:
    """At most ``MAX_TICKS`` of dates that all lie in one year go without it; the axis tells the year."""
    step = math.ceil(len(names) / MAX_TICKS) if names else 1
    shown = range(len(names) - 1, -1, -step)
    years = {name[:4] for name in names if re.fullmatch(r"\d{4}-\d\d-\d\d", name)}
    labels = [names[k][5:] if len(years) == 1 else names[k].replace("_", "\n") for k in shown]
    axes.set_xticks(list(shown), labels)
    axes.set_xlim(-0.6, max(len(names), 1) - 0.4)
    if len(years) == 1:
        axes.set_xlabel(years.pop())


def finished(figure: Figure, n_names: int) -> str:
    """The SVG element; a legend below where there is more than one name."""
    if n_names > 1:
        figure.legend(loc="outside lower center", ncols=min(n_names, NAMES_A_ROW), handlelength=1.4, columnspacing=1.2)
    sink = io.StringIO()
    figure.savefig(sink, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = sink.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"<g id=\"[^\"]*\"", "<g", svg)  # names of groups, alike in every plot; nothing refers to them
    svg = re.sub(r'(<svg [^>]*?) (?:width|height)="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg [^>]*?) (?:width|height)="[^"]*"', r"\1 aria-hidden=\"true\"", svg)
    return re.sub("|".join(VARIABLES), lambda found: VARIABLES[found[0]], svg).strip()
