"""Where Redis is, as one URL: one server, a service behind Sentinels, or a Cluster.

redis://[user:password@]host:port/db    rediss://… with TLS    unix://path?db=0
sentinel://[user:password@]host:port,host:port/service    the Sentinels to ask, and the service's name
redis+cluster://[user:password@]host:port,host:port       some nodes of a Cluster; rediss+cluster://… with TLS
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

MANY = re.compile(r"(sentinel|rediss?\+cluster)://(?:([^@/]*)@)?([^@/]+)(?:/([^/?#]*))?")
SENTINEL_PORT, REDIS_PORT = 26_379, 6_379


@dataclass(frozen=True, slots=True)
class Place:
    """``hosts`` are Sentinels where there is a ``service``, else nodes of a Cluster."""

    hosts: tuple[tuple[str, int], ...]
    service: str  # "": a Cluster
    tls: bool
    username: str | None
    password: str | None

    @property
    def options(self) -> dict:
        """For the clients of redis-py."""
        named = {"username": self.username, "password": self.password}
        return {name: value for name, value in named.items() if value} | ({"ssl": True} if self.tls else {})


def place_of(url: str) -> Place | None:
    """The Sentinels or the Cluster a URL names; None for the URL of one server.

    Raises:
        ValueError: it is none of the forms above.
    """
    if not url.startswith(("sentinel://", "redis+cluster://", "rediss+cluster://")):
        return None
    match = MANY.fullmatch(url)
    if match is None or (match[1] == "sentinel") != bool(match[4]):
        raise ValueError(
            f"redis.url {url!r}; allowed: sentinel://host:port,…/service or redis[s]+cluster://host:port,…"
        )
    scheme, login, hosts, service = match.groups()
    user, _, password = (login or "").partition(":")
    port = SENTINEL_PORT if service else REDIS_PORT
    found = tuple(host_and_port(text, port) for text in hosts.split(","))
    return Place(found, service or "", scheme.startswith("rediss"), unquote(user) or None, unquote(password) or None)


def host_and_port(text: str, default: int) -> tuple[str, int]:
    """Raise ValueError when the port is no number."""
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?", text)
    if match is None:
        raise ValueError(f"{text!r} in redis.url; allowed: host or host:port")
    return match[1].strip("[]"), int(match[2] or default)
