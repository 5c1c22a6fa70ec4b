"""The release: the one value that says which generation of each surface and arm is live.

JSON under ``{ctl}:live``, replaced as a whole by a compare-and-set on ``epoch``. Times are UTC,
``YYYY-MM-DDTHH:MM:SSZ``, so that they compare as text (the switch script relies on it).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime

import orjson

from schemas.keys import tag_of
from schemas.tables import CONTROL_ARM, SURFACES

NO_WARM_PART = {"n_warm": 0, "warm_until": ""}
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def parse_time(text: str) -> datetime:
    """Raise ValueError when ``text`` is not in the form above."""
    return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)


def surface_key(surface: str, arm: str = CONTROL_ARM) -> str:
    return f"{surface}/{arm}"


@dataclass(frozen=True, slots=True)
class Published:
    """One generation as the release names it."""

    base: str  # generation id
    tag: str  # short form of it, in keys
    delta: str | None  # generation laid over base; none yet
    as_of: str  # what the batch knew
    generated_at: str  # when the batch made it
    n_keys: int
    dictionary: int  # item dictionary version its indices need
    n_warm: int = 0  # users whose lists are in the warm store instead
    warm_until: str = ""  # when these rows end, where there are some

    @property
    def age_key(self) -> tuple[str, str]:
        """Orders generations of a surface: what they knew, then when they were made."""
        return self.as_of, self.generated_at


@dataclass(frozen=True, slots=True)
class CatalogueRelease:
    """The catalogue that goes with the release: ``n_chunks`` keys whose bytes together have this SHA-256."""

    sha: str
    n_chunks: int
    n_bytes: int
    n_items: int
    dictionary: int
    as_of: str  # titles and availability as known then


@dataclass(frozen=True, slots=True)
class Release:
    """What is live, and per surface what is kept besides, the one that was live last first.

    ``pinned`` names generations of these that stay: a live one is not replaced, another is kept beyond ``keep``.
    """

    epoch: int
    released_at: str
    key_version: int
    catalogue: CatalogueRelease
    surfaces: Mapping[str, Published]
    previous: Mapping[str, tuple[Published, ...]] = field(default_factory=dict)
    pinned: tuple[str, ...] = ()

    def live(self, surface: str, arm: str = CONTROL_ARM) -> Published | None:
        return self.surfaces.get(surface_key(surface, arm))

    def named(self, name: str) -> Published | None:
        """The generation of that id, live or kept."""
        entries = (*self.surfaces.values(), *(old for olds in self.previous.values() for old in olds))
        return next((entry for entry in entries if entry.base == name), None)

    def kept(self) -> set[str]:
        """Ids of all generations whose keys must stay."""
        lists = (*self.previous.values(), self.surfaces.values())
        return {name for entries in lists for entry in entries for name in (entry.base, entry.delta) if name}

    def switched(
        self, changes: Mapping[str, Published], catalogue: CatalogueRelease, key_version: int, now: str, keep: int
    ) -> "Release":
        """The next release: ``changes`` live, what they replace kept, at most ``keep`` generations of a surface."""
        previous = dict(self.previous)
        for name, entry in changes.items():
            before = [self.surfaces[name]] if name in self.surfaces else []
            others = [old for old in (*before, *previous.get(name, ())) if old.base != entry.base]
            previous[name] = tuple(o for place, o in enumerate(others) if place < keep - 1 or o.base in self.pinned)
        after = replace(
            self,
            epoch=self.epoch + 1,
            released_at=now,
            key_version=key_version,
            catalogue=catalogue,
            surfaces={**self.surfaces, **changes},
            previous=previous,
        )
        kept = after.kept()
        return replace(after, pinned=tuple(name for name in self.pinned if name in kept))

    def older(self, name: str) -> Published | None:
        """What a ``<surface>/<arm>`` goes back to: the newest kept one older than what is live; None without one."""
        live = self.surfaces.get(name)
        before = [old for old in self.previous.get(name, ()) if live and old.age_key < live.age_key]
        return max(before, key=lambda old: old.age_key, default=None)

    def to_json(self) -> bytes:
        """Without ``pinned`` and warm parts where there are none: then versions that do not know them read it, too."""
        value = {name: held for name, held in asdict(self).items() if name != "pinned" or held}
        for entry in (*value["surfaces"].values(), *(old for olds in value["previous"].values() for old in olds)):
            if not entry["n_warm"]:
                del entry["n_warm"], entry["warm_until"]
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def from_json(raw: bytes) -> Release:
    """Read a release strictly.

    Raises:
        ValueError: no JSON, a field missing or unknown, a wrong type, time, surface or tag.
    """
    value = orjson.loads(raw)
    surfaces = read_map(value, "surfaces")
    previous = read_map(value, "previous")
    return build(
        Release,
        {"pinned": [], **value},
        catalogue=build(CatalogueRelease, value.get("catalogue")),
        surfaces={name: read_published(name, entry) for name, entry in surfaces.items()},
        previous={name: tuple(read_published(name, old) for old in olds) for name, olds in previous.items()},
        pinned=read_pinned(value.get("pinned", [])),
    )


def read_pinned(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"release: pinned is {value!r:.80}; allowed: a list of generation ids")
    return tuple(value)


def read_map(value: object, name: str) -> dict:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        raise ValueError(f"release: {name} is {found!r:.80}; allowed: an object")
    for key, entries in found.items():
        if name == "previous" and not isinstance(entries, list):
            raise ValueError(f"release: previous.{key} is {entries!r:.80}; allowed: a list")
        surface, slash, arm = key.partition("/")
        if surface not in SURFACES or not slash or not arm:
            raise ValueError(
                f"release: {name} names {key!r}; allowed: <surface>/<arm> with one of {', '.join(SURFACES)}"
            )
    return found


def read_published(name: str, value: object) -> Published:
    known = NO_WARM_PART | value if isinstance(value, dict) else value
    entry = build(Published, known)
    if entry.tag != tag_of(entry.base) or not entry.base.startswith(name.partition("/")[0] + "-"):
        raise ValueError(f"release: {name} has base {entry.base!r} and tag {entry.tag!r}, which do not belong together")
    return entry


def build(kind: type, value: object, **read: object) -> object:
    """``kind`` from a JSON object that has exactly its fields; ``read`` are those already read."""
    if not isinstance(value, dict):
        raise ValueError(f"release: {kind.__name__} is {value!r:.80}; allowed: an object")
    names = {f.name for f in fields(kind)}
    if set(value) != names:
        wrong = ", ".join(sorted(set(value) ^ names))
        raise ValueError(
            f"release: {kind.__name__} lacks or does not know {wrong}; allowed: {', '.join(sorted(names))}"
        )
    made = kind(**{**value, **read})
    for f in fields(kind):
        check_field(kind.__name__, f.name, f.type, getattr(made, f.name))
    return made


def check_field(where: str, name: str, declared: object, value: object) -> None:
    if name in ("as_of", "generated_at", "released_at") or (name == "warm_until" and value != ""):
        parse_time(value if isinstance(value, str) else "")
    elif declared in (int, str) and (type(value) is not declared or (declared is int and value < 0)):
        raise ValueError(f"release: {where}.{name} is {value!r:.80}; allowed: {declared.__name__}, not negative")
    elif name == "delta" and not (value is None or isinstance(value, str)):
        raise ValueError(f"release: {where}.delta is {value!r:.80}; allowed: a generation id or null")
