"""What a soak says: a line while it goes on, tables at its end, all of it as JSON in its folder."""

import json
from dataclasses import asdict

from benchmarks.soak.drive import Soaked
from benchmarks.soak.ground import Ground
from benchmarks.soak.killer import Struck
from benchmarks.soak.lines import say, size
from benchmarks.soak.windup import Left

RESULT = "soak.json"


def tell(ground: Ground, soaked: Soaked, left: Left, seconds: float) -> int:
    """Print and write everything; the exit code."""
    failed, missed = soaked.failed(), soaked.killer.kills
    for line in (*kills(soaked.killer.struck), "", *tables(left), "", *left.upkeep):
        say(line)
    wrong = {"runs": failed, "kills": [f"{kill.dag}.{kill.task} was never met" for kill in missed]} | left.wrong
    for question, found in wrong.items():
        say(f"{question}: " + ("as it should be" if not found else f"{len(found)} wrong: {'; '.join(found[:5])}"))
    say(f"{left.n_read:,} keys of Redis read back; {left.temporary} temporary files or folders of killed commands")
    if soaked.ended_by_themselves:
        say(f"ended by themselves and started again: {', '.join(soaked.ended_by_themselves)}")
    well = left.well and not failed and not missed
    say(f"soak: {size(ground)}, {seconds:.0f} s: " + ("as if nothing had happened" if well else "NOT as it should be"))
    (ground.folder / RESULT).write_text(json.dumps(as_json(ground, soaked, left, wrong, seconds), indent=1) + "\n")
    return 0 if well else 1


def as_json(ground: Ground, soaked: Soaked, left: Left, wrong: dict, seconds: float) -> dict:
    return {
        "hours": ground.hours,
        "seed": ground.seed,
        "seconds": round(seconds),
        "kills": [one.as_json() for one in soaked.killer.struck],
        "tables": [asdict(table) for table in left.tables],
        "wrong": wrong,
        "upkeep": left.upkeep,
        "n_keys_read": left.n_read,
        "temporary": left.temporary,
        "ended_by_themselves": soaked.ended_by_themselves,
        "tries": {f"{dag} {run}": tasks for (dag, run), tasks in soaked.tasks.items()},
    }


def kills(struck: list[Struck]) -> list[str]:
    """One line a kill; times in seconds."""
    head = f"{'at':>7} {'step':<18} {'run':<14} {'try':>3} {'killed':<10} {'into':>6} {'gone':>6} {'again':>6}"
    return [head, *(line(one) for one in struck)]


def line(one: Struck) -> str:
    attempt, times = one.attempt, (one.into_s, one.gone_s, one.again_s)
    step, run = f"{attempt.dag}.{attempt.task}", attempt.run.partition("__")[2][:13]
    texts = " ".join(f"{'-' if value is None else value:>6}" for value in times)
    met = "  beside the old one" if one.met else ""
    return f"{one.at_s:>7} {step:<18} {run:<14} {attempt.number:>3} {one.what:<10} {texts}{met}"


def tables(left: Left) -> list[str]:
    """One line a table of the lake."""
    head = f"{'table':<18} {'partitions':>10} {'rows':>9} {'missing':>8} {'surplus':>8}"
    rows = [f"{t.table:<18} {t.partitions:>10} {t.rows:>9,} {t.missing:>8,} {t.surplus:>8,}" for t in left.tables]
    return [head, *rows]
