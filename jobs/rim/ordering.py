"""Carries an order out: one write of the release, written down in the lake before."""

from collections.abc import Callable

import redis

from jobs.rim.errors import UsageError
from jobs.rim.history import History
from jobs.rim.redis_release import read_release, switch
from schemas.keys import Keys
from schemas.release import Release

NEVER = "nothing is live in this Redis: `nightshelf publish` first"


def carry_out(
    client: redis.Redis,
    keys: Keys,
    history: History,
    order: Callable[[Release], Release],
    say: Callable[[str], None],
) -> Release:
    """Replace the live release by ``order(live)``; a lake that cannot be written to is told and does not hinder it.

    Raises:
        UsageError: nothing is live, or the order cannot be carried out.
        TemporaryError: the release changed under every try.
    """

    def change(live: Release | None) -> Release:
        if live is None:
            raise UsageError(NEVER)
        return order(live)

    def claim(after: Release) -> Release:
        try:
            return history.claim(after)
        except OSError as error:
            say(f"warning: not written down in the lake, so a Redis that comes back empty will not know: {error}")
            return after

    return switch(client, keys, None, change, True, claim)


def live_release(client: redis.Redis, keys: Keys) -> Release:
    """The live release.

    Raises:
        UsageError: there is none.
    """
    live = read_release(client, keys)
    if live is None:
        raise UsageError(NEVER)
    return live
