"""Which server holds a key: one with its replicas, or the nodes of a Cluster by slot.

The slots of a Cluster are read in the background: at first, when a node failed or sent a request elsewhere, and now and
then. A request goes where the map says and follows one redirection.
"""

import time
from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import redis

from conf.settings import Redis as RedisSettings
from schemas.redis_url import Place, place_of
from serving.node import Node, StoreAway

N_SLOTS = 16_384
REFRESH_S = 10.0


@dataclass(eq=False)
class Shard:
    """Servers that hold the same keys; as itself in a set."""

    master: Node
    replicas: Sequence[Node] = ()

    @property
    def nodes(self) -> list[Node]:
        return [self.master, *self.replicas]


def topology_of(settings: RedisSettings) -> "One | Cluster":
    """Raise ValueError when ``redis.url`` names several servers in a wrong way."""
    place = place_of(settings.url)
    return One(settings) if place is None or place.service else Cluster(settings, place)


class One:
    """One server, or whichever the Sentinels name, and the replicas of ``redis.replica_urls``."""

    def __init__(self, settings: RedisSettings):
        replicas = [Node(settings, url) for url in settings.replica_urls]
        self.shard = Shard(Node(settings, settings.url), replicas)
        self.shards = [self.shard]

    def holding(self, key: str) -> Shard:
        return self.shard

    def suspect(self) -> None:
        """A server failed: there is no other to look for."""

    def refresh(self) -> None:
        """Nothing changes."""


class Cluster:
    """The shards of a Cluster."""

    def __init__(self, settings: RedisSettings, place: Place):
        self.settings, self.place = settings, place
        self.known: dict[tuple[str, int, bool], Node] = {}
        self.owners: list[Shard | None] = [None] * N_SLOTS
        self.shards: list[Shard] = []
        self.due = 0.0

    def holding(self, key: str) -> Shard:
        """Raise StoreAway where nobody is known to hold its slot."""
        shard = self.owners[slot_of(key)]
        if shard is None:
            self.suspect()
            raise StoreAway("no node of the Cluster is known to hold the key's slot")
        return shard

    def suspect(self) -> None:
        """Read the map again at the next look."""
        self.due = 0.0

    def refresh(self) -> None:
        """Read the map of slots when that is due, from the first node that tells it.

        Raises:
            StoreAway: none does.
        """
        now = time.monotonic()
        if now < self.due:
            return
        trouble = "no node"
        for host, port in dict.fromkeys([*((host, port) for host, port, _ in self.known), *self.place.hosts]):
            try:
                told = self.node(host, port).patient.execute_command("CLUSTER", "SLOTS")
            except redis.exceptions.RedisError as error:
                trouble = str(error)
                continue
            if told:
                self.adopt(told, host)
                self.due = now + REFRESH_S
                return
        raise StoreAway(f"no node of the Cluster tells its slots: {trouble}")

    def adopt(self, told: list, asked: str) -> None:
        owners: list[Shard | None] = [None] * N_SLOTS
        shards: dict[tuple, Shard] = {}
        for first, last, *places in told:
            hosts = tuple((host.decode() or asked, port) for host, port, *_ in places)
            if hosts not in shards:
                replicas = [self.node(*place, replica=True) for place in hosts[1:]]
                shards[hosts] = Shard(self.node(*hosts[0]), replicas)
            owners[first : last + 1] = [shards[hosts]] * (last + 1 - first)
        self.shards, self.owners = list(shards.values()), owners
        used = {id(node) for shard in self.shards for node in shard.nodes}
        self.known = {key: node for key, node in self.known.items() if id(node) in used}

    def node(self, host: str, port: int, replica: bool = False) -> Node:
        key = (host, port, replica)
        if key not in self.known:
            self.known[key] = Node(self.settings, url_of(self.place, host, port), readonly=replica)
        return self.known[key]


def url_of(place: Place, host: str, port: int) -> str:
    login = f"{quote(place.username or '', '')}:{quote(place.password, '')}@" if place.password else ""
    return f"redis{'s' if place.tls else ''}://{login}{f'[{host}]' if ':' in host else host}:{port}"


def slot_of(key: str) -> int:
    """CRC-16 of what stands in the first braces, of the whole key where there are none."""
    begin = key.find("{")
    end = key.find("}", begin + 1) if begin >= 0 else -1
    hashed = key[begin + 1 : end] if end > begin + 1 else key
    return crc_hqx(hashed.encode(), 0) % N_SLOTS
