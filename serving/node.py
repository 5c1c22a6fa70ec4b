"""One Redis server: connections made in the background, lent to requests, and reads with a limit on every wait.

redis-py makes the connection (TLS, password, database); what is sent over it is packed and parsed by hiredis here: a
command through redis-py costs more time than Redis takes to answer it, and it cannot wait for as long as a request has
left. A request never connects itself, for nothing bounds a look-up of a name: it orders a connection and waits for it.
"""

import select
import threading
import time
from collections import deque
from collections.abc import Sequence

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from conf.settings import Redis as RedisSettings
from schemas.keys import unix_path
from schemas.redis_url import place_of
from serving.breaker import Breaker
from serving.deadline import FLOOR_S, Deadline

RECEIVE = 65_536
SLOW = 1 / 3  # of the time-out: a mean read beyond that is slow
PATIENCE = 100  # a catalogue chunk has a megabyte


class StoreAway(ConnectionError):
    """Redis does not answer, or not in time."""


def connect(settings: RedisSettings, url: str, patience: float = 1) -> redis.Redis:
    """A client that waits the settings' time-outs times ``patience``; connects on first use."""
    options = {
        "socket_connect_timeout": settings.connect_timeout_ms * patience / 1000,
        "socket_timeout": settings.read_timeout_ms * patience / 1000,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,  # CLIENT SETINFO would cost two round trips of every new connection
    }
    if (place := place_of(url)) is not None:  # Sentinels: each new connection asks them who is the master now
        return Sentinel(place.hosts, sentinel_kwargs=options, **options, **place.options).master_for(place.service)
    path = unix_path(url)
    if path is not None:
        return redis.Redis(unix_socket_path=path, **options)
    return redis.Redis.from_url(url, **options)


class Moved(StoreAway):
    """Another node of the Cluster holds the keys."""


class Wire:
    """One open connection; used by one thread at a time."""

    def __init__(self, connection: redis.Connection):
        self.connection = connection
        self.socket = connection._sock  # redis-py gives no public way to it; its version is pinned
        self.parser = hiredis.Reader()
        self.poll = select.poll()
        self.poll.register(self.socket, select.POLLIN)

    def stale(self) -> bool:
        """Whether the server closed it while it was idle: then there is something to read."""
        return bool(self.poll.poll(0))

    def ask(self, commands: bytes, n: int, timeout_s: float) -> list:
        """The replies of ``n`` commands, waited for no longer than ``timeout_s`` in all.

        Raises:
            OSError: not all came in time, or the connection broke.
        """
        until = time.monotonic() + timeout_s
        self.socket.settimeout(timeout_s)
        self.socket.sendall(commands)
        replies: list = []
        while True:
            data = self.socket.recv(RECEIVE)
            if not data:
                raise ConnectionError("Redis closed the connection")
            self.parser.feed(data)
            while len(replies) < n and (reply := self.parser.gets()) is not False:
                replies.append(reply)
            if len(replies) == n:
                return replies
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self.socket.settimeout(left)

    def close(self) -> None:
        self.connection.disconnect()


class Node:
    """A server by its URL, with its breaker; safe to share between threads."""

    def __init__(self, settings: RedisSettings, url: str, readonly: bool = False):
        self.url, self.readonly = url, readonly
        self.connect_s, self.read_s = settings.connect_timeout_ms / 1000, settings.read_timeout_ms / 1000
        self.pool = connect(settings, url).connection_pool
        self.patient = connect(settings, url, PATIENCE)
        self.breaker = Breaker(SLOW * self.read_s)
        self.idle: deque[Wire] = deque()
        self.trouble = ""
        self._lock = threading.Lock()
        self._order: threading.Event | None = None

    def mget(self, groups: Sequence[list[str]], deadline: Deadline, probe: bool = False) -> list[list[bytes | None]]:
        """Values of groups of keys, each of one slot, in one round trip; None for each missing one.

        ``probe`` asks whatever the breaker says.

        Raises:
            Moved: these keys are elsewhere.
            StoreAway: the breaker is open, too little time is left, or Redis failed.
        """
        return self.ask([hiredis.pack_command(("MGET", *names)) for names in groups], deadline, probe)

    def ping(self, deadline: Deadline) -> None:
        """A probe where no key is known to be here."""
        self.ask([hiredis.pack_command(("PING",))], deadline, probe=True)

    def ask(self, commands: list[bytes], deadline: Deadline, probe: bool) -> list:
        if self.breaker.open and not probe:
            raise StoreAway(f"Redis is away ({self.breaker.why})")
        began = time.monotonic()
        left = deadline.at - began
        if left < FLOOR_S:
            raise StoreAway("no time is left to ask Redis")
        try:
            found = self.exchange(commands, deadline)
        except Moved:
            raise
        except (OSError, redis.exceptions.RedisError, hiredis.HiredisError) as error:
            self.breaker.failed(time.monotonic() - began, str(error))
            raise StoreAway(str(error)) from None
        took = time.monotonic() - began
        if probe:
            self.breaker.probed(took)
        else:
            self.breaker.answered(took)
        return found

    def exchange(self, commands: list[bytes], deadline: Deadline) -> list[list[bytes | None]]:
        wire = self.take(min(self.connect_s, deadline.left()))
        try:
            wait_s = max(FLOOR_S, min(self.read_s, deadline.left()))
            replies = wire.ask(b"".join(commands), len(commands), wait_s)
        except BaseException:  # a reply may still come: nobody may read it as the answer to another question
            wire.close()
            raise
        self.idle.append(wire)
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise Moved(str(reply)) if str(reply).startswith(("MOVED", "ASK")) else reply
        return replies

    def take(self, wait_s: float) -> Wire:
        """An open connection, ordered where there is none.

        Raises:
            ConnectionError: there is none within ``wait_s``.
        """
        until = time.monotonic() + wait_s
        while True:
            try:
                wire = self.idle.pop()
            except IndexError:
                left = until - time.monotonic()
                if not (left > 0 and self.ordered().wait(left)) or self.trouble:
                    raise ConnectionError(self.trouble or "no connection in time") from None
            else:
                if not wire.stale():
                    return wire
                wire.close()

    def ordered(self) -> threading.Event:
        """Set once a connection was made, or could not be; one is made at a time."""
        with self._lock:
            if self._order is None:
                self._order, self.trouble = threading.Event(), ""
                threading.Thread(target=self._deliver, name="redis-connect", daemon=True).start()
            return self._order

    def _deliver(self) -> None:
        trouble = ""
        try:
            connection = self.pool.make_connection()
            connection.connect()
            wire = Wire(connection)
            if self.readonly:
                wire.ask(hiredis.pack_command(("READONLY",)), 1, self.read_s)
            self.idle.append(wire)
        except Exception as error:  # whatever it is, who waits is told
            trouble = str(error) or type(error).__name__
        with self._lock:
            order, self._order, self.trouble = self._order, None, trouble
        order.set()

    def close(self) -> None:
        while self.idle:
            self.idle.pop().close()
        self.patient.close()
