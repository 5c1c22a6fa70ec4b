"""Look after what is in Redis: renew what is live, pinned or kept, unlink the rest, and say what is wrong. Never scans.

Keys of a generation live publish.ttl_days; with less than half of that left they get it again. Exit code 75, and a line
that names each, when a live or pinned generation or the catalogue lacks keys or has less than a quarter of its life
left, or Redis came back empty. A publish does the same at its end, but says it as warnings.
"""

import argparse
from collections.abc import Callable

import redis

from conf.settings import Settings
from jobs.rim.errors import TemporaryError
from jobs.rim.history import History
from jobs.rim.lake import Lake
from jobs.rim.redis_client import connect, eviction_warning
from jobs.rim.redis_keeper import Keeper
from jobs.rim.redis_release import Lease, read_release
from jobs.rim.targets import each_target
from schemas.keys import Keys
from schemas.release import Release


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument("--whole", action="store_true", help="look at every key, not at the first and last thousands")


def main(args: argparse.Namespace, settings: Settings) -> int:
    keys = Keys(settings.redis.namespace)
    history = History(Lake.open(settings.lake), keys.namespace)

    def act(own: Settings, say: Callable[[str], None]) -> None:
        keep(connect(own), keys, own, history, args.whole, say)

    each_target(settings, act)
    return 0


def keep(
    client: redis.Redis, keys: Keys, settings: Settings, history: History, whole: bool, say: Callable[[str], None]
) -> None:
    """Keep one Redis.

    Raises:
        TemporaryError: something live is not as it should be; the message names all of it.
    """
    if warning := eviction_warning(client):
        say(warning)
    live = read_release(client, keys)
    if live is None:
        nothing_live(history, say)
        return
    care = Keeper(client, keys, settings.publish).keep(live, whole)
    removed = tidy(client, keys, settings, say)
    for line in (*care.lines, *(f"warning: {line}" for line in care.warnings), *removed):
        say(line)
    if care.alarms:
        raise TemporaryError(f"release {live.epoch}: {'; '.join(care.alarms)}")
    say(f"release {live.epoch}: {len(live.surfaces)} live, {len(live.kept()) - len(live.surfaces)} kept besides")


def nothing_live(history: History, say: Callable[[str], None]) -> None:
    """Raise TemporaryError where something should be."""
    lost = history.newest()
    if lost is None:
        say("nothing was ever published: `nightshelf publish` does it")
        return
    names = " ".join(entry.base for entry in lost.surfaces.values())
    raise TemporaryError(
        f"Redis is empty, and release {lost.epoch} was live: the next publish loads it again, or now: "
        f"`nightshelf publish --generation {names}`"
    )


def tidy(client: redis.Redis, keys: Keys, settings: Settings, say: Callable[[str], None]) -> list[str]:
    """Unlink what nothing names, unless a publisher is at work: it does so itself, and its load looks like one."""
    lease = Lease(client, keys, settings.publish.lease_s)
    if not lease.try_acquire():
        say("a publisher is at work: it removes what is left over when it is done")
        return []
    try:
        live: Release | None = read_release(client, keys)
        removed = Keeper(client, keys, settings.publish, heartbeat=lease.renew).clean(live)
    finally:
        lease.give_back()
    return [f"{name}: removed" for name in removed]
