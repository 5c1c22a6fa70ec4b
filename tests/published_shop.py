"""A small shop, published by the real publisher into a real redis-server, and the app in process over it."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from redis_server import RedisServer

from conf.settings import Settings, load_settings
from jobs.publish import Publisher
from jobs.rim.shelf import Generation, Shelf
from schemas.catalogue import pack_catalogue
from schemas.codec import pack_ids, pack_list
from schemas.identity import pseudonym
from schemas.keys import Keys, tag_of
from serving.app import create_app, open_answers

SECRET = "a secret of the tests"
KEYS = Keys("shop")
AS_OF = "2026-01-02T12:00:00Z"
N_ITEMS = 40
CATEGORIES = ("books", "toys", "food", None)  # of an item, by its index modulo 4
UNAVAILABLE = {2, 13}
IDS = [f"i{idx}" for idx in range(N_ITEMS)]
IDS[5] = "a,b/5 ü?"
ROWS = [
    (IDS[idx], f"Title {idx}", CATEGORIES[idx % 4], idx not in UNAVAILABLE, None if idx % 5 == 0 else idx + 0.5)
    for idx in range(N_ITEMS)
]
TRENDING = {
    "all": [20, 21, 2, 1, 22, 23],
    "category=toys": [33, 37],
    "country=France": [30, 20],
    "device=phone": [31],
    "daypart=evening": [35],
}
numbers = count(1)


def packed(items, source="als", because=-1):
    n = len(items)
    return pack_list(items, [float(n - k) for k in range(n)], [source] * n, [because] * n)


def user(name):
    return pseudonym(SECRET.encode(), name)


def generation(surface, entries):
    """``entries(tag)`` gives keys and values."""
    name = f"{surface}-20260102T120000Z-{next(numbers):012x}"
    return Generation(surface, name, AS_OF, AS_OF, N_ITEMS, lambda: iter(entries(tag_of(name))))


def generations():
    """ann: 1 to 6 (2 is not available), has seen 20 and 21; bob: 8 only."""

    def for_you(tag):
        yield KEYS.slate(user("ann"), tag), packed([1, 2, 3, 4, 5, 6], because=7)
        yield KEYS.seen(user("ann"), tag), pack_ids([20, 21])
        yield KEYS.slate(user("bob"), tag), packed([8])

    def trending(tag):
        for segment, items in TRENDING.items():
            yield KEYS.trending(segment, tag), packed(items, "trending")
        yield KEYS.segments(tag), json.dumps(list(TRENDING)).encode()

    yield generation("for_you", for_you)
    yield generation("similar", lambda tag: [(KEYS.neighbors(1, tag), packed([3, 13, 1, 5], "viewed_together"))])
    yield generation("bought_together", lambda tag: [(KEYS.neighbors(1, tag), packed([9], "bought_together"))])
    yield generation("trending", trending)


class Shop:
    """The redis-server, what is published in it, and a client of the app over it."""

    def __init__(self, server: RedisServer, settings: Settings):
        self.server, self.settings, self.client = server, settings, server.client()
        shelf = Shelf(tuple(generations()), AS_OF, N_ITEMS, 1, lambda: pack_catalogue(ROWS, N_ITEMS))
        Publisher(self.client, KEYS, settings, say=lambda line: None).publish(shelf)
        self.answers = open_answers(settings)
        self.app = create_app(self.answers, settings.serving)
        self.web = self.app.test_client()

    def get(self, path: str, **options):
        return self.web.get(path, **options)

    def items(self, path: str) -> list[str]:
        return [item["item_id"] for item in self.get(path).json["items"]]

    def wait(self, condition, seconds: float = 5) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "did not happen in time"
            time.sleep(0.01)


def shop_settings(server: RedisServer, folder: str, **serving) -> Settings:
    return load_settings(
        redis={"url": server.url, "namespace": "shop", "connect_timeout_ms": 500, "read_timeout_ms": 500},
        identity={"secret": SECRET},
        serving={"poll_ms": 50, "deadline_ms": 2_000, "cache_dir": folder, **serving},
    )


@contextmanager
def open_shop(**serving) -> Iterator[Shop]:
    """A shop of its own; ``serving`` are settings beside those of the tests."""
    server = RedisServer().start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            shop = Shop(server, shop_settings(server, folder, **serving))
            try:
                yield shop
            finally:
                shop.answers.watch.stop()
                shop.client.close()
    finally:
        server.close()
