"""Make a generation stay: live, nothing replaces it; kept, it stays in Redis beyond publish.keep.

A publish of a surface whose live generation is pinned loads nothing of it, says so and ends with 0; other surfaces go
on. Pins are part of the release: what was live and pinned is so again in a Redis that came back empty.
"""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime

from conf.settings import Settings
from jobs.rim.history import History
from jobs.rim.lake import Lake
from jobs.rim.manifest import iso
from jobs.rim.ordering import carry_out
from jobs.rim.orders import pinned, unpinned
from jobs.rim.redis_client import connect
from jobs.rim.targets import each_target
from schemas.keys import Keys
from schemas.release import Release


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("generation", metavar="GENERATION", help="its id, as `nightshelf generations` lists it")


def main(args: argparse.Namespace, settings: Settings) -> int:
    """``pin`` or ``unpin``, whichever the command is."""
    keys = Keys(settings.redis.namespace)
    history = History(Lake.open(settings.lake), keys.namespace)
    change = pinned if args.command == "pin" else unpinned

    def act(own: Settings, say: Callable[[str], None]) -> None:
        def order(live: Release) -> Release:
            return change(live, args.generation, iso(datetime.now(UTC)))

        after = carry_out(connect(own), keys, history, order, say)
        say(f"release {after.epoch} is live: {outcome(args.command, args.generation, after)}")

    each_target(settings, act)
    return 0


def outcome(command: str, generation: str, after: Release) -> str:
    live = generation in {entry.base for entry in after.surfaces.values()}
    if command == "pin":
        return f"{generation} {'stays live' if live else 'stays in Redis'} until `nightshelf unpin {generation}`"
    return f"{generation} is not pinned any more; " + (
        "the next publish replaces it" if live else "it goes when publish.keep newer ones were live"
    )
