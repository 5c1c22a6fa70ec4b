"""What a soak leaves: is the newest live, does Redis hold what the undisturbed lake says, and is anything left over?"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from benchmarks.soak.ground import Ground
from conf.settings import Settings
from jobs.rim.lake import Lake
from jobs.rim.lineage import MAKERS, Lineage
from jobs.rim.manifest import iso
from jobs.rim.redis_client import connect
from jobs.rim.redis_keeper import Keeper
from jobs.rim.redis_release import read_release
from jobs.rim.shelf import TABLES_OF, entries_of
from schemas.keys import Keys
from schemas.release import Published, Release
from schemas.tables import SURFACES
from schemas.user_codec import pack_user

SLATE = ("items", "scores", "sources", "because_of", "seen")
TOGETHER = 1_000  # keys asked for at once


class Aftermath:
    """Looks at Redis and the lakes when all has ended; each question is answered with what is wrong, nothing if all
    is well.
    """

    def __init__(self, ground: Ground, settings: Settings, calm: Lake):
        self.ground, self.settings, self.calm = ground, settings, calm
        self.client, self.keys = connect(settings), Keys(settings.redis.namespace)
        self.n_read = 0

    def wrong(self) -> dict[str, list[str]]:
        """By question."""
        live = read_release(self.client, self.keys)
        if live is None:
            return {"release": ["nothing is live"]}
        questions: dict[str, Callable[[Release], Iterable[str]]] = {
            "release": self.not_newest,
            "values": self.unlike,
            "leases": self.held,
            "loads": self.not_kept,
        }
        return {name: list(ask(live)) for name, ask in questions.items()}

    def live_slates(self) -> str:
        """The generation of slates that is live; empty where none is."""
        live = read_release(self.client, self.keys)
        slates = live and live.live("for_you")
        return slates.base if slates else ""

    def not_newest(self, live: Release) -> Iterator[str]:
        """Surfaces that are not as of the last hour or night; keys that are missing."""
        newest = {surface: iso(self.ground.nights[-1]) for surface in SURFACES} | {"trending": iso(self.ground.end)}
        for surface, as_of in newest.items():
            found = live.live(surface)
            if found is None or found.as_of != as_of:
                yield f"{surface} is live as of {found and found.as_of}, wanted {as_of}"
        yield from Keeper(self.client, self.keys, self.settings.publish).keep(live, whole=True).alarms

    def unlike(self, live: Release) -> Iterator[str]:
        """Keys whose value is not what the undisturbed lake's rows are packed to."""
        for surface in SURFACES:
            if found := live.live(surface):
                wanted = dict(self.entries(surface, found))
                self.n_read += len(wanted)
                n_keys = found.n_keys
                if n_keys != len(wanted):
                    yield f"{surface} has {n_keys} keys, wanted {len(wanted)}"
                yield from (f"{name} differs" for name in self.differing(wanted))

    def differing(self, wanted: dict[str, bytes]) -> Iterator[str]:
        names = list(wanted)
        for at in range(0, len(names), TOGETHER):
            some = names[at : at + TOGETHER]
            found = self.client.mget(some)
            yield from (name for name, value in zip(some, found, strict=True) if value != wanted[name])

    def entries(self, surface: str, live: Published) -> Iterator[tuple[str, bytes]]:
        """Keys and values as they should be, out of the undisturbed lake."""
        lineage = Lineage(self.calm, self.settings, datetime.fromisoformat(live.as_of))
        files = {table: newest_files(self.calm, table, lineage.as_of) for table in TABLES_OF[surface]}
        if surface != "for_you":
            yield from entries_of(self.calm, surface, files, self.keys, live.tag)()
            return
        for row in self.calm.read("slates", files["slates"]).to_pylist():
            yield self.keys.slate(row["user_id"], live.tag), pack_user(*(row[name] for name in SLATE))

    def held(self, _: Release) -> Iterator[str]:
        """A publisher's lease that is still held."""
        if self.client.exists(self.keys.lease):
            yield f"{self.keys.lease} is held by {self.client.get(self.keys.lease)!r}"

    def not_kept(self, live: Release) -> Iterator[str]:
        """Loads nobody needs, which a killed publisher or keeper left."""
        kept = live.kept() | {f"catalogue:{live.catalogue.sha}"}
        yield from sorted(Keeper(self.client, self.keys, self.settings.publish).loads().keys() - kept)


def newest_files(lake: Lake, table: str, as_of: datetime) -> list:
    """The files of the run of a moment that was committed last."""
    run = lake.newest_runs(MAKERS[table], as_of, 1, at=True)[-1]
    assert run.as_of == iso(as_of), f"{table} as of {iso(as_of)} is not in the undisturbed lake"
    return run.files[table]
