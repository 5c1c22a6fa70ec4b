"""One request's answer: what is read for it, which rungs there are, and the climb down them."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.codec import Slate, unpack_ids, unpack_list
from schemas.identity import pseudonym
from schemas.keys import GLOBAL_SEGMENT
from schemas.release import Published, from_json
from schemas.user_codec import unpack_user
from serving.asked import Asked, Subject
from serving.bodies import Bodies, Body
from serving.copies import Snapshot
from serving.corrections import Corrections
from serving.deadline import Deadline
from serving.ladder import Rung
from serving.reader import Reader, StoreAway, UserRead
from serving.release_watch import ReleaseWatch
from serving.safety import Rules, Told, select
from serving.telling import Made, personal, public
from serving.tokens import token_key
from serving.view import View
from serving.warm import WarmReader, filled


class NothingPublished(LookupError):
    """There is nothing to answer from: neither a release nor a copy of one."""


class Read(NamedTuple):
    """What was read: the generation, its list (None where it has none), and which items may not come, by reason."""

    entry: Published | None
    slate: Slate | None = None
    blocked: Mapping[str, Collection[int]] = {}
    degraded: bool = False


class Answers:
    """Answers by the release adopted when the request came; ``clock`` gives seconds since 1970."""

    def __init__(
        self,
        watch: ReleaseWatch,
        corrections: Corrections,
        secret: bytes,
        max_per_category: int = 0,
        clock=time.time,
        warm: WarmReader | None = None,
    ):
        self.watch, self.corrections, self.secret, self.clock, self.warm = watch, corrections, secret, clock, warm
        self.reader: Reader = watch.reader
        self.max_per_category = max_per_category
        self.key = token_key(secret)
        self.bodies = Bodies()
        self._view: View | None = None

    def snapshot(self) -> Snapshot:
        found = self.watch.snapshot
        if found is not None:
            return found
        if self.reader.away:
            raise NothingPublished("Redis cannot be reached and this worker has no copy: start Redis, or set redis.url")
        raise NothingPublished("nothing was published yet: run `nightshelf publish` (or `make run`)")

    def view(self, snapshot: Snapshot) -> View:
        """The view of the snapshot's catalogue, kept while it stays."""
        view = self._view
        if view is None or view.catalogue is not snapshot.catalogue:
            view = self._view = View(snapshot.catalogue)
        return view

    # the surfaces

    def for_you(self, user_id: str, asked: Asked, deadline: Deadline) -> dict[str, Any]:
        """A person's slate, then trending; an unknown person gets the next rung."""
        snapshot = self.snapshot()
        return self.for_read(self.read_user(pseudonym(self.secret, user_id), snapshot, deadline), snapshot, asked)

    def for_read(self, read: Read, snapshot: Snapshot, asked: Asked) -> dict[str, Any]:
        made = self.climb("for_you", "personal", read, snapshot, asked, asked.segments)
        return personal(made, self.key, int(self.clock()))

    def of_item(self, surface: str, item_id: str, asked: Asked, deadline: Deadline) -> Body:
        """``similar`` or ``bought_together`` items, then trending in its category, in the context, then everywhere."""

        def make(snapshot: Snapshot) -> Made:
            idx = self.view(snapshot).index(item_id)
            if idx is None:
                read, own = Read(snapshot.release.live(surface)), ()
            else:
                read, own = self.read_neighbors(idx, surface, snapshot, deadline), category_segment(idx, snapshot)
            segments = tuple(dict.fromkeys((*own, *asked.segments)))
            return self.climb(surface, "neighbors", read, snapshot, asked, segments)

        return self.public(surface, item_id, asked, make)

    def trending(self, asked: Asked) -> Body:
        """What rises in a segment, then everywhere; an unknown segment gets the next rung."""

        def make(snapshot: Snapshot) -> Made:
            read = Read(snapshot.release.live("trending"))
            return self.climb("trending", "", read, snapshot, asked, asked.segments)

        return self.public("trending", "", asked, make)

    def public(self, surface: str, subject: str, asked: Asked, make) -> Body:
        """The answer ``make(snapshot)`` gives, as made before where nothing changed since."""
        snapshot, outside = self.snapshot(), self.corrections
        promoted = outside.promotions.active(self.clock())
        stamp = (snapshot, outside.availability, promoted)
        key = (surface, subject, asked)
        body = None if self.watch.degraded else self.bodies.get(key, stamp)
        if body is None:
            made = make(snapshot)
            sequences = f"{subject}\0{outside.availability.sequence} {outside.promotions.sequence}"
            body = Body.of(public(made, self.key, sequences), made.degraded)
            if not made.degraded:
                self.bodies.put(key, stamp, body)
        return body

    def batch(self, subjects: Sequence[Subject], asked: Asked, deadline: Deadline) -> list[dict[str, Any] | Body]:
        """An answer for each subject, in order; the users' lists are read in one round trip."""
        snapshot = self.snapshot()
        users = [pseudonym(self.secret, subject.id) for subject in subjects if subject.surface == "for_you"]
        reads = iter(self.read_users(users, snapshot, deadline))
        return [
            self.for_read(next(reads), snapshot, asked)
            if subject.surface == "for_you"
            else self.of_item(subject.surface, subject.id, asked, deadline)
            for subject in subjects
        ]

    # reading

    def read_user(self, user: str, snapshot: Snapshot, deadline: Deadline) -> Read:
        """The person's list and what the person has seen, of the generation that is live now."""
        entry = snapshot.release.live("for_you")
        try:
            found = self.reader.user(user, entry.tag if entry else None, deadline)
            if found.base is None and (newer := self.newer("for_you", entry, snapshot, deadline)):
                again = self.reader.user(user, newer.tag, deadline)
                if again.base is not None:  # else what fills the answer is of the release adopted, and so is its name
                    entry, found = newer, again
        except StoreAway:
            return Read(entry, degraded=True)
        return self.read_warm([user], [found], entry, deadline)[0]

    def read_users(self, users: Sequence[str], snapshot: Snapshot, deadline: Deadline) -> list[Read]:
        """As ``read_user`` for many, one pipeline in all; a release that switched meanwhile is the next request's."""
        entry = snapshot.release.live("for_you")
        try:
            found = self.reader.users(users, entry.tag if entry else None, deadline)
        except StoreAway:
            return [Read(entry, degraded=True)] * len(users)
        return self.read_warm(users, found, entry, deadline)

    def read_warm(
        self, users: Sequence[str], found: list[UserRead], entry: Published | None, deadline: Deadline
    ) -> list[Read]:
        """The reads of users, with lists from the warm store where Redis lacks them."""
        found, away = filled(self.warm, users, found, entry, deadline)
        return [unpacked(entry, one, degraded=away and one.base is None) for one in found]

    def read_neighbors(self, idx: int, surface: str, snapshot: Snapshot, deadline: Deadline) -> Read:
        """The item's neighbors, of the generation that is live now; the item itself may not come."""
        entry, own = snapshot.release.live(surface), {"own": (idx,)}
        try:
            value = self.watch.lists.get(idx, entry.tag, deadline) if entry else None
            if value is None and (newer := self.newer(surface, entry, snapshot, deadline)):
                value = self.watch.lists.get(idx, newer.tag, deadline)
                entry = newer if value is not None else entry
            return Read(entry, unpack_list(value) if value else None, own)
        except (StoreAway, ValueError):  # away, or a damaged value: the next rung, and say so
            return Read(entry, None, own, degraded=True)

    def newer(self, surface: str, entry: Published | None, snapshot: Snapshot, deadline: Deadline) -> Published | None:
        """After a miss: the generation that went live since the last poll, None when there is no other."""
        raw = self.reader.live(deadline)
        if raw is None or raw == snapshot.raw:
            return None
        try:
            found = from_json(raw).live(surface)
        except ValueError:  # a release this version cannot read: the watch tells of it
            return None
        return None if found is None or (entry and found.tag == entry.tag) else found

    # climbing

    def climb(
        self, surface: str, tier: str, read: Read, snapshot: Snapshot, asked: Asked, segments: tuple[str, ...]
    ) -> Made:
        """The items of an answer, by the safety layer's rules."""
        view, degraded = self.view(snapshot), read.degraded or self.watch.degraded
        blocked = {**read.blocked, "excluded": view.indices(asked.exclude)} if asked.exclude else read.blocked
        capped = surface == "for_you" and not asked.category
        rules = Rules(
            n=asked.n,
            available=self.corrections.available(snapshot.catalogue),
            blocked=blocked,
            allowed=view.allowed(asked),
            promoted=[
                (row.place, view.promotable(row))
                for row in self.corrections.promotions.active(self.clock())
                if row.fits(surface, segments)
            ],
            max_per_category=self.max_per_category if capped else 0,
            category=snapshot.catalogue.category_code,
        )
        told: list[Told] | None = [] if asked.explain else None
        ladder = rungs(tier, surface, read, snapshot, segments, degraded)
        picks = select(ladder, rules, lambda: view.leftovers(asked), told)
        return Made(surface, read.entry, asked, segments, picks, view, degraded, told)


