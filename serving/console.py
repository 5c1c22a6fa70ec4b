"""The console: what one opens when paged. ``state`` is the numbers, ``shown`` says them in words, with what is wrong.

Nothing of any user is in it. All workers' counters are added up; the release, availability and the breaker of Redis are
as the asked worker knows them. What was made is kept for a second, whoever looks.
"""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Response

from conf.settings import Serving
from schemas.about import read_about
from schemas.availability import items_of, merge
from schemas.release import TIME_FORMAT, Published, Release, parse_time
from schemas.routes import NO_STORE
from serving.answers import Answers
from serving.console_words import alarms, figures, panels
from serving.copies import Snapshot
from serving.deadline import Deadline
from serving.front import account
from serving.metrics import Metrics
from serving.reader import StoreAway
from serving.traffic import Counts, Recent, between, counted

KEPT_S = 1.0
ABOUT_S = 10.0  # how often the gate's numbers are read again


class Console:
    """Reads what a worker knows and what all of them counted."""

    def __init__(self, answers: Answers, settings: Serving, metrics: Metrics):
        self.answers, self.settings, self.metrics = answers, settings, metrics
        self.recent = Recent()
        self._about: tuple[float, bytes | None] = (-ABOUT_S, None)
        self._made: tuple[float, dict[str, Any]] = (-KEPT_S, {})
        self._items: tuple[tuple, dict[str, int]] = ((None, None), {})

    def reply(self, headers: dict[str, str]) -> Response:
        """``shown`` and ``state``, of one moment, as JSON."""
        state = self.state()
        response = Response(orjson.dumps({**self.shown(state), "state": state}), content_type="application/json")
        response.headers.update({"Cache-Control": NO_STORE, **headers})
        return response

    def shown(self, state: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the template and its script show."""
        state = state or self.state()
        stale_s = self.settings.stale_after_hours * 3600
        return {
            "at": state["at"],
            "alarms": alarms(state, stale_s),
            "figures": figures(state),
            "panels": panels(state),
        }

    def state(self) -> dict[str, Any]:
        """All numbers, plain: times in seconds, latencies in ms."""
        made_at, state = self._made
        if time.monotonic() - made_at >= KEPT_S:
            counts = counted(self.metrics.families())
            state = self.state_of(counts, self.recent.before(counts))
            self._made = (counts.at, state)
        return state

    def state_of(self, counts: Counts, before: Counts | None) -> dict[str, Any]:
        snapshot, now = self.answers.watch.snapshot, self.answers.clock()
        return {
            "at": datetime.fromtimestamp(now, UTC).strftime(TIME_FORMAT),
            "release": release_state(snapshot.release, now) if snapshot else None,
            "catalogue": self.catalogue_state(snapshot) if snapshot else None,
            "gate": self.gate_state(snapshot.release) if snapshot else {},
            "service": self.service_state(counts),
            "recent": between(before, counts) if before else None,
            "since_start": between(None, counts),
        }

    def service_state(self, counts: Counts) -> dict[str, Any]:
        """Of all workers; ``redis_away`` and ``refused`` of the asked one."""
        names = ("workers", "breaker_open", "degraded", "in_flight")
        return {
            **{name: int(counts.gauges[name]) for name in names},
            "workers_wanted": self.settings.workers,
            "breaker_opened": int(counts.gauges["breaker_opened_total"]),
            "epochs": {str(epoch): n for epoch, n in sorted(counts.epochs.items())},
            "redis_away": self.answers.reader.away,
            "lost": self.answers.watch.lost,
            "refused": self.answers.watch.refused,
        }

    def catalogue_state(self, snapshot: Snapshot) -> dict[str, Any]:
        """Items by what may be recommended, counted again only when something changed."""
        catalogue, outside = snapshot.catalogue, self.answers.corrections
        stamp = (catalogue, outside.availability)
        if any(one is not other for one, other in zip(self._items[0], stamp, strict=True)):
            flags, now = catalogue.flags, outside.availability
            count = {
                "available": merge(flags, now).count(1),
                "available_as_published": flags.count(1),
                "taken_out": sum(1 for _ in items_of(now.out)),
                "brought_back": sum(1 for _ in items_of(now.back)),
            }
            self._items = (stamp, count)
        return {
            "n_items": len(catalogue),
            "as_of": snapshot.release.catalogue.as_of,
            "dictionary": catalogue.dictionary_version,
            **self._items[1],
            "categories": len(catalogue.categories),
            "segments": len(snapshot.trending.lists) if snapshot.trending else 0,
            "promotions_now": len(outside.promotions.active(self.answers.clock())),
            "promotions": len(outside.promotions.rows),
        }

    def gate_state(self, release: Release) -> dict[str, Any]:
        """By surface, then table; of those that are live and whose numbers were published with them."""
        known = read_about(self.about())
        live = {name: entry.base for name, entry in release.surfaces.items()}
        return {name: known[base] for name, base in live.items() if base in known}

    def about(self) -> bytes | None:
        """The value in Redis, read now and then; while Redis is away the one read last."""
        read_at, raw = self._about
        now = time.monotonic()
        if now - read_at >= ABOUT_S:
            reader = self.answers.reader
            try:
                deadline: Deadline = account().deadline
                raw = reader.values([reader.keys.about], deadline)[0]
            except StoreAway:
                pass
            self._about = (now, raw)
        return raw


def release_state(release: Release, now: float) -> dict[str, Any]:
    surfaces = {name: surface_state(entry, now) for name, entry in sorted(release.surfaces.items())}
    for name, found in surfaces.items():
        found["kept"] = [entry.base for entry in release.previous.get(name, ())]
        found["pinned"] = [base for base in release.pinned if base in (found["generation"], *found["kept"])]
    keys = Counter({name: found["n_keys"] for name, found in surfaces.items()})
    return {
        "epoch": release.epoch,
        "released_at": release.released_at,
        "age_s": since(release.released_at, now),
        "key_version": release.key_version,
        "n_keys": keys.total(),
        "surfaces": surfaces,
    }


def surface_state(entry: Published, now: float) -> dict[str, Any]:
    return {
        "generation": entry.base,
        "as_of": entry.as_of,
        "generated_at": entry.generated_at,
        "age_s": since(entry.generated_at, now),
        "n_keys": entry.n_keys,
    }


def since(text: str, now: float) -> int:
    return max(0, int(now - parse_time(text).timestamp()))
