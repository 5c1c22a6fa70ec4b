"""Load generations into Redis, verify them, and make them live with one switch of the release.

Tables of a run (--surfaces … --as-of …), or generations that were published before (--generation ID …): those are
packed again out of the lake, nothing is computed, and they go live though what is live is newer. A surface that is live
and whose keys are gone, or all of them where Redis came back empty, is loaded again out of the lake besides.
"""

import argparse
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import redis

from conf.settings import Settings
from jobs.judging.about import leave_about
from jobs.rim.arguments import add_run_arguments
from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.history import History
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage
from jobs.rim.manifest import iso
from jobs.rim.redis_client import connect, eviction_warning
from jobs.rim.redis_keeper import Keeper
from jobs.rim.redis_release import Lease, read_release, switch
from jobs.rim.redis_writer import Writer
from jobs.rim.refusals import refusal
from jobs.rim.shelf import Generation, Shelf, read_shelf, recorded_shelf, with_lost
from jobs.rim.stock import Stock
from jobs.rim.targets import each_target
from jobs.rim.warm import WarmStore
from jobs.rim.warm_part import wrong_of
from schemas.keys import Keys
from schemas.release import CatalogueRelease, Published, Release, surface_key
from schemas.tables import SURFACES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--surfaces", nargs="+", choices=SURFACES, metavar="SURFACE", help=", ".join(SURFACES))
    again = "publish these once more out of the lake: nothing is computed, and they go live though newer ones are"
    what.add_argument("--generation", nargs="+", metavar="GENERATION", help=again)
    parser.add_argument("--allow-older", action="store_true", help="replace what is live even by an earlier as_of")
    add_run_arguments(parser, required=False)


def main(args: argparse.Namespace, settings: Settings) -> int:
    if bool(args.generation) == bool(args.as_of):
        raise UsageError("publish: --surfaces goes with --as-of, and --generation without: it names its own run")
    lake, keys = Lake.open(settings.lake), Keys(settings.redis.namespace)
    history = History(lake, keys.namespace)
    if args.generation:
        shelf = recorded_shelf(history, args.generation, keys)
    else:
        lineage = Lineage(lake, settings, args.as_of, args.snapshot)
        shelf = read_shelf(lineage, tuple(dict.fromkeys(args.surfaces)), keys)

    warm = WarmStore.of(settings, lake, keys)

    def act(own: Settings, say: Callable[[str], None]) -> None:
        Publisher(connect(own), keys, own, args.allow_older, say, history, warm).publish(shelf)

    each_target(settings, act)
    return 0


