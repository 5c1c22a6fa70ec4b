"""A publisher killed (SIGKILL) before its first command to Redis, its second, …: run with the server's socket.

For each it prints a line of JSON: the epoch, and the generations live in its wake; whether the next publish then went
live; and which keys were left over after it. In a process of its own, for it forks.
"""

import json
import os
import signal
import sys

import redis
from redis_server import at_socket
from shelves import KEYS, LATER, SMALL, generation, publisher, shelf, stray

from conf.settings import load_settings
from jobs.rim.redis_release import read_release

LAST = "2026-01-02T14:00:00Z"


def main(socket: str) -> None:
    settings = load_settings(publish=SMALL, identity={"secret": "a secret of the tests"})
    step, alive = 0, False
    while not alive:
        step += 1
        with at_socket(socket) as client:
            client.flushall()
            publisher(client, settings).publish(shelf(generation(seed=1), generation("trending", seed=2)))
        alive = not killed(socket, settings, step)
        with at_socket(socket) as client:
            print(json.dumps({"step": step, "killed": not alive} | aftermath(client, settings)))


def killed(socket: str, settings, step: int) -> bool:
    """Publish in a child that dies before that command; False when it got through."""
    child = os.fork()
    if child == 0:
        with at_socket(socket) as client:
            dying_at(step)
            both = (generation(as_of=LATER, seed=3), generation("trending", LATER, seed=4))
            publisher(client, settings).publish(shelf(*both, as_of=LATER, rows=(("a", "New", None, True),)))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def dying_at(step: int) -> None:
    """Each command or pipeline goes to the socket as one; before that one this process ends."""
    sent = redis.connection.AbstractConnection.send_packed_command
    count = iter(range(1, sys.maxsize))

    def send(self, command, check_health=True):
        if next(count) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return sent(self, command, check_health)

    redis.connection.AbstractConnection.send_packed_command = send


def aftermath(client: redis.Redis, settings) -> dict:
    """What is live, then what the next run makes of it."""
    live = read_release(client, KEYS)
    client.delete(KEYS.lease)  # what its expiry does
    after = publisher(client, settings).publish(shelf(generation(as_of=LAST, seed=5), as_of=LAST))
    return {
        "epoch": live.epoch,
        "as_of": sorted({entry.as_of for entry in live.surfaces.values()}),
        "next": (after.epoch, after.live("for_you").as_of),
        "stray": stray(client, after),
    }


if __name__ == "__main__":
    main(sys.argv[1])
