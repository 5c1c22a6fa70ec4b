"""The warm store while serving: lists of users not seen for long, read from DynamoDB where Redis has none.

A request waits for such a read as long as the settings allow, less where its deadline is nearer, and boto3's own
waiting happens in a few threads: nothing bounds a look-up of a name. A read that comes too late for its request still
puts the list into Redis, where the user's next request finds it. The breaker is that of a Redis (serving.breaker); only
the background closes it. Users that were not found are remembered for a while: asked for again, they cost nothing.
"""

import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from importlib.util import find_spec
from threading import BoundedSemaphore, Lock

from conf.settings import Settings, SettingsError, Warm
from schemas.release import Published
from schemas.warm import NOBODY, key_of, read_row
from serving.breaker import Breaker
from serving.deadline import FLOOR_S, Deadline
from serving.node import SLOW
from serving.reader import Reader, StoreAway, UserRead

THREADS = 4
LONGEST_S = 1.0  # that a thread waits for DynamoDB, whoever has stopped waiting for the thread
ANSWER_S = 0.005  # of the deadline, left for making the answer
TOGETHER = 100  # DynamoDB's own limit
ABSENT, ABSENT_S = 20_000, 60.0  # users remembered as not there, and how long, to twice that
PROBE_EVERY_S = 10.0  # keeps a connection open and made
log = logging.getLogger("nightshelf.serving")


def require_boto3(settings: Warm) -> None:
    """Raise SettingsError where there is a warm store to read, and nothing to read it with."""
    if settings.table and find_spec("boto3") is None:
        raise SettingsError("warm.table is set and boto3 is not installed: install nightshelf[serving,warm]")


def open_client(settings: Warm):
    """A DynamoDB client that tries once.

    Raises:
        SettingsError: boto3 is not installed, or finds the settings wrong.
    """
    require_boto3(settings)
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=LONGEST_S,
        read_timeout=LONGEST_S,
        max_pool_connections=THREADS,
        tcp_keepalive=True,
    )
    try:
        session, endpoint = boto3.Session(), settings.endpoint or None
        return session.client("dynamodb", region_name=settings.region, endpoint_url=endpoint, config=config)
    except (BotoCoreError, ValueError) as error:
        raise SettingsError(f"warm: {error}") from None


def open_warm(settings: Settings, reader: Reader) -> "WarmReader | None":
    """The warm store of the settings; None where it is off.

    Raises:
        SettingsError: as ``open_client``.
    """
    if not settings.warm.table:
        return None

    def put_back(user: str, tag: str, value: bytes) -> None:
        if settings.warm.hot_s:
            reader.put_back(user, tag, value, settings.warm.hot_s)

    warm = WarmReader(settings.warm, put_back)
    warm.begin()
    return warm


def filled(
    warm: "WarmReader | None", users: Sequence[str], found: list[UserRead], entry: Published | None, deadline: Deadline
) -> tuple[list[UserRead], bool]:
    """What Redis holds of users, with lists it lacks from the warm store, if the generation has a part there.

    Also whether that store is away, so that those who still lack one may have one.
    """
    missing = [user for user, one in zip(users, found, strict=True) if one.base is None]
    if not missing or entry is None or not entry.n_warm:
        return found, False
    try:
        if warm is None:
            raise StoreAway("warm.table names no table here")
        values = warm.values(missing, entry.tag, deadline)
    except StoreAway:
        return found, True
    return [one._replace(base=one.base or values.get(user)) for user, one in zip(users, found, strict=True)], False


