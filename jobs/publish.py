"""Load computed tables into Redis as generations, verify them, and make them live with one switch of the release.

Nothing live is touched before the switch: a publisher that dies, is overtaken or runs out of memory at any step leaves
the old release serving and a trace by which the next run removes what it left.
"""

import argparse
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import redis

from conf.settings import Settings
from jobs.rim.arguments import add_run_arguments
from jobs.rim.errors import TemporaryError
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage
from jobs.rim.manifest import iso
from jobs.rim.redis_release import Lease, read_release, switch
from jobs.rim.redis_writer import Loaded, Writer, connect, eviction_warning, redis_trouble
from jobs.rim.shelf import Generation, Shelf, read_shelf
from schemas.keys import Keys, tag_of
from schemas.release import CatalogueRelease, Published, Release, surface_key
from schemas.tables import SURFACES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(SURFACES)
    parser.add_argument("--surfaces", nargs="+", choices=SURFACES, required=True, metavar="SURFACE", help=names)
    parser.add_argument("--allow-older", action="store_true", help="replace what is live even by an earlier as_of")
    add_run_arguments(parser)


def main(args: argparse.Namespace, settings: Settings) -> int:
    lineage = Lineage(Lake.open(settings.lake), settings, args.as_of, args.snapshot)
    keys = Keys(settings.redis.namespace)
    shelf = read_shelf(lineage, tuple(dict.fromkeys(args.surfaces)), keys)
    with redis_trouble(settings.redis.url):
        Publisher(connect(settings), keys, settings, args.allow_older).publish(shelf)
    return 0


class Publisher:
    """One publish into one Redis; ``say`` gets a line for each thing done."""

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        settings: Settings,
        allow_older: bool = False,
        say: Callable[[str], None] = print,
    ):
        self.client, self.keys, self.allow_older, self.say = client, keys, allow_older, say
        self.settings = settings.publish
        self.lease = Lease(client, keys, self.settings.lease_s)
        self.writer = Writer(client, keys, self.settings, heartbeat=self.lease.renew)

    def publish(self, shelf: Shelf) -> Release | None:
        """Load, verify and switch what is not live yet; returns the release that is live afterwards.

        Raises:
            TemporaryError: another publisher is at work or took over, or Redis does not give back what was written.
            redis.exceptions.RedisError: Redis is away or full.
        """
        if warning := eviction_warning(self.client):
            self.say(warning)
        self.lease.acquire(wait_s=self.settings.lease_s)
        try:
            live = read_release(self.client, self.keys)
            self.writer.clean(live)
            fresh = [generation for generation in shelf.generations if self.is_news(generation, live)]
            return self.replace(live, fresh, shelf) if fresh else live
        finally:
            with suppress(redis.exceptions.RedisError):  # it ends by itself; the first error is the one to tell
                self.lease.give_back()

    def is_news(self, generation: Generation, live: Release | None) -> bool:
        """Whether to publish a generation; a line when it is live already, or what is live is newer."""
        now = live.live(generation.surface) if live else None
        if now and now.base == generation.name:
            whole = now.n_keys == 0 or self.writer.holds(generation.name)
            state = "is live already" if whole else "is live, but its keys are gone or near their end: loading it again"
            self.say(f"{generation.surface}: {generation.name} {state}")
            return not whole
        if now and generation.as_of < now.as_of and not self.allow_older:
            self.say(
                f"{generation.surface}: not published: live is as of {now.as_of}, this is as of {generation.as_of}; "
                "nothing goes backwards unless told to (--allow-older)"
            )
            return False
        return True

    def replace(self, live: Release | None, fresh: list[Generation], shelf: Shelf) -> Release:
        """Load the catalogue and all fresh generations, switch them together, remove what is no longer kept."""
        try:
            catalogue = self.load_catalogue(shelf, live)
            changes = {surface_key(generation.surface): self.load(generation) for generation in fresh}
            self.lease.renew()
        except (TemporaryError, redis.exceptions.RedisError):
            with suppress(TemporaryError, redis.exceptions.RedisError):  # else the next run removes it
                self.writer.clean(live)
            raise
        after = self.switch(changes, catalogue, shelf.key_version)
        self.say(f"release {after.epoch} is live: {', '.join(changes)}; catalogue of {catalogue.n_items:,} items")
        self.writer.clean(after)
        return after

    def load_catalogue(self, shelf: Shelf, live: Release | None) -> CatalogueRelease:
        """Load the catalogue, unless the live one is newer and knows every item the shelf needs."""
        held = live.catalogue if live else None
        if held and held.as_of > shelf.as_of and held.dictionary >= shelf.dictionary and not self.allow_older:
            return held
        return self.writer.load_catalogue(shelf.catalogue(), shelf.dictionary, shelf.dictionary, shelf.as_of)

    def load(self, generation: Generation) -> Published:
        loaded: Loaded = self.writer.load(generation.name, generation.entries())
        self.say(
            f"{generation.surface}: {generation.name}: {loaded.n_keys:,} keys, {loaded.n_bytes:,} bytes, read back"
        )
        return Published(
            base=generation.name,
            tag=tag_of(generation.name),
            delta=None,
            as_of=generation.as_of,
            generated_at=generation.generated_at,
            n_keys=loaded.n_keys,
            dictionary=generation.dictionary,
        )

    def switch(self, changes: dict[str, Published], catalogue: CatalogueRelease, key_version: int) -> Release:
        """Make ``changes`` live beside whatever else is live by then."""
        now = iso(datetime.now(UTC))

        def change(live: Release | None) -> Release:
            before = live or Release(0, now, key_version, catalogue, {}, {})
            version = key_version if surface_key("for_you") in changes else before.key_version
            return before.switched(changes, catalogue, version, now, self.settings.keep)

        return switch(self.client, self.keys, self.lease, change, self.allow_older)
