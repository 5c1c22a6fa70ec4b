"""Values outside generations, as serving follows them: the live catalogue to name items by, and one compare-and-set."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import redis

from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.redis_release import read_release
from schemas.catalogue import Catalogue
from schemas.keys import Keys

REPLACE = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
TRIES = 20
TOLD = 5  # unknown ids an error names
Value = TypeVar("Value")


def live_catalogue(client: redis.Redis, keys: Keys) -> Catalogue:
    """The catalogue of the live release.

    Raises:
        TemporaryError: nothing was published yet, or the catalogue is gone from Redis or of another version.
    """
    release = read_release(client, keys)
    if release is None:
        raise TemporaryError("nothing was published yet: run `nightshelf publish` first, then items have names")
    wanted = release.catalogue
    parts = [client.get(keys.catalogue(wanted.sha, chunk)) for chunk in range(wanted.n_chunks)]
    if None in parts:
        raise TemporaryError(f"catalogue {wanted.sha[:12]} is not in Redis: publish again")
    try:
        return Catalogue(b"".join(parts))
    except ValueError as error:
        raise TemporaryError(f"the live catalogue cannot be read: {error}") from None


def indices(catalogue: Catalogue, ids: Iterable[str], skip_unknown: bool = False) -> list[int]:
    """item_idx of each id.

    Raises:
        UsageError: the catalogue does not know one, unless those are to be skipped.
    """
    found = {item_id: catalogue.index(item_id) for item_id in ids}
    unknown = [item_id for item_id, idx in found.items() if idx is None]
    if unknown and not skip_unknown:
        more = f" and {len(unknown) - TOLD:,} more" if len(unknown) > TOLD else ""
        raise UsageError(
            f"no item {', '.join(map(repr, unknown[:TOLD]))}{more} in the live catalogue; nothing was changed "
            "(--skip-unknown goes on without them)"
        )
    return [idx for idx in found.values() if idx is not None]


def replace(
    client: redis.Redis,
    key: str,
    read: Callable[[bytes], Value],
    nothing: Value,
    change: Callable[[Value], Value],
    write: Callable[[Value], bytes],
) -> Value:
    """Put ``change`` of what stands under ``key`` there, again from the newest whenever another change came first.

    Raises:
        TemporaryError: what stands there cannot be read, or no try got through.
    """
    for _ in range(TRIES):
        raw = client.get(key) or b""
        after = change(current(key, raw, read) if raw else nothing)
        if client.eval(REPLACE, 1, key, raw, write(after)):
            return after
    raise TemporaryError(f"{key} changed under {TRIES} tries to set it; try again")


def current(key: str, raw: bytes, read: Callable[[bytes], Value]) -> Value:
    try:
        return read(raw)
    except ValueError as error:
        raise TemporaryError(f"{key} cannot be read: {error}; delete it to begin anew") from None
