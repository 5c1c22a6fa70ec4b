"""Literal generations and shelves to publish, and what of them is in Redis afterwards."""

import redis

from jobs.publish import Publisher
from jobs.rim.manifest import DataFile
from jobs.rim.packing import generation_id
from jobs.rim.shelf import Generation, Shelf
from schemas.catalogue import pack_catalogue
from schemas.codec import pack_list
from schemas.keys import Keys, tag_of
from schemas.release import Release

KEYS = Keys("test")
NOON = "2026-01-02T12:00:00Z"
LATER = "2026-01-02T13:00:00Z"
SMALL = {"pipeline_keys": 10, "lease_s": 5, "timeout_ms": 1000}


def generation(surface="for_you", as_of=NOON, seed=0, n_users=25, entries=None) -> Generation:
    """Of one slate for each user; other seeds are other generations."""
    name = generation_id(surface, as_of, [DataFile("x", n_users, 1, seed)], 100, 1)
    tag = tag_of(name)
    default = [(KEYS.slate(f"{user:032x}", tag), slate(seed + user)) for user in range(n_users)]
    return Generation(surface, name, as_of, as_of, 100, entries or (lambda: iter(default)))


def slate(first: int) -> bytes:
    return pack_list([first, first + 1], [1.0, 0.5], ["als", "als"], [7, -1])


def shelf(*generations: Generation, as_of=NOON, rows=(("a", "Title", None, True),)) -> Shelf:
    return Shelf(generations, as_of, len(rows), 1, lambda: pack_catalogue(rows, len(rows)))


def publisher(client: redis.Redis, settings, said=None, **options) -> Publisher:
    return Publisher(client, KEYS, settings, say=(said if said is not None else []).append, **options)


def keys_of(client: redis.Redis, tag: str) -> list[bytes]:
    return [key for key in client.keys("*") if tag.encode() in key]


def stray(client: redis.Redis, release: Release | None) -> list[str]:
    """Keys that neither belong to what the release names nor end within the time a replaced catalogue has."""
    tags = [tag_of(name) for name in release.kept()] if release else []
    kept = [*tags, release.catalogue.sha if release else "", "{ctl}:live", "{ctl}:token", "{ctl}:loads"]
    left = [key.decode() for key in client.keys("*")]
    return [key for key in left if not any(word and word in key for word in kept) and client.ttl(key) > 600]
