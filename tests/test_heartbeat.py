"""A step that is silent for long says that it works."""

import re
import time

import pytest

from jobs.rim import heartbeat


@pytest.mark.parametrize(("lasts_s", "beats"), [(0.35, 3), (0.0, 0)])
def test_a_long_step_says_how_long_it_works_and_what_it_holds(monkeypatch, lasts_s, beats):
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.1)
    said = []
    with heartbeat.heartbeat("fit", said.append):
        time.sleep(lasts_s)
    assert 1 <= len(said) <= beats if beats else said == []
    assert all(re.fullmatch(r"fit: working, 0 s, \d+\.\d GiB", line) for line in said)
    n = len(said)
    time.sleep(0.2)
    assert len(said) == n
