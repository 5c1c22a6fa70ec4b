"""The benchmarks on next to nothing: they end, and say what they measured. No time is asserted.

Spark's shared session stands in for those that the night's commands start, and MLlib is left out: it costs a minute.
"""

import io
import json
import os
import subprocess
import sys
from contextlib import contextmanager, nullcontext, redirect_stdout
from datetime import timedelta

import pyarrow as pa
import pytest
from redis_server import RedisServer
from spark_fixture import quick_spark  # noqa: F401

from benchmarks import cells, kernels, night, peers, plots, scaling, tables
from benchmarks.meter import Meter
from benchmarks.shop import stock
from benchmarks.shop.traffic import FIRST_DAY, Shop
from conf.settings import load_settings
from deploy.embedded.problems import Problem
from jobs import cli
from jobs.rim import spark_session
from jobs.rim.lake import Lake

EVENTS = 20_000
SMALL = {
    "RECIPE__MAX_EVENTS": "1000",
    "EVALUATE__DAYS": "1",
    "SPARK__SHUFFLE_PARTITIONS": "2",
    "REDIS__NAMESPACE": "ns-bench",
}


@pytest.fixture
def env(tmp_path, monkeypatch) -> dict[str, str]:
    """The environment of a series in a folder of its own, with a Redis of its own."""
    server = RedisServer().start()
    places = {
        "LAKE__URI": str(tmp_path / "lake"),
        "REDIS__URL": server.url,
        "IDENTITY__SECRET": "a secret of the tests",
    }
    for name, value in (places | SMALL).items():
        monkeypatch.setenv(f"NIGHTSHELF_{name}", value)
    monkeypatch.setattr(scaling, "FOLDER", tmp_path)
    monkeypatch.setattr(scaling, "TARGET", tmp_path / "scaling.json")
    monkeypatch.setattr(scaling.redis, "running", lambda _: nullcontext())
    monkeypatch.setattr(scaling.redis, "SOCKET", server.socket)
    yield dict(os.environ)
    server.close()


@pytest.fixture
def in_process(monkeypatch, quick) -> None:
    """Commands run here, on the shared session."""

    @contextmanager
    def shared(*_):
        yield quick

    def command(arguments: list[str], _) -> list[str]:
        with redirect_stdout(io.StringIO()) as output:
            code = cli.main(arguments)
        assert code == 0, output.getvalue()
        return output.getvalue().splitlines()

    monkeypatch.setattr(spark_session, "spark_session", shared)
    monkeypatch.setattr(night, "nightshelf", command)


@pytest.mark.slow
def test_two_nights_are_measured_task_by_task(env, in_process, tmp_path, capsys):
    series = scaling.Series(env)
    scaling.measure(EVENTS, env, series)
    told = json.loads((tmp_path / "scaling.json").read_text())
    size = told["sizes"][0]
    assert [task["task"] for task in size["nights"][1]["tasks"]] == [task for task, *_ in night.TASKS]
    assert all(task["seconds"] > 0 for one in size["nights"] for task in one["tasks"])
    assert set(size["nights"][0]["tasks"][0]["steps"]) == {"interactions", "cooccurrence", "cold"}
    assert size["nights"][1]["tasks"][1]["steps"] == {}  # the week's recipe is there already
    assert size["floors"]["interactions"]["in_out"] > 0
    assert "SPARK__SHUFFLE_PARTITIONS" in told["settings"]
    assert not any("secret" in str(value) for value in told["settings"].values())
    assert "before ALS" in capsys.readouterr().out
    assert plots.main([str(tmp_path)]) == 0
    assert (tmp_path / "scaling.svg").exists()
    assert not (tmp_path / "lake").exists()


@pytest.mark.slow
def test_kernels_run_beside_their_peers(quick, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kernels, "FOLDER", tmp_path)
    costs = {}
    peers.warm_up()
    small = cells.matrix(300, 200, 4_000)
    kernels.compare(small, quick, kernels.MLLIB_REPEATS, lambda name, cost: costs.setdefault(name, []).append(cost))
    kernels.report(costs, {"users": 300, "items": 200, "cells": int(small.nnz)})
    told = json.loads((tmp_path / "kernels.json").read_text())
    compared = {ours for ours, *_ in tables.ratios(told)}
    assert compared == {ours for ours, _ in tables.PAIRS}
    assert "ours over theirs" in capsys.readouterr().out
    assert plots.main([str(tmp_path)]) == 0


def test_days_of_the_shop_are_committed_as_ingest_would(tmp_path):
    lake = Lake.open(load_settings(lake={"uri": str(tmp_path), "min_free_mb": 0}).lake)
    shop = Shop(6_000, 3)
    batches = [stock.stock(lake, shop, 0, 2), stock.stock(lake, shop, 2, 3)]
    assert [batch.number for batch in lake.batches()] == [1, 2]
    days = [FIRST_DAY + timedelta(days=day) for day in (0, 2, 3)]
    for batch, start, end in zip(batches, days[:-1], days[1:], strict=True):
        rows = pa.concat_tables(lake.events(2, start, end, ["event_id", "event_time", "user_id", "item_id"]))
        assert rows.num_rows == sum(batch.hours().values()) > 0
        assert len(set(rows["event_id"].to_pylist())) == rows.num_rows
        assert rows["event_time"].to_pylist() == sorted(rows["event_time"].to_pylist())
        assert set(rows["item_id"].to_pylist()) <= set(lake.dictionary(2)["item_id"].to_pylist())
    assert {len(user) for user in lake.current("users", 2, days[-1])["user_id"].to_pylist()} == {32}
    assert lake.current("users", 2, days[-1]).num_rows == shop.n_users


@pytest.mark.parametrize("text", ["", "many", "1000", "1000000,x"])
def test_a_size_that_cannot_be_is_told(text):
    with pytest.raises(Problem, match="allowed are whole numbers from 10000"):
        scaling.wanted(text)
    assert scaling.wanted("1000000 10000000") == [1_000_000, 10_000_000]


def test_too_little_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "FOLDER", tmp_path)
    with pytest.raises(Problem, match="free some space"):
        scaling.check_room([10**15])


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs /proc with smaps_rollup")
def test_a_meter_counts_processes_that_end_and_their_memory():
    """A child that holds 100 MB and works for half a second of CPU."""
    busy = "import time\nx = b'x' * 100_000_000\nwhile time.process_time() < 0.5: pass"
    with Meter() as cost:
        subprocess.run([sys.executable, "-c", busy], check=True)
    assert 0.3 < cost.cpu_s < 5
    assert cost.peak_bytes > 100_000_000
