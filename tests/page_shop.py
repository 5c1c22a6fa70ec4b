"""A shop for people to look at, published and served by granian: titles as shops have them, and hostile ones."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis
from published_shop import KEYS, SECRET, numbers, packed, user
from redis_server import RedisServer

from conf.settings import load_settings
from deploy.embedded.checks import free_port
from jobs.publish import Publisher
from jobs.rim.manifest import iso
from jobs.rim.shelf import Generation, Shelf
from schemas.about import pack_about
from schemas.availability import UNCORRECTED, changed, pack_availability
from schemas.catalogue import pack_catalogue
from schemas.codec import pack_ids, pack_list
from schemas.keys import tag_of

ROOT = Path(__file__).parents[1]
SCRIPT = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
PLAIN = [
    "Fine Cedar Bath Mat", "Reserve Marble Soap Bar", "Neon Terry Bath Mat", "Patchwork Terry Candle",
    "Slim Sea Salt Bath Mat", "Pale Mesh Windbreaker", "Heritage Olive Bath Mat", "Farmhouse Cedar Robe",
    "Patchwork Waffle Bath Towel", "Linen Tea Towel, Set of Three", "Stoneware Mug, Speckled", "Cast-Iron Griddle",
    "Walnut Cutting Board", "Beeswax Wraps", "Brass Desk Lamp", "Wool Throw, Charcoal", "Ceramic Planter, Small",
    "Enamel Pie Dish", "Oak Step Stool", "Recycled Glass Carafe", "Hemp Doormat", "Copper Watering Can",
    "Flannel Pyjama Set", "Felted Slippers", "Travel Wash Bag", "Olive Oil Soap", "Cotton Shower Curtain",
]  # fmt: skip
STRANGE = [SCRIPT, "فوطة حمام من القطن", "Endless" + "ly" * 60, None]
TITLES = [*PLAIN, *STRANGE]
CATEGORIES = ("Bath", "Kitchen", "Home & <Garden>", None)
ROWS = [
    (f"i{idx}", title, CATEGORIES[idx % 4], idx != 13, None if idx % 7 == 3 else 4.9 + idx * 3.25)
    for idx, title in enumerate(TITLES)
]
OUT = 14  # taken out after publishing
STRANGER = "<b>nobody</b>"
GATE = {
    "slates": {
        "run": "3f2a1c",
        "statistics": {
            "user_coverage": [0.9731, 0.5, None],
            "item_coverage": [0.8412, 0.01, None],
            "fill": [1.0, 0.2, None],
            "n_seen_items": [0.0, 0.0, 0.0],
            "churn@10": [0.1342, None, 0.8],
            "n_users": [12800.0, None, None],
        },
        "warnings": ["too few users with a withheld day to judge the ranking by"],
    },
    "trending": {"run": "77aa01", "statistics": {"n_for_all": [100.0, 1.0, None]}, "warnings": []},
}


def shelf(as_of: str) -> Shelf:
    """ann has a slate with reasons and strange titles; i0 has neighbors of both kinds."""
    strange = [len(PLAIN) + place for place in range(len(STRANGE))]
    slate = [1, 2, *strange, 4, OUT, *range(6, 13)]
    sources = ["als", "cosine", "walk", "content"]

    def entries(surface: str, tag: str):
        if surface == "for_you":
            n = len(slate)
            reasons = [(0, 3, 27, 5)[place % 4] if place % 5 else -1 for place in range(n)]
            told = pack_list(slate, [float(n - k) for k in range(n)], [sources[k % 4] for k in range(n)], reasons)
            yield from ((KEYS.slate(user(name), tag), told) for name in ("ann", "u000796"))
            yield KEYS.seen(user("ann"), tag), pack_ids([20, 21])
        elif surface == "trending":
            lists = {"all": range(15, 27), "category=Bath": range(0, 24, 4), "country=France": (20, 16)}
            yield from ((KEYS.trending(name, tag), packed(list(items), "trending")) for name, items in lists.items())
            yield KEYS.segments(tag), json.dumps(list(lists)).encode()
        else:
            kind = "viewed_together" if surface == "similar" else surface
            yield from ((KEYS.neighbors(idx, tag), packed([idx + 2, idx + 4, 8], kind)) for idx in (0, 2, 4))

    def generation(surface: str) -> Generation:
        stamp = as_of.replace("-", "").replace(":", "")
        name = f"{surface}-{stamp}-{next(numbers):012x}"
        return Generation(surface, name, as_of, as_of, len(ROWS), lambda: entries(surface, tag_of(name)))

    surfaces = ("for_you", "similar", "bought_together", "trending")
    return Shelf(tuple(map(generation, surfaces)), as_of, len(ROWS), 1, lambda: pack_catalogue(ROWS, len(ROWS)))


def publish(client: redis.Redis, settings) -> None:
    """Two nights, so that one is kept; the gate's numbers; an item taken out since."""
    now = datetime.now(UTC).replace(microsecond=0)
    publisher = Publisher(client, KEYS, settings, say=lambda line: None)
    publisher.publish(shelf(iso(now - timedelta(days=1, hours=5))))
    release = publisher.publish(shelf(iso(now - timedelta(hours=5))))
    about = {entry.base: GATE for name, entry in release.surfaces.items() if name.startswith(("for_you", "trending"))}
    client.set(KEYS.about, pack_about(about))
    client.set(KEYS.availability, pack_availability(changed(UNCORRECTED, out=[OUT])))


class Served:
    """``python -m serving`` with two workers over what is published."""

    def __init__(self, server: RedisServer, folder: Path):
        self.server, self.port = server, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        with server.client() as client:
            publish(client, load_settings())
        told = {
            "IDENTITY__SECRET": SECRET,
            "REDIS__URL": server.url,
            "REDIS__NAMESPACE": KEYS.namespace,
            "REDIS__CONNECT_TIMEOUT_MS": "500",
            "REDIS__READ_TIMEOUT_MS": "500",
            "SERVING__PORT": str(self.port),
            "SERVING__DEADLINE_MS": "2000",
            "SERVING__QUEUE_MS": "5000",
            "SERVING__CACHE_DIR": str(folder),
            "SERVING__EXAMPLE_USERS": '["ann", "u000796"]',
        }
        env = os.environ | {f"NIGHTSHELF_{name}": value for name, value in told.items()}
        self.process = subprocess.Popen([sys.executable, "-W", "error", "-m", "serving"], cwd=ROOT, env=env)

    def get(self, path: str) -> bytes:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self.url + path, timeout=10) as reply:
            return reply.read()

    def wait(self, ready, seconds: float = 120) -> None:
        """Until ``ready()`` is true; a service that cannot be reached is not."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if ready():
                    return
            except OSError:
                pass
            assert time.monotonic() < deadline, "did not happen in time"
            time.sleep(0.05)

    def workers(self) -> int:
        return json.loads(self.get("/console.json"))["state"]["service"]["workers"]


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    server = RedisServer().start()
    try:
        service = Served(server, folder)
        try:
            service.wait(lambda: service.workers() == 2)
            yield service
        finally:
            service.process.terminate()
            service.process.wait(20)
    finally:
        server.close()
