"""Which server of a Redis owns which slot, and a connection to each: one server, or the masters of a Cluster."""

import threading

import numpy as np
import redis
from redis.cluster import RedisCluster

from jobs.kernels.cluster_slots import N_SLOTS
from jobs.rim.redis_client import servers_of


class Roads:
    """The servers behind a client, each under a number; safe to share between threads."""

    def __init__(self, client: redis.Redis | RedisCluster):
        self.client = client
        self.many = isinstance(client, RedisCluster)
        self._lock = threading.Lock()
        self._pools: dict[str, tuple[int, redis.ConnectionPool]] = {}
        self.owner_of_slot = self.look()

    def look(self) -> np.ndarray:
        """The number of each slot's owner, ``(16384,)``; a server once seen keeps its number."""
        owners = np.zeros(N_SLOTS, np.int64)
        if not self.many:
            self.number("", servers_of(self.client)[0].connection_pool)
            return owners
        for slot, nodes in self.client.nodes_manager.slots_cache.items():
            pool = self.client.get_redis_connection(nodes[0]).connection_pool
            owners[slot] = self.number(nodes[0].name, pool)
        return owners

    def number(self, name: str, pool: redis.ConnectionPool) -> int:
        place = self._pools[name][0] if name in self._pools else len(self._pools)
        self._pools[name] = place, pool
        return place

    def refresh(self) -> None:
        """Ask the Cluster again who owns what."""
        if self.many:
            with self._lock:
                self.client.nodes_manager.initialize()
                self.owner_of_slot = self.look()

    def connection(self, owner: int) -> redis.Connection:
        """A connection of one's own to a server; to be given back with ``disconnect``."""
        pool = next(pool for number, pool in self._pools.values() if number == owner)
        return pool.get_connection()

    def give_back(self, owner: int, connection: redis.Connection) -> None:
        connection.disconnect()
        next(pool for number, pool in self._pools.values() if number == owner).release(connection)