class WarmReader:
    """Reads rows; ``put_back(user, tag, value)`` gets each that was found; ``told`` what came of each read of a user.

    Safe to share between threads.
    """

    def __init__(self, settings: Warm, put_back: Callable[[str, str, bytes], None]):
        self.table, self.client, self.put_back = settings.table, open_client(settings), put_back
        self.timeout_s = settings.read_timeout_ms / 1000
        self.breaker = Breaker(SLOW * self.timeout_s)
        self.told: Callable[[str, int], None] = lambda result, n: None
        self.absent: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._pool = ThreadPoolExecutor(THREADS + 1, thread_name_prefix="warm")
        self._free, self._lock = BoundedSemaphore(THREADS), Lock()
        self._probe: Future | None = None
        self._probe_due = 0.0

    def values(self, users: Sequence[str], tag: str, deadline: Deadline) -> dict[str, bytes]:
        """The packed lists of those users that have one of this generation.

        Raises:
            StoreAway: DynamoDB does not answer in time, or is not asked now.
        """
        wanted = [user for user in dict.fromkeys(users) if not self.known_absent((user, tag))]
        if not wanted:
            return {}
        try:
            found = self.read(wanted, tag, deadline)
        except StoreAway:
            self.told("away", len(wanted))
            raise
        self.told("found", len(found))
        self.told("absent", len(wanted) - len(found))
        self.remember([(user, tag) for user in wanted if user not in found])
        return found

    def read(self, users: list[str], tag: str, deadline: Deadline) -> dict[str, bytes]:
        began = time.monotonic()
        left = min(self.timeout_s, deadline.at - began - ANSWER_S)
        if self.breaker.open:
            raise StoreAway(f"the warm store is away ({self.breaker.why})")
        if left < FLOOR_S:
            raise StoreAway("no time is left to ask the warm store")
        if not self._free.acquire(blocking=False):
            raise StoreAway("the warm store does not answer those who asked before")
        reading = self._pool.submit(self.fetch, users, tag)
        reading.add_done_callback(lambda done: self.after(done, tag))
        try:
            found = reading.result(left)
        except Exception as error:  # whatever boto3 raises, and the time-out
            self.breaker.failed(time.monotonic() - began, str(error) or "no answer in time")
            raise StoreAway(f"the warm store: {error or 'no answer in time'}") from None
        self.breaker.answered(time.monotonic() - began)
        return found

    def fetch(self, users: list[str], tag: str) -> dict[str, bytes]:
        """In a thread, a hundred users a round trip; raises what boto3 does, and StoreAway where it is throttled.

        Consistent reads: right after a switch an absent row would else be believed, and remembered.
        """
        if len(users) == 1:
            row = self.client.get_item(TableName=self.table, Key=key_of(users[0], tag), ConsistentRead=True).get("Item")
            return dict([read_row(row)]) if row else {}
        found: dict[str, bytes] = {}
        for first in range(0, len(users), TOGETHER):
            keys = [key_of(user, tag) for user in users[first : first + TOGETHER]]
            answer = self.client.batch_get_item(RequestItems={self.table: {"Keys": keys, "ConsistentRead": True}})
            if answer["UnprocessedKeys"]:
                raise StoreAway("throttled")
            found.update(map(read_row, answer["Responses"][self.table]))
        return found

    def after(self, done: Future, tag: str) -> None:
        """In that thread, the request having been told: put what was found into Redis."""
        try:
            if done.exception() is None:
                for user, value in done.result().items():
                    self.put_back(user, tag, value)
        finally:
            self._free.release()

    # users that have no row

    def known_absent(self, key: tuple[str, str]) -> bool:
        with self._lock:
            return self.absent.get(key, 0.0) > time.monotonic()

    def remember(self, keys: list[tuple[str, str]]) -> None:
        until = time.monotonic() + ABSENT_S * (1 + random.random())
        with self._lock:
            self.absent.update(dict.fromkeys(keys, until))
            while len(self.absent) > ABSENT:
                self.absent.popitem(last=False)

    # the background

    def probe(self) -> None:
        """Ask for nobody, in a thread: while the breaker is open, and now and then to keep a connection."""
        now = time.monotonic()
        flying = self._probe is not None and not self._probe.done()
        if flying or not (self.breaker.open or now >= self._probe_due):
            return
        self._probe_due = now + PROBE_EVERY_S
        self._probe = self._pool.submit(self.ask_for_nobody)

    def ask_for_nobody(self) -> None:
        began = time.monotonic()
        try:
            self.fetch([NOBODY], NOBODY)
        except Exception as error:
            why = f"the warm store is away: {error}"
            if why != self.breaker.why:
                log.warning(why)
                self.breaker.why = why
            return
        self.breaker.probed(time.monotonic() - began)

    def begin(self) -> None:
        """Probe, and wait for that a little: so the first requests need not find it away."""
        self.probe()
        wait([self._probe], LONGEST_S)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
