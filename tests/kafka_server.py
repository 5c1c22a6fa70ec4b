"""A real Kafka broker for the tests of a module, and what they ask of it."""

import pytest
from conftest import NEED

from benchmarks.broker import JARS, Broker


@pytest.fixture(scope="module")
def kafka():
    """A broker without topics."""
    if not JARS.is_dir():
        pytest.skip(NEED.format(what="the jars of a Kafka broker", command="make kafka"))
    broker = Broker()
    yield broker
    broker.close()
