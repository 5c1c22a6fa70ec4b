"""Make the generation before the live one live again: one write, and every worker follows within a second.

Nothing is loaded: the generations before stay in Redis (publish.keep of each surface). The next publish of a newer
as_of goes live again, but not the very generation that was rolled back from; with --pin nothing does until `unpin`.
Titles and availability stay the newest there are. Exit code 2 where there is nothing to go back to, or its keys are
gone.
"""

import argparse
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from conf.settings import Settings
from jobs.rim.errors import UsageError
from jobs.rim.history import History
from jobs.rim.lake import Lake
from jobs.rim.manifest import iso
from jobs.rim.ordering import carry_out, live_release
from jobs.rim.orders import destination, rolled_back
from jobs.rim.redis_client import connect
from jobs.rim.redis_keeper import Keeper
from jobs.rim.targets import each_target
from schemas.keys import GENERATION, Keys
from schemas.release import Published, Release, surface_key
from schemas.tables import SURFACES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    names = f"what to roll back: {', '.join(SURFACES)} (default: all that have something to go back to)"
    parser.add_argument("--surface", nargs="+", choices=SURFACES, metavar="SURFACE", help=names)
    parser.add_argument(
        "--to", metavar="GENERATION", help="this kept generation, older or newer, instead of the one before"
    )
    parser.add_argument("--pin", action="store_true", help="pin what becomes live: no publish replaces it until unpin")


def main(args: argparse.Namespace, settings: Settings) -> int:
    surfaces = wanted(args.surface, args.to)
    keys = Keys(settings.redis.namespace)
    history = History(Lake.open(settings.lake), keys.namespace)

    def act(own: Settings, say: Callable[[str], None]) -> None:
        client = connect(own)
        keeper, live = Keeper(client, keys, own.publish), live_release(client, keys)
        goals = {name: destination(live, name, args.to) for name in surfaces or going_back(live)}
        for goal in goals.values():
            require_whole(goal, live, keeper, history)
        targets = {name: goal.base for name, goal in goals.items()}  # these, whatever is published meanwhile
        order = partial(rolled_back, targets=targets, now=iso(datetime.now(UTC)), pin=args.pin)
        after = carry_out(client, keys, history, order, say)
        for name, target in targets.items():
            say(f"{name}: {target} is live instead of {live.surfaces[name].base}")
        say(f"release {after.epoch} is live{', pinned' if args.pin else ''}")

    each_target(settings, act)
    return 0


def wanted(surfaces: list[str] | None, target: str | None) -> list[str]:
    """``<surface>/<arm>`` of the arguments; none where they leave it open.

    Raises:
        UsageError: ``target`` is no generation id, or of another surface.
    """
    if target is None:
        return [surface_key(surface) for surface in dict.fromkeys(surfaces or ())]
    match = GENERATION.fullmatch(target)
    if match is None:
        raise UsageError(f"--to {target!r}; allowed: <surface>-<YYYYMMDDTHHMMSSZ>-<12 hex digits>")
    if surfaces and surfaces != [match[1]]:
        raise UsageError(f"--to {target} is of {match[1]}, not of {', '.join(surfaces)}")
    return [surface_key(match[1])]


def going_back(live: Release) -> list[str]:
    """All surfaces that have something older and are not pinned.

    Raises:
        UsageError: none has.
    """
    names = [n for n, entry in sorted(live.surfaces.items()) if live.older(n) and entry.base not in live.pinned]
    if not names:
        raise UsageError(
            "no surface has anything older in Redis that is not pinned; `nightshelf generations` lists what the lake "
            "holds, `nightshelf publish --generation ID` loads it and makes it live"
        )
    return names


def require_whole(target: Published, live: Release, keeper: Keeper, history: History) -> None:
    """Raise UsageError where the target cannot serve: its keys are gone, or its pseudonyms are of another secret."""
    if target.n_keys and not keeper.holds(target.base):
        raise UsageError(
            f"{target.base} has lost its keys: `nightshelf publish --generation {target.base}` loads it and makes it "
            "live"
        )
    with suppress(OSError):  # a lake that is away keeps nobody from going back
        origin = history.find(target.base) if target.base.startswith("for_you-") else None
        if origin and origin.key_version != live.key_version:
            raise UsageError(
                f"{target.base} knows people by secret {origin.key_version}, live is {live.key_version}: "
                "nobody would be found"
            )
