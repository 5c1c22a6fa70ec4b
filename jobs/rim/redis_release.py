"""The release switch: one lease, one fencing token, one compare-and-set. Runs on Redis 6.2 and newer."""

import time
from collections.abc import Callable

import redis

from jobs.rim.errors import TemporaryError
from schemas.keys import Keys
from schemas.release import Release, from_json

ACQUIRE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local last = tonumber(redis.call('GET', KEYS[2]) or 0)
local token = string.format('%.0f', math.max(last + 1, tonumber(ARGV[2])))
redis.call('SET', KEYS[2], token)
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
return token
"""
RENEW = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
GIVE_BACK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
SWITCH = """
if ARGV[2] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[2] then return 'fenced' end
local raw = redis.call('GET', KEYS[1])
local live = raw and cjson.decode(raw) or {epoch = 0, surfaces = {}}
if live.epoch ~= tonumber(ARGV[1]) then return 'conflict' end
if ARGV[4] ~= '1' then
  for name, entry in pairs(cjson.decode(ARGV[3]).surfaces) do
    local before = live.surfaces[name]
    if before and entry.as_of < before.as_of then return 'backwards ' .. name end
  end
end
redis.call('SET', KEYS[1], ARGV[3])
return 'switched'
"""
POLL_S = 0.2
TRIES = 10


class Lease:
    """The right to publish. Losing it is noticed at the next renewal or, at the latest, by the switch.

    Tokens rise, with the clock at least: so none comes twice though Redis lost the last ones, or all.
    """

    def __init__(self, client: redis.Redis, keys: Keys, lease_s: int):
        self.client, self.keys, self.lease_ms = client, keys, lease_s * 1000
        self.token = 0

    def acquire(self, wait_s: float) -> None:
        """Raise TemporaryError when another publisher still holds it after ``wait_s``."""
        deadline = time.monotonic() + wait_s
        while not self.try_acquire():
            if time.monotonic() >= deadline:
                raise TemporaryError(
                    f"another publisher holds {self.keys.lease} (waited {wait_s:.0f} s): try again when it is done"
                )
            time.sleep(POLL_S)

    def try_acquire(self) -> bool:
        now_ms = time.time_ns() // 1_000_000
        self.token = int(self.client.eval(ACQUIRE, 2, self.keys.lease, self.keys.token, self.lease_ms, now_ms))
        return self.token > 0

    def renew(self) -> None:
        """Raise TemporaryError when a newer publisher has taken over."""
        if not self.client.eval(RENEW, 2, self.keys.lease, self.keys.token, self.token, self.lease_ms):
            raise TemporaryError(
                "another publisher took over while this one was loading; nothing was switched: try again"
            )

    def give_back(self) -> None:
        self.client.eval(GIVE_BACK, 1, self.keys.lease, self.token)


def read_release(client: redis.Redis, keys: Keys) -> Release | None:
    """The live release; None where nothing was ever published.

    Raises:
        TemporaryError: the value is not one this version understands.
    """
    raw = client.get(keys.live)
    try:
        return None if raw is None else from_json(raw)
    except ValueError as error:
        raise TemporaryError(f"{keys.live} cannot be read: {error}; publish with the version that wrote it") from None


def switch(
    client: redis.Redis,
    keys: Keys,
    lease: Lease | None,
    change: Callable[[Release | None], Release],
    backwards: bool = False,
    claim: Callable[[Release], Release] = lambda after: after,
) -> Release:
    """Replace the release by ``change(live)``, again from the newest one whenever another change came first.

    ``claim`` writes down what is about to go live and may give it a higher epoch. Without a lease there is no fence:
    for changes that load nothing and so need not wait until a publisher is done.

    Raises:
        TemporaryError: a newer publisher holds the lease, a surface would go back in time, or no try got through.
    """
    for _ in range(TRIES):
        live = read_release(client, keys)
        after = claim(change(live))
        token = lease.token if lease else ""
        arguments = (live.epoch if live else 0, token, after.to_json(), int(backwards))
        verdict = client.eval(SWITCH, 2, keys.live, keys.token, *arguments).decode()
        if verdict == "switched":
            return after
        if verdict == "fenced":
            raise TemporaryError("another publisher took over before the switch; nothing was switched: try again")
        if verdict != "conflict":
            surface = verdict.removeprefix("backwards ")
            raise TemporaryError(f"{surface} went live with a later as_of meanwhile; nothing was switched")
    raise TemporaryError(f"{keys.live} changed under {TRIES} tries to switch it; try again")
