"""List the generations of each surface: what is live, kept or pinned in Redis, and what the lake can load again.

States: live (answers come from it), kept (`nightshelf rollback` goes there in one write), pinned (stays so), left over
(no release names it: the next publish or keep removes it), in the lake (`nightshelf publish --generation ID` loads it).
`N warm` lists are in the warm store. `lacks keys` and `runs low` are what `nightshelf keep` alarms about.
"""

import argparse
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import redis

from conf.settings import Settings
from jobs.rim.history import History
from jobs.rim.lake import Lake
from jobs.rim.redis_client import connect
from jobs.rim.redis_keeper import Keeper
from jobs.rim.redis_release import read_release
from jobs.rim.targets import each_target
from schemas.keys import GENERATION, Keys
from schemas.release import Release
from schemas.tables import SURFACES

HEADER = ("surface", "generation", "as of", "age", "keys", "size", "ttl left", "state")
TO_THE_RIGHT = (3, 4, 5, 6)
LAST = 5


class Held(NamedTuple):
    """What Redis has of a generation."""

    n_keys: int | None
    n_bytes: int | None
    ttl_s: int
    wrong: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    told = f"of what only the lake holds, this many of each surface, newest first (default: {LAST})"
    parser.add_argument("--last", type=int, default=LAST, metavar="N", help=told)


def main(args: argparse.Namespace, settings: Settings) -> int:
    keys = Keys(settings.redis.namespace)
    history = History(Lake.open(settings.lake), keys.namespace)
    recorded = history.generations()

    def act(own: Settings, say: Callable[[str], None]) -> None:
        def show(released: str, live: Release | None, held: dict[str, Held]) -> None:
            table = [HEADER, *rows(live, held, recorded, args.last, datetime.now(UTC))]
            for line in (released, *aligned(table)):
                say(line)

        client = connect(own)
        try:
            live, held = read_release(client, keys), inventory(client, keys, own)
        except redis.exceptions.RedisError:
            show("Redis does not say what is live; the lake can load", None, {})
            raise
        show(f"release {live.epoch}, live since {live.released_at}" if live else "nothing is live", live, held)

    each_target(settings, act)
    return 0


def inventory(client: redis.Redis, keys: Keys, settings: Settings) -> dict[str, Held]:
    """What is loaded, by generation."""
    keeper = Keeper(client, keys, settings.publish)
    found = {}
    for name, said in keeper.loads().items():
        if GENERATION.fullmatch(name):
            health = keeper.look(name)
            wrong = health.wrong(keeper.life_s)
            found[name] = Held(said.get("n_keys"), said.get("n_bytes"), health.ttl_s, wrong)
    return found


def rows(
    live: Release | None, held: dict[str, Held], recorded: list[str], last: int, now: datetime
) -> Iterator[tuple[str, ...]]:
    """One row for each generation, surfaces in their order, the newest first."""
    named = live.kept() if live else set()
    for surface in SURFACES:
        own = [name for name in recorded if surface_of(name) == surface]
        there = {name for name in (*held, *named) if surface_of(name) == surface}
        stored = [name for name in reversed(own) if name not in there][: max(last, 0)]
        for name in sorted({*there, *stored}, key=stamp, reverse=True):
            yield row(surface, name, live, held.get(name), name in named, now)


def row(
    surface: str, name: str, live: Release | None, held: Held | None, named: bool, now: datetime
) -> tuple[str, ...]:
    as_of = datetime.strptime(stamp(name), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    state = state_of(name, live, held, named)
    if held is None:
        return surface, name, f"{as_of:%Y-%m-%d %H:%M}", age(now - as_of), "", "", "", state
    counted = ("" if held.n_keys is None else f"{held.n_keys:,}", size(held.n_bytes), left(held.ttl_s))
    return surface, name, f"{as_of:%Y-%m-%d %H:%M}", age(now - as_of), *counted, state


def state_of(name: str, live: Release | None, held: Held | None, named: bool) -> str:
    """In words; what is wrong comes last."""
    if not named:
        return "left over" if held else "in the lake"
    served = name in {entry.base for entry in live.surfaces.values()}
    words = ["live" if served else "kept"]
    words += ["pinned"] if name in live.pinned else []
    entry = live.named(name)
    words += [f"{entry.n_warm:,} warm"] if entry and entry.n_warm else []
    wrong = held.wrong if held else "lacks keys"
    return ", ".join([*words, wrong] if wrong else words)


def surface_of(name: str) -> str:
    match = GENERATION.fullmatch(name)
    return match[1] if match else ""


def stamp(name: str) -> str:
    return GENERATION.fullmatch(name)[2]


def age(span) -> str:
    """Such as 45 min, 5 h, 3 days."""
    minutes = max(0, int(span.total_seconds() // 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"


def left(seconds: int) -> str:
    return f"{seconds / 86_400:.1f} days" if seconds > 0 else ""


def size(n_bytes: int | None) -> str:
    """Bytes of packed values, keys and Redis' own cost not counted."""
    if n_bytes is None:
        return ""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:.1f} {name}"
    return f"{n_bytes} B"


def aligned(table: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cells[place]) for cells in table) for place in range(len(HEADER))]
    return ["  ".join(aligned_cells(cells, widths)).rstrip() for cells in table]


def aligned_cells(cells: tuple[str, ...], widths: list[int]) -> Iterator[str]:
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        yield cell.rjust(width) if place in TO_THE_RIGHT else cell.ljust(width)
