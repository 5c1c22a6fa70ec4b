"""A real Redis of a test module's own, and a client of it that finds it empty."""

import pytest
from redis_server import RedisServer


@pytest.fixture(scope="module", name="server")
def module_server():
    running = RedisServer().start()
    yield running
    running.close()


@pytest.fixture(name="client")
def empty_client(server):
    with server.client() as client:
        client.flushall()
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        yield client