class Publisher:
    """One publish into one Redis; ``say`` gets a line for each thing done.

    Nothing live is touched before the switch: a publisher that dies, is overtaken or runs out of memory at any step
    leaves the old release serving and a trace by which the next run removes what it left. Without a ``history`` epochs
    go on from Redis alone, and nothing is loaded again but what the shelf holds.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        settings: Settings,
        allow_older: bool = False,
        say: Callable[[str], None] = print,
        history: History | None = None,
        warm: WarmStore | None = None,
    ):
        self.client, self.keys, self.allow_older, self.say, self.history = client, keys, allow_older, say, history
        self.all_settings, self.settings = settings, settings.publish
        self.lease = Lease(client, keys, self.settings.lease_s)
        self.writer = Writer(client, keys, self.settings, heartbeat=self.lease.renew)
        self.keeper = Keeper(client, keys, self.settings, heartbeat=self.lease.renew)
        self.stock = Stock(self.writer, warm, history, say)

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
            self.keeper.clean(live)
            after = self.replace_where_needed(live, shelf)
            self.look_after(after)
            return after
        finally:
            with suppress(redis.exceptions.RedisError):  # it ends by itself; the first error is the one to tell
                self.lease.give_back()

    def replace_where_needed(self, live: Release | None, shelf: Shelf) -> Release | None:
        """Nothing is switched where all that is asked for is live and whole."""
        known = live or (self.history.newest() if self.history else None)
        fresh = [generation for generation in shelf.generations if self.is_news(generation, known, shelf.named, live)]
        lost = self.lost(known, live, {generation.surface for generation in fresh}) if known else []
        wanted = with_lost(shelf, fresh, lost)
        whole = live is None or self.keeper.holds_catalogue(live.catalogue)
        if whole and not wanted.generations:
            return live
        return self.replace(live, wanted, known)

    def is_news(self, generation: Generation, known: Release | None, named: bool, live: Release | None) -> bool:
        """Whether to publish a generation; a line where not, and where one that is live is loaded again."""
        now = known.live(generation.surface) if known else None
        if now is None:
            return True
        if now.base == generation.name:
            wrong = self.wrong(now, live)
            state = f"{wrong}: loading it again" if wrong else f"{now.base} is live already"
            self.say(f"{generation.surface}: {state}")
            return bool(wrong)
        if why := refusal(generation, known, named or self.allow_older):
            self.say(f"{generation.surface}: not published: {why}")
        return not why

    def wrong(self, entry: Published, live: Release | None) -> str:
        """Why what is live must be loaded again, in words; empty where it need not."""
        if live is None or (entry.n_keys and not self.keeper.holds(entry.base)):
            return f"the keys of {entry.base} are gone from Redis"
        if entry.n_warm and not self.all_settings.warm.table:
            return f"{entry.base} has a warm part, and warm.table names no table"
        wrong = wrong_of(entry, self.settings.ttl_days)
        return wrong and f"{entry.base} {wrong}"

    def lost(self, known: Release, live: Release | None, covered: set[str]) -> list[Shelf]:
        """What should be live, is not about to be replaced, and has lost its keys: once more out of the lake."""
        found = []
        for name, entry in known.surfaces.items():
            surface = name.partition("/")[0]
            if surface in covered or not (wrong := self.wrong(entry, live)):
                continue
            try:
                if self.history is None:
                    raise UsageError("no lake to load it from")
                found.append(recorded_shelf(self.history, [entry.base], self.keys))
                self.say(f"{surface}: {wrong}: loading it again")
            except (UsageError, TemporaryError) as error:
                self.say(f"warning: {surface}: {wrong}, and that stays so: {error}")
        return found

    def replace(self, live: Release | None, shelf: Shelf, known: Release | None) -> Release:
        """Load the catalogue and all generations, switch them together, remove what is no longer kept."""
        try:
            catalogue = self.load_catalogue(shelf, live)
            changes = {surface_key(made.surface): self.stock.load(made, known) for made in shelf.generations}
            self.writer.settled(self.settings.replicas, self.settings.lease_s / 2)
            self.lease.renew()
        except (TemporaryError, redis.exceptions.RedisError):
            with suppress(TemporaryError, redis.exceptions.RedisError):  # else the next run removes it
                self.give_up([generation.name for generation in shelf.generations])
            raise
        pinned = known.pinned if known else ()
        after = self.switch(changes, catalogue, shelf.key_version, self.allow_older or shelf.named, pinned)
        self.confirm(after, changes)
        self.say(f"release {after.epoch} is live: {', '.join(changes)}; catalogue of {catalogue.n_items:,} items")
        self.keeper.clean(after)
        return after

    def give_up(self, names: list[str]) -> None:
        """Unlink what was loaded in vain; who was overtaken may not, and leaves its trace to the next."""
        try:
            self.lease.renew()
            self.keeper.clean(read_release(self.client, self.keys))
        except TemporaryError:
            for name in names:
                self.keeper.leave_trace(name)
            raise

    def load_catalogue(self, shelf: Shelf, live: Release | None) -> CatalogueRelease:
        """Load the catalogue, unless the live one is newer, whole and knows every item that will be live."""
        held = live.catalogue if live else None
        if held and held.as_of > shelf.as_of and self.keeper.holds_catalogue(held):
            replaced = {surface_key(generation.surface) for generation in shelf.generations}
            staying = [entry.dictionary for name, entry in live.surfaces.items() if name not in replaced]
            known = held.dictionary >= shelf.dictionary
            if known and not (self.allow_older and shelf.dictionary >= max(staying, default=0)):
                return held
        return self.writer.load_catalogue(shelf.catalogue(), shelf.dictionary, shelf.dictionary, shelf.as_of)

    def switch(
        self,
        changes: dict[str, Published],
        catalogue: CatalogueRelease,
        key_version: int,
        backwards: bool = False,
        pinned: tuple[str, ...] = (),
    ) -> Release:
        """Make ``changes`` live beside whatever else is live by then; ``pinned`` counts where nothing is."""
        now = iso(datetime.now(UTC))

        def change(live: Release | None) -> Release:
            before = live or Release(0, now, key_version, catalogue, {}, {}, pinned)
            version = key_version if surface_key("for_you") in changes else before.key_version
            return before.switched(changes, catalogue, version, now, self.settings.keep)

        claim = self.history.claim if self.history else (lambda after: after)
        return switch(self.client, self.keys, self.lease, change, backwards, claim)

    def confirm(self, after: Release, changes: dict[str, Published]) -> None:
        """Read back what was switched: a replica promoted meanwhile may never have heard of it.

        Raises:
            TemporaryError: the release, or keys it names, are not there.
        """
        live = read_release(self.client, self.keys)
        there = live is not None and live.epoch >= after.epoch and self.keeper.holds_catalogue(after.catalogue)
        try:
            for entry in changes.values() if there else ():
                self.stock.recheck(entry.base)
        except TemporaryError:
            there = False
        if not there:
            raise TemporaryError(
                f"release {after.epoch} was switched and is not there with all its keys: Redis failed over or came "
                "back; run again, it loads what is missing"
            )

    def look_after(self, release: Release | None) -> None:
        """Renew what stays; here an alarm is a line: `nightshelf keep` makes it an exit code."""
        if release:
            care = self.keeper.keep(release)
            warnings = [*care.warnings, *care.alarms]
            if self.history and (why := leave_about(self.client, self.keys, self.history, release, self.all_settings)):
                warnings.append(why)
            for line in (*care.lines, *(f"warning: {line}" for line in warnings)):
                self.say(line)
