"""Names of all Redis keys. The part in braces decides the cluster slot: one user, item, segment or chunk each.

    {ctl}:live       the release (JSON)          {ctl}:token   fencing counter
    {ctl}:lease      token of the publisher      {ctl}:loads   hash: what was loaded or begun, for cleaning up
    {ctl}:about      what the gate saw of the generations kept (schemas.about); for people: nothing depends on it
    {ctl}:availability  what is out or back now (schemas.availability)   {ctl}:promotions  (schemas.promotions)
    {u:<pseudonym>}:<tag>     slate and seen items of one generation
    {u:<pseudonym>}:s<tag>    seen items, of generations whose slates are of codec version 1
    {u:<pseudonym>}:flags, :recents, :delta:<tag>         outside generations, written by later parts
    {i:<item_idx>}:<tag>      neighbors of one generation (similar and bought_together have different tags)
    {t:<segment>}:<tag>       trending list               {t}:<tag>  the segments there are (JSON list)
    {m:<k>}                   written to be waited for on replicas, one a server; gone in a minute
    {cat:<sha>}:<k>           k-th chunk of a catalogue    {g:<tag>}:<k>  k-th chunk of the key names of a generation

Never tagged by generation alone: one generation would be one hot slot. A tag is the generation's 48-bit content hash
in 8 characters (base64url), so it is as unique as the generation's id.
"""

import base64
import re
from dataclasses import dataclass
from urllib.parse import unquote

GLOBAL_SEGMENT = "all"
DAYPARTS = ("night", "morning", "afternoon", "evening")  # segments daypart=…, six hours of UTC each from midnight on
GENERATION = re.compile(r"([a-z_]+)-(\d{8}T\d{6}Z)-([0-9a-f]{12})")


def tag_of(generation: str) -> str:
    """The short key tag of a generation id.

    Raises:
        ValueError: not a generation id.
    """
    match = GENERATION.fullmatch(generation)
    if match is None:
        raise ValueError(f"generation {generation!r}; allowed: <surface>-<YYYYMMDDTHHMMSSZ>-<12 hex digits>")
    return base64.urlsafe_b64encode(bytes.fromhex(match[3])).decode()


def unix_path(url: str) -> str | None:
    """The socket of a unix:// URL, relative paths too (redis-py would take their first folder for a host)."""
    if not url.startswith("unix://"):
        return None
    return unquote(url.removeprefix("unix://").partition("?")[0])


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names under one namespace."""

    namespace: str

    @property
    def live(self) -> str:
        return f"{self.namespace}:{{ctl}}:live"

    @property
    def lease(self) -> str:
        return f"{self.namespace}:{{ctl}}:lease"

    @property
    def token(self) -> str:
        return f"{self.namespace}:{{ctl}}:token"

    @property
    def about(self) -> str:
        return f"{self.namespace}:{{ctl}}:about"

    @property
    def availability(self) -> str:
        return f"{self.namespace}:{{ctl}}:availability"

    @property
    def promotions(self) -> str:
        return f"{self.namespace}:{{ctl}}:promotions"

    @property
    def loads(self) -> str:
        return f"{self.namespace}:{{ctl}}:loads"

    def slate(self, pseudonym: str, tag: str) -> str:
        return f"{self.namespace}:{{u:{pseudonym}}}:{tag}"

    def seen(self, pseudonym: str, tag: str) -> str:
        return f"{self.namespace}:{{u:{pseudonym}}}:s{tag}"

    def delta(self, pseudonym: str, tag: str) -> str:
        return f"{self.namespace}:{{u:{pseudonym}}}:delta:{tag}"

    def flags(self, pseudonym: str) -> str:
        return f"{self.namespace}:{{u:{pseudonym}}}:flags"

    def recents(self, pseudonym: str) -> str:
        return f"{self.namespace}:{{u:{pseudonym}}}:recents"

    def neighbors(self, item_idx: int, tag: str) -> str:
        return f"{self.namespace}:{{i:{item_idx}}}:{tag}"

    def trending(self, segment: str, tag: str) -> str:
        return f"{self.namespace}:{{t:{segment}}}:{tag}"

    def segments(self, tag: str) -> str:
        return f"{self.namespace}:{{t}}:{tag}"

    def catalogue(self, sha: str, chunk: int) -> str:
        return f"{self.namespace}:{{cat:{sha}}}:{chunk}"

    def mark(self, number: int) -> str:
        return f"{self.namespace}:{{m:{number}}}"

    def index(self, tag: str, chunk: int) -> str:
        return f"{self.namespace}:{{g:{tag}}}:{chunk}"
