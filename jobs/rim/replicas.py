"""Waits for the replicas of every server, so that a fail-over right after the switch loses nothing."""

import time

import redis
from redis.crc import key_slot

from jobs.rim.errors import TemporaryError
from jobs.rim.roads import Roads
from schemas.keys import Keys

SLICE_S = 1.0  # of one WAIT: far below the time-out of an answer
LIFE_S = 60


def wait_for_replicas(roads: Roads, keys: Keys, n_replicas: int, timeout_s: float) -> None:
    """WAIT counts what its own connection wrote: so each server gets a small key first, behind all before it.

    Raises:
        TemporaryError: a server has fewer replicas that have it all within ``timeout_s``.
    """
    if n_replicas == 0:
        return
    deadline = time.monotonic() + timeout_s
    for owner, key in marks(roads, keys).items():
        connection = roads.connection(owner)
        try:
            wait(connection, key, n_replicas, deadline)
        finally:
            roads.give_back(owner, connection)


def marks(roads: Roads, keys: Keys) -> dict[int, str]:
    """A key of each server's own."""
    if not roads.many:
        return {0: keys.mark(0)}
    found, wanted = {}, set(roads.owner_of_slot.tolist())
    number = 0
    while len(found) < len(wanted):
        key = keys.mark(number)
        found.setdefault(int(roads.owner_of_slot[key_slot(key.encode())]), key)
        number += 1
    return found


def wait(connection: redis.Connection, key: str, n_replicas: int, deadline: float) -> None:
    connection.send_command("SET", key, b"", "EX", LIFE_S)
    connection.read_response()
    while True:
        left = max(0.001, min(SLICE_S, deadline - time.monotonic()))
        connection.send_command("WAIT", n_replicas, int(left * 1000) or 1)
        if (reached := connection.read_response()) >= n_replicas:
            return
        if time.monotonic() >= deadline:
            raise TemporaryError(f"{reached} of {n_replicas} replicas have what was written; nothing was switched")
