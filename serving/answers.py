"""One request's answer: which rungs there are, the climb, and the response that accounts for itself."""

import os
import time
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b

from schemas.api import BecauseOf, Item, PersonalAnswer, PublicAnswer
from schemas.codec import Slate, unpack_ids, unpack_list
from schemas.identity import pseudonym
from schemas.keys import GLOBAL_SEGMENT
from schemas.release import Published, from_json, parse_time
from schemas.tables import CONTROL_ARM
from serving.copies import Snapshot
from serving.deadline import Deadline
from serving.ladder import Pick, Rung, climb, generations
from serving.reader import Reader, StoreAway
from serving.release_watch import ReleaseWatch
from serving.tokens import Token, token_key, write_token


class NothingPublished(LookupError):
    """There is nothing to answer from: neither a release nor a copy of one."""


class Answers:
    """Answers by the release adopted when the request came; ``clock`` gives seconds since 1970."""

    def __init__(self, watch: ReleaseWatch, secret: bytes, clock=time.time):
        self.watch, self.secret, self.clock = watch, secret, clock
        self.reader: Reader = watch.reader
        self.key = token_key(secret)

    def snapshot(self) -> Snapshot:
        found = self.watch.snapshot
        if found is not None:
            return found
        if self.reader.away:
            raise NothingPublished("Redis cannot be reached and this worker has no copy: start Redis, or set redis.url")
        raise NothingPublished("nothing was published yet: run `nightshelf publish` (or `make run`)")

    # the four surfaces

    def for_you(self, user_id: str, segment: str | None, n: int, deadline: Deadline) -> PersonalAnswer:
        """A person's slate, then trending; an unknown person gets the next rung."""
        snapshot, degraded = self.snapshot(), self.watch.degraded
        entry, slate, seen = snapshot.release.live("for_you"), None, []
        try:
            entry, slate, seen = self.read_user(pseudonym(self.secret, user_id), entry, snapshot, deadline)
        except (StoreAway, ValueError):  # away, or a damaged value: the next rung, and say so
            degraded = True
        rungs = self.rungs("personal", "for_you", entry, slate, snapshot, [segment], degraded)
        picks = self.climb(rungs, n, snapshot, seen)
        now = int(self.clock())
        return PersonalAnswer(
            recommendation_id=self.token("for_you", entry, n, now, os.urandom(6).hex()),
            age_s=max(0, now - seconds(entry.generated_at)) if entry else None,
            **self.account("for_you", entry, picks, snapshot, degraded),
        )

    def of_item(self, surface: str, item_id: str, n: int, deadline: Deadline) -> PublicAnswer:
        """``similar`` or ``bought_together`` items, then trending in its category, then everywhere."""
        snapshot, degraded = self.snapshot(), self.watch.degraded
        idx = snapshot.catalogue.index(item_id)
        entry, slate, segment = snapshot.release.live(surface), None, None
        if idx is not None:
            segment = f"category={snapshot.catalogue.category(idx)}"
            try:
                entry, slate = self.read_neighbors(idx, surface, entry, snapshot, deadline)
            except (StoreAway, ValueError):
                degraded = True
        rungs = self.rungs("neighbors", surface, entry, slate, snapshot, [segment], degraded)
        picks = self.climb(rungs, n, snapshot, () if idx is None else (idx,))
        return self.public(surface, entry, f"{surface}/{item_id}", picks, snapshot, n, degraded)

    def trending(self, segment: str | None, n: int) -> PublicAnswer:
        """What rises in a segment, then everywhere; an unknown segment gets the next rung."""
        snapshot, degraded = self.snapshot(), self.watch.degraded
        entry = snapshot.release.live("trending")
        rungs = self.rungs("", "trending", entry, None, snapshot, [segment], degraded)
        picks = self.climb(rungs, n, snapshot, ())
        return self.public("trending", entry, f"trending/{segment or GLOBAL_SEGMENT}", picks, snapshot, n, degraded)

    # reading

    def read_user(
        self, user: str, entry: Published | None, snapshot: Snapshot, deadline: Deadline
    ) -> tuple[Published | None, Slate | None, list[int]]:
        """The generation read, the slate (None for an unknown person) and what the person has seen."""
        read = self.reader.user(user, entry.tag if entry else None, deadline)
        if read.base is None and (newer := self.newer("for_you", entry, snapshot, deadline)):
            again = self.reader.user(user, newer.tag, deadline)
            if again.base is not None:  # else what fills the answer is of the release adopted, and so is its name
                entry, read = newer, again
        return entry, unpack_list(read.base) if read.base else None, unpack_ids(read.seen) if read.seen else []

    def read_neighbors(
        self, idx: int, surface: str, entry: Published | None, snapshot: Snapshot, deadline: Deadline
    ) -> tuple[Published | None, Slate | None]:
        """The generation read and the neighbors, None where it has none of this item."""
        lists = self.watch.lists
        value = lists.get(idx, entry.tag, deadline) if entry else None
        if value is None and (newer := self.newer(surface, entry, snapshot, deadline)):
            value = lists.get(idx, newer.tag, deadline)
            entry = newer if value is not None else entry
        return entry, unpack_list(value) if value else None

    def newer(self, surface: str, entry: Published | None, snapshot: Snapshot, deadline: Deadline) -> Published | None:
        """After a miss: the generation that went live since the last poll, None when there is no other."""
        raw = self.reader.live(deadline)
        if raw is None or raw == snapshot.raw:
            return None
        found = from_json(raw).live(surface)
        return None if found is None or (entry and found.tag == entry.tag) else found

    # climbing and telling

    def rungs(
        self,
        tier: str,
        surface: str,
        entry: Published | None,
        slate: Slate | None,
        snapshot: Snapshot,
        segments: list[str | None],
        degraded: bool,
    ) -> Iterator[Rung]:
        """The list asked for, then trending of the segments that are known, then of all."""
        if slate is not None and entry is not None:
            yield Rung("copy" if degraded else tier, surface, entry.base, slate)
        if snapshot.trending is None:
            return
        named = [name for name in segments if name and name != GLOBAL_SEGMENT]
        for segment, rung in [*((name, "segment_trending") for name in named), (GLOBAL_SEGMENT, "global_trending")]:
            found = snapshot.trending.lists.get(segment)
            if found is not None:
                yield Rung("copy" if degraded else rung, "trending", snapshot.trending.generation, found)

    def climb(self, rungs: Iterator[Rung], n: int, snapshot: Snapshot, blocked) -> list[Pick]:
        catalogue = snapshot.catalogue
        newest_first = range(len(catalogue) - 1, -1, -1)
        return climb(rungs, n, catalogue.available, blocked, leftovers=lambda: newest_first)

    def public(
        self,
        surface: str,
        entry: Published | None,
        subject: str,
        picks: list[Pick],
        snapshot: Snapshot,
        n: int,
        degraded,
    ) -> PublicAnswer:
        """An answer with nothing of the moment in it."""
        made = seconds(entry.generated_at) if entry else 0
        nonce = blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
        return PublicAnswer(
            recommendation_id=self.token(surface, entry, n, made, nonce),
            **self.account(surface, entry, picks, snapshot, degraded),
        )

    def token(self, surface: str, entry: Published | None, n: int, time_s: int, nonce: str) -> str:
        return write_token(self.key, Token(surface, CONTROL_ARM, entry.base if entry else None, n, time_s, nonce))

    def account(
        self, surface: str, entry: Published | None, picks: list[Pick], snapshot: Snapshot, degraded: bool
    ) -> dict:
        """The fields all answers have; an answer without any item comes from the last rung."""
        others = {name: base for name, base in generations(picks).items() if name != surface}
        return {
            "generation": entry.base if entry else None,
            "generations": others,
            "generated_at": entry.generated_at if entry else None,
            "tier": picks[0].rung.tier if picks else "copy",
            "arm": CONTROL_ARM,
            "degraded": degraded,
            "items": [item(rank, pick, snapshot) for rank, pick in enumerate(picks, 1)],
        }


def item(rank: int, pick: Pick, snapshot: Snapshot) -> Item:
    because = None
    if 0 <= pick.because_of < len(snapshot.catalogue):
        because = BecauseOf(*snapshot.record(pick.because_of)[:2])
    return Item(rank, *snapshot.record(pick.item_idx), float(f"{pick.score:.6g}"), pick.source, because)


@lru_cache
def seconds(text: str) -> int:
    """Seconds since 1970 of a time in the release."""
    return int(parse_time(text).timestamp())