def unpacked(entry: Published | None, found: UserRead, degraded: bool = False) -> Read:
    """What Redis held of a user; a damaged value makes it the next rung's turn, and says so.

    ``flags`` and ``delta`` are read, and mean nothing yet.
    """
    try:
        slate, seen = unpack_user(found.base) if found.base else (None, [])
        if found.seen:  # beside a value of version 1 the seen items have a key of their own
            seen = unpack_ids(found.seen)
        blocked = {"seen": seen, "recent": unpack_ids(found.recents) if found.recents else ()}
        return Read(entry, slate, blocked, degraded)
    except ValueError:
        return Read(entry, degraded=True)


def category_segment(idx: int, snapshot: Snapshot) -> tuple[str, ...]:
    category = snapshot.catalogue.category(idx)
    return () if category is None else (f"category={category}",)


def rungs(
    tier: str, surface: str, read: Read, snapshot: Snapshot, segments: Sequence[str], degraded: bool
) -> Iterator[Rung]:
    """The list asked for, then trending of the segments that are known, then of all."""
    if read.slate is not None and read.entry is not None:
        yield Rung("copy" if degraded else tier, surface, read.entry.base, read.slate)
    trending = snapshot.trending
    if trending is None:
        return
    named = [(name, "segment_trending") for name in segments if name != GLOBAL_SEGMENT]
    for segment, rung in [*named, (GLOBAL_SEGMENT, "global_trending")]:
        found = trending.lists.get(segment)
        if found is not None:
            yield Rung("copy" if degraded else rung, "trending", trending.generation, found)
