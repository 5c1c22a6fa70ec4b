"""The API under requests made up from its own document, right ones and wrong ones (schemathesis)."""

import time

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from published_shop import open_shop
from schemathesis import GenerationMode

from schemas.openapi import document
from schemas.routes import ROUTES

DESCRIBED = schemathesis.openapi.from_dict(document(10, 100))
SLOW = [
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
    HealthCheck.function_scoped_fixture,
]
BEYOND = ("is above price_max", "items in all")  # what a JSON schema cannot say


@pytest.fixture(scope="module")
def shop():
    """Its watch is stopped: nothing changes, and hypothesis wants nobody else to draw random numbers meanwhile."""
    with open_shop() as found:
        found.answers.watch.stop()
        time.sleep(2 * found.answers.watch.poll_s)
        yield found


MODES = [(route, GenerationMode.POSITIVE) for route in ROUTES]
MODES += [(route, GenerationMode.NEGATIVE) for route in ROUTES if route.parameters or route.body]


@pytest.mark.parametrize(("route", "mode"), MODES, ids=lambda value: getattr(value, "name", value))
def test_no_made_up_request_breaks_it(shop, route, mode):
    requests = DESCRIBED[route.path][route.method].as_strategy(generation_mode=mode)

    @seed(1)
    @hypothesis_settings(
        max_examples=15, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=SLOW
    )
    @given(st.data())
    def ask(data):
        case = data.draw(requests)
        reply = case.call(app=shop.app)
        assume(not any(beyond in reply.text for beyond in BEYOND))
        case.validate_response(reply)

    ask()
