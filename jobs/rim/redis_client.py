"""How a publisher reaches Redis (one server, Sentinel's master, a Cluster), and what it says when it cannot."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from conf.settings import Settings
from jobs.rim.errors import TemporaryError, UsageError
from schemas.keys import unix_path
from schemas.redis_url import Place, place_of

AWAY = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, redis.exceptions.RedisClusterException)


def connect(settings: Settings) -> redis.Redis | RedisCluster:
    """A client with the publisher's time-outs and no retries; connects on first use (to a Cluster: at once)."""
    return connect_to(settings.redis.url, settings.publish.timeout_ms / 1000)


def connect_to(url: str, timeout_s: float) -> redis.Redis | RedisCluster:
    """As ``connect``, to a URL of any of the forms of ``schemas.redis_url``; raises UsageError for one of none."""
    options = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "protocol": 2}
    try:
        place = place_of(url)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if place is not None:
        return service_of(place, options) if place.service else cluster_of(place, options)
    options["retry"] = Retry(NoBackoff(), 0)
    path = unix_path(url)
    if path is not None:
        return redis.Redis(unix_socket_path=path, **options)
    return redis.Redis.from_url(url, **options)


def service_of(place: Place, options: dict) -> redis.Redis:
    """The master of a service, asked of the Sentinels anew for each connection."""
    options["retry"] = Retry(NoBackoff(), 0)
    return Sentinel(place.hosts, sentinel_kwargs=options, **options, **place.options).master_for(place.service)


def cluster_of(place: Place, options: dict) -> RedisCluster:
    nodes = [ClusterNode(host, port) for host, port in place.hosts]
    return RedisCluster(startup_nodes=nodes, **options, **place.options)


@contextmanager
def redis_trouble(where: str) -> Iterator[None]:
    """Redis errors as TemporaryError in one line.

    Raises:
        TemporaryError: Redis is away, slow, full, read-only or refuses a command.
    """
    try:
        yield
    except redis.exceptions.RedisError as error:
        if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM" in str(error):
            hint = "is out of memory: raise maxmemory or lower publish.keep; what was live still is"
        elif isinstance(error, (*AWAY, MasterNotFoundError)):
            hint = "cannot be reached: start it, or set redis.url (NIGHTSHELF_REDIS__URL)"
        else:
            hint = "refused a command"
        raise TemporaryError(f"Redis at {where} {hint} ({str(error).splitlines()[0]:.200})") from None


def servers_of(client: redis.Redis | RedisCluster) -> list[redis.Redis]:
    """A client of each server that takes writes: one, or the masters of a Cluster."""
    if not isinstance(client, RedisCluster):
        return [client]
    return [client.get_redis_connection(node) for node in client.get_primaries()]


def eviction_warning(client: redis.Redis | RedisCluster) -> str | None:
    """A line when Redis may evict keys, which would empty live slates; None when it may not or does not say."""
    for server in servers_of(client):
        try:
            policy = server.info("memory").get("maxmemory_policy", "noeviction")
        except redis.exceptions.ResponseError:
            continue
        if policy != "noeviction":
            hint = "set noeviction, or live keys vanish when memory is short"
            return f"warning: Redis has maxmemory-policy {policy}; {hint}"
    return None
