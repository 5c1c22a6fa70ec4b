"""One connection over which commands stream: many on their way, replies counted as bytes, what broke is sent again."""

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import redis

from jobs.rim.errors import TemporaryError

OK = b"+OK\r\n"
ON_THE_WAY = 2  # parcels sent and not answered: the server has one to work on while the next is packed
ATTEMPTS = 8  # with the pauses between them some 12 s: longer than a fail-over takes
PAUSE_S, LONGEST_PAUSE_S = 0.2, 3.0  # before the second attempt; twice as long before each further one
READ_BYTES = 1 << 16
BROKEN = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)
ELSEWHERE = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN")
NOT_NOW = ("READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS")


class Moved(RuntimeError):
    """A Cluster's slot belongs to another server than we thought; ``waiting`` holds what must be sent there."""

    def __init__(self, waiting: list["Sent"]):
        super().__init__("a slot has moved")
        self.waiting = waiting


@dataclass(frozen=True, slots=True)
class Sent:
    """Commands whose ``n`` replies must all be OK."""

    commands: tuple[bytes | memoryview, ...]
    n: int


def pause_of(attempt: int) -> float:
    """Seconds to wait after the attempt of that number, from 0; with jitter."""
    return min(LONGEST_PAUSE_S, PAUSE_S * 2**attempt) * random.uniform(0.75, 1.25)


class Link:
    """``connect`` opens a connection, ``discard`` closes it; memory: ``ON_THE_WAY`` parcels.

    ``stays``: the owner of the keys is this server whatever happens; else a break of the connection says ``Moved``.
    """

    def __init__(
        self,
        connect: Callable[[], redis.Connection],
        discard: Callable[[redis.Connection], None],
        stays: bool = True,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.connect, self.discard, self.stays, self.sleep = connect, discard, stays, sleep
        self.connection: redis.Connection | None = None
        self.waiting: deque[Sent] = deque()

    def send(self, commands: tuple[bytes | memoryview, ...], n: int) -> None:
        """Send SETs; waits while too many are unanswered.

        Raises:
            TemporaryError: not all replies were OK.
            redis.exceptions.RedisError: out of memory, refused, or the server stays away through all attempts.
            Moved: another server owns a key, or may; nothing waits any more here.
        """
        self.waiting.append(Sent(commands, n))
        self.guarded(lambda: (self.write(self.waiting[-1]), self.read_until(ON_THE_WAY - 1)))

    def settle(self) -> None:
        """Wait for all replies; raises as ``send``."""
        self.guarded(lambda: self.read_until(0))

    def guarded(self, work: Callable[[], object]) -> None:
        """Do ``work``; where the connection breaks, send all that is unanswered again over a new one (SETs repeat)."""
        for attempt in range(ATTEMPTS):
            try:
                if attempt == 0:
                    work()
                else:
                    self.repeat()
                return
            except TemporaryError:  # an OSError too
                self.close()
                raise
            except BROKEN as error:
                self.close()
                if not self.stays:
                    raise self.moved() from error
                if attempt == ATTEMPTS - 1:
                    raise redis.exceptions.ConnectionError(str(error)) from error
                self.sleep(pause_of(attempt))
            except BaseException:
                self.close()
                raise

    def repeat(self) -> None:
        for sent in self.waiting:
            self.write(sent)
        self.read_until(0)

    def write(self, sent: Sent) -> None:
        if self.connection is None:
            self.connection = self.connect()
        self.connection.send_packed_command(sent.commands, check_health=False)

    def read_until(self, n_waiting: int) -> None:
        while len(self.waiting) > n_waiting:
            self.read_replies(self.waiting[0].n)
            self.waiting.popleft()

    def read_replies(self, n: int) -> None:
        """Read ``n`` replies past redis-py's parser, which would make an object of each."""
        wanted, found = OK * n, bytearray()
        while len(found) < len(wanted):
            found += self.receive(len(wanted) - len(found))
        if found == wanted:
            return
        while found.count(b"\r\n") < n or not found.endswith(b"\r\n"):
            found += self.receive(READ_BYTES)
        self.refused(found.split(b"\r\n")[:n])

    def receive(self, n_bytes: int) -> bytes:
        got = self.connection._sock.recv(min(n_bytes, READ_BYTES))
        if not got:
            raise redis.exceptions.ConnectionError("Connection closed by server.")
        return got

    def refused(self, lines: list[bytes]) -> None:
        errors = [line[1:].decode(errors="replace") for line in lines if line.startswith(b"-")]
        first = next(iter(errors), "")
        if first.startswith(ELSEWHERE):
            raise self.moved()
        if first.startswith(NOT_NOW):
            raise redis.exceptions.ConnectionError(first)
        if first.startswith("OOM"):
            raise redis.exceptions.OutOfMemoryError(first)
        if first:
            raise redis.exceptions.ResponseError(first)
        good = sum(line == OK[:-2] for line in lines)
        raise TemporaryError(f"Redis answered OK to {good} of {len(lines)} SETs; what was live still is")

    def moved(self) -> Moved:
        waiting = list(self.waiting)
        self.waiting.clear()
        return Moved(waiting)

    def close(self) -> None:
        if self.connection is not None:
            self.discard(self.connection)
            self.connection = None
