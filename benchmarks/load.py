"""A load generator over raw keep-alive connections to this machine: a closed loop of so many clients, or an open loop.

One thread and epoll; about 20,000 requests a second on one core, so that of a few thousand it takes a fifth of a core.
In a closed loop each client asks as soon as it was answered. In an open loop a request is due every 1/rate seconds and
its latency counts from when it was due, whether a connection was free or not: what a stall delays is not forgotten.
"""

import heapq
import random
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

HOST = "127.0.0.1"
MOST_CONNECTIONS = 512
LOST_S = 10.0  # a request without an answer for so long is an error
TIER, DEGRADED = b'"tier":"', b'"degraded":true'
USERS, UNKNOWN = 100_000, 0.05


@dataclass
class Told:
    """What came back: seconds of each request, counts of statuses and tiers, and what went wrong."""

    seconds: list[float] = field(default_factory=list)
    well: list[float] = field(default_factory=list)  # of those with status 200
    statuses: Counter = field(default_factory=Counter)
    tiers: Counter = field(default_factory=Counter)
    errors: Counter = field(default_factory=Counter)
    copied: list[float] = field(default_factory=list)  # monotonic, when an answer came from a copy
    took_s: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.took_s if self.took_s else 0.0

    def ms(self, share: float) -> float:
        return quantile_ms(self.seconds, share)


def quantile_ms(seconds: list[float], share: float) -> float:
    """The latency that ``share`` of the requests did not exceed, in ms; 0 where there were none."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0


def users(seed: int = 7) -> Iterator[int]:
    """User numbers by Zipf, 5 % of them beyond USERS: unknown. As peers/bare_route.lua draws them."""
    chooser = random.Random(seed)
    while True:
        user = int(USERS ** chooser.random())
        yield USERS + user if chooser.random() < UNKNOWN else user


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


class Client:
    """One connection and the request it waits for."""

    __slots__ = ("due", "need", "parts", "path", "sent", "socket")

    def __init__(self, port: int):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect((HOST, port))
        self.path = ""

    def ask(self, path: str, due: float) -> None:
        self.path, self.due, self.sent, self.parts, self.need = path, due, time.monotonic(), b"", None
        self.socket.sendall(get(path))

    def take(self) -> tuple[int, bytes] | None:
        """Status and body once they are whole.

        Raises:
            OSError: the connection broke.
        """
        data = self.socket.recv(262_144)
        if not data:
            raise ConnectionResetError("closed")
        self.parts += data
        if self.need is None:
            end = self.parts.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = self.parts[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self.need = end + 4 + length
        if len(self.parts) < self.need:
            return None
        return int(self.parts[9:12]), self.parts[self.parts.find(b"\r\n\r\n") + 4 :]


class Load:
    """Clients of one port; ``check`` sees every answer: path, status, body."""

    def __init__(self, port: int, paths: Iterator[str], check: Callable[[str, int, bytes], None] | None = None):
        self.port, self.paths, self.check, self.told = port, paths, check, Told()
        self.poll = select.epoll()
        self.busy: dict[int, Client] = {}
        self.free: deque[Client] = deque()

    def closed(self, n_clients: int, seconds: float) -> Told:
        """``n_clients`` that ask one after another for so long."""
        began = time.monotonic()
        for _ in range(n_clients):
            self.send(began)
        while (now := time.monotonic()) < began + seconds:
            for client in self.replies(0.1):
                self.free.append(client)
            self.lose(now)
            while self.free or len(self.busy) < n_clients:
                if not self.send(time.monotonic()):
                    time.sleep(0.002)
                    break
        return self.end(began)

    def open(self, rate: float, seconds: float) -> Told:
        """A request every 1 / ``rate`` seconds for so long, then until the last is answered or lost."""
        began, n = time.monotonic(), int(rate * seconds)
        waiting: list[float] = [began + k / rate for k in range(n)]
        heapq.heapify(waiting)
        while waiting or self.busy:
            now = time.monotonic()
            while waiting and waiting[0] <= now and (self.free or len(self.busy) < MOST_CONNECTIONS):
                self.send(heapq.heappop(waiting))
            pause = min(0.01, max(0.0, waiting[0] - now)) if waiting else 0.01
            self.free.extend(self.replies(pause))
            self.lose(now)
        return self.end(began)

    def send(self, due: float) -> bool:
        """One request on a free connection or a new one; False when it could not be sent, which counts as an error."""
        try:
            client = self.free.popleft() if self.free else self.connected()
            client.ask(next(self.paths), due)
        except OSError as error:
            self.told.errors[f"send: {type(error).__name__}"] += 1
            return False
        self.busy[client.socket.fileno()] = client
        return True

    def connected(self) -> Client:
        client = Client(self.port)
        self.poll.register(client.socket, select.EPOLLIN)
        return client

    def replies(self, timeout: float) -> list[Client]:
        """The clients that were answered meanwhile."""
        done = []
        for number, _ in self.poll.poll(timeout):
            client = self.busy.get(number)
            if client is None:  # closed by the server while nothing was asked
                self.drop_idle(number)
                continue
            try:
                answer = client.take()
            except OSError as error:
                self.fail(client, type(error).__name__)
                continue
            if answer is not None:
                del self.busy[number]
                self.count(client, *answer)
                done.append(client)
        return done

    def count(self, client: Client, status: int, body: bytes) -> None:
        told = self.told
        told.seconds.append(time.monotonic() - client.due)
        if status == 200:
            told.well.append(told.seconds[-1])
        told.statuses[status] += 1
        at = body.find(TIER)
        if at >= 0:
            told.tiers[body[at + 8 : body.find(b'"', at + 8)].decode()] += 1
        if DEGRADED in body:
            told.copied.append(time.monotonic())
        if self.check is not None:
            self.check(client.path, status, body)

    def fail(self, client: Client, why: str) -> None:
        self.told.errors[why] += 1
        del self.busy[client.socket.fileno()]
        self.poll.unregister(client.socket)
        client.socket.close()

    def drop_idle(self, number: int) -> None:
        for client in list(self.free):
            if client.socket.fileno() == number:
                self.free.remove(client)
                self.poll.unregister(client.socket)
                client.socket.close()

    def lose(self, now: float) -> None:
        for client in [one for one in self.busy.values() if now - one.sent > LOST_S]:
            self.fail(client, "no answer")

    def end(self, began: float) -> Told:
        self.told.took_s = time.monotonic() - began
        for client in [*self.free, *self.busy.values()]:
            client.socket.close()
        self.poll.close()
        return self.told
