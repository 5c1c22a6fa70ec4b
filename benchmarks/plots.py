"""Draws what ``benchmarks.scaling`` and ``benchmarks.kernels`` measured.

usage: python -m benchmarks.plots [FOLDER]     (default .nightshelf/bench) reads scaling.json and kernels.json there

Writes beside them ``scaling.svg`` (seconds of each task by the size of the lake, and what ten times the events may
cost), ``memory.svg`` (the most each task held) and ``kernels.svg`` (ours over each peer's).
"""

import json
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from benchmarks.night import WEEKLY
from benchmarks.tables import GIB, night_seconds, ratios

FOLDER = Path(".nightshelf/bench")
ALLOWED_GROWTH, MEMORY_GIB = 11, 16
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nightshelf",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
COLORS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#9c6b4e")
INK = "#444444"


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0]) if arguments else FOLDER
    for name, draw in DRAWN.items():
        if (folder / name).exists():
            for target in draw(json.loads((folder / name).read_text()), folder):
                print(f"drawn {target}")
    return 0


def draw_scaling(told: dict, folder: Path) -> list[Path]:
    sizes = [size for size in told["sizes"] if len(size["nights"]) == 2]
    with matplotlib.rc_context(STYLE):
        seconds = Figure((8.4, 3.6), layout="constrained")
        shares, growth = seconds.subplots(1, 2)
        stacked(shares, sizes)
        totals(growth, sizes)
        held = Figure((8.4, 3.2), layout="constrained")
        memory(held.subplots(), sizes)
        return [save(seconds, folder / "scaling.svg"), save(held, folder / "memory.svg")]


def nightly(night: dict) -> list[dict]:
    return [task for task in night["tasks"] if task["task"] not in WEEKLY]


def stacked(axes, sizes: list[dict]) -> None:
    """Shares of both nights' seconds: bars of nights of all sizes are equally high."""
    nights = [(size, k) for size in sizes for k in range(2)]
    base = [0.0] * len(nights)
    for number, name in enumerate(task["task"] for task in nightly(sizes[0]["nights"][0])):
        part = [share(size["nights"][k], name) for size, k in nights]
        axes.bar(range(len(nights)), part, bottom=base, label=name, color=COLORS[number % len(COLORS)], width=0.75)
        base = [low + more for low, more in zip(base, part, strict=True)]
    for place, (size, k) in enumerate(nights):
        axes.text(place, 1.01, f"{night_seconds(size['nights'][k]):.0f} s", ha="center", color=INK)
    axes.set_xticks(range(len(nights)), [f"{short(size['wanted'])}\nnight {k + 1}" for size, k in nights])
    axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    axes.set_title("where the time goes", loc="left", pad=16)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), reverse=True)


def share(night: dict, name: str) -> float:
    return sum(task["seconds"] for task in nightly(night) if task["task"] == name) / night_seconds(night)


def totals(axes, sizes: list[dict]) -> None:
    """Seconds over events, both by logarithm, and what the first night may grow to from each size to ten times it."""
    events = [size["wanted"] for size in sizes]
    for k in range(2):
        seconds = [night_seconds(size["nights"][k]) for size in sizes]
        axes.plot(events, seconds, "os"[k] + "-", color=COLORS[k], label=f"night {k + 1}")
    for number, size in enumerate(sizes[:-1]):
        first = night_seconds(size["nights"][0])
        label = f"{ALLOWED_GROWTH}-fold for ten times the events" if number == 0 else None
        line = ([size["wanted"], 10 * size["wanted"]], [first, ALLOWED_GROWTH * first])
        axes.plot(*line, "--", color=INK, linewidth=0.9, label=label)
    axes.set(xscale="log", yscale="log", xlabel="events", ylabel="seconds")
    axes.set_xticks(events, [short(n) for n in events], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.set_title("a night, but for the weekly tasks", loc="left")
    axes.legend(loc="lower right")


def memory(axes, sizes: list[dict]) -> None:
    """The most each task of either night held, by size."""
    names = [task["task"] for task in sizes[0]["nights"][0]["tasks"]]
    width = 0.8 / len(sizes)
    for number, size in enumerate(sizes):
        held = [most(size, name) for name in names]
        places = [place + (number - (len(sizes) - 1) / 2) * width for place in range(len(names))]
        axes.bar(places, held, width, label=f"{short(size['wanted'])} events", color=COLORS[number % len(COLORS)])
    axes.axhline(MEMORY_GIB, linestyle="--", color=INK, linewidth=0.9)
    axes.text(len(names) - 0.5, MEMORY_GIB, f"{MEMORY_GIB} GiB ", ha="right", va="bottom", color=INK)
    axes.set_xticks(range(len(names)), [f"{name}\n(weekly)" if name in WEEKLY else name for name in names])
    axes.set_ylabel("GiB of all processes")
    axes.set_title("the most each task held", loc="left")
    axes.legend()


def most(size: dict, name: str) -> float:
    held = (task["peak_bytes"] for night in size["nights"] for task in night["tasks"] if task["task"] == name)
    return max((value or 0 for value in held), default=0) / GIB


def draw_kernels(told: dict, folder: Path) -> list[Path]:
    rows = ratios(told)[::-1]
    with matplotlib.rc_context(STYLE):
        figure = Figure((8.4, 0.36 * len(rows) + 1.1), layout="constrained")
        axes = figure.subplots()
        for number, name in enumerate(("seconds", "CPU")):
            places = [at + 0.19 - 0.38 * number for at in range(len(rows))]
            values = [row[2 + number] or 0 for row in rows]
            axes.barh(places, values, 0.36, color=COLORS[number], label=name)
            for at, value in zip(places, values, strict=True):
                axes.text(value, at, f" {value:.3g}", va="center", fontsize=8, color=INK)
        axes.set_yticks(range(len(rows)), [f"{ours.removeprefix('ours: ')}  /  {peer}" for ours, peer, *_ in rows])
        axes.axvline(1, color=INK, linewidth=0.9)
        axes.set(xscale="log", xlabel="ours over theirs; left of 1 ours is cheaper")
        counts = (f"{told['sizes'][name]:,} {name}" for name in ("users", "items", "cells"))
        axes.set_title(", ".join(counts), loc="left")
        axes.legend()
        return [save(figure, folder / "kernels.svg")]


def short(n: int) -> str:
    """Such as 10 M."""
    return f"{n / 1e6:g} M" if n >= 1e6 else f"{n / 1e3:g} k"


def save(figure: Figure, target: Path) -> Path:
    """The same bytes for the same numbers."""
    figure.savefig(target, metadata={"Date": None})
    return target


DRAWN = {"scaling.json": draw_scaling, "kernels.json": draw_kernels}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
