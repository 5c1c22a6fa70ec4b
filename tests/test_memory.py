"""Memory and disk are settings that hold: blocks and heaps by what there is, and an end before the machine's own."""

import shutil
import subprocess
import sys
import textwrap
from collections import namedtuple
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lake_fixtures import NIGHT, lake_settings, small_lake

from conf.settings import load_settings
from jobs.rim.disk import SHUFFLED, check_disk, input_bytes
from jobs.rim.errors import TemporaryError
from jobs.rim.lineage import Lineage, job
from jobs.rim.memory import descendants, heap_mb, held_bytes, kernel_bytes, task_bytes, tasks_at_once, watched

pytestmark = pytest.mark.alone
ROOT = Path(__file__).parents[1]
LONG_AGO = datetime.min.replace(tzinfo=UTC)
HUNGRY = """
    import subprocess, sys, time
    sys.path.insert(0, sys.argv[1])
    from conf.settings import Resources
    from jobs.rim.memory import watched

    below = subprocess.Popen([sys.executable, "-c", "x = bytearray(700 << 20); import time; time.sleep(60)"])
    print(below.pid, flush=True)
    with watched(Resources(memory_gb=1, end_with_parent=False)):
        mine = bytearray(700 << 20)
        time.sleep(60)
"""


def test_a_command_that_outgrows_its_memory_ends_in_one_line_with_all_below_it():
    """Neither process is too large; both together are."""
    argv = [sys.executable, "-c", textwrap.dedent(HUNGRY), str(ROOT)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=50)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "GiB where resources.memory_gb allows 1: raise it" in done.stderr
    assert held_bytes(int(done.stdout)) == 0  # gone, or a zombie nobody waits for


def test_the_most_that_was_held_is_known():
    with watched(load_settings().resources) as watch:
        watch.sample()
        before, block = watch.peak_bytes, bytearray(200 << 20)
        watch.sample()
        assert 190 << 20 < watch.peak_bytes - before < 260 << 20
        del block
        watch.reset()
        assert watch.peak_bytes == 0


def test_children_and_theirs_are_below():
    argv = ["/bin/sh", "-c", "sleep 30 & echo $!; wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as shell:
        sleeper = int(shell.stdout.readline())
        found = descendants(subprocess.os.getpid())
        assert found.index(shell.pid) < found.index(sleeper)
        assert descendants(shell.pid) == [sleeper]
        subprocess.os.kill(sleeper, 15)


@pytest.mark.parametrize(
    ("master", "options", "tasks"),
    [
        ("local", {}, 1),
        ("local[3]", {}, 3),
        ("local[*]", {}, subprocess.os.cpu_count()),
        ("local[4,2]", {}, 4),
        ("yarn", {}, 1),
        ("spark://host:7077", {"spark.executor.cores": "8"}, 8),
    ],
)
def test_tasks_share_what_is_left_beside_the_heap(master, options, tasks):
    settings = load_settings(spark={"master": master, "options": options}, resources={"memory_gb": 10})
    assert tasks_at_once(settings.spark) == tasks
    beside, alone = (kernel_bytes(settings.resources, beside_spark=spark) for spark in (True, False))
    assert beside + (heap_mb(settings.resources) << 20) <= 10 << 30
    assert beside < alone < 10 << 30
    assert task_bytes(settings) * tasks < beside


Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def trending(tmp_path) -> tuple:
    lake = small_lake(tmp_path, events=[{}])
    return job("trending"), Lineage(lake, lake_settings(tmp_path), NIGHT)


def test_a_disk_without_room_for_a_shuffle_is_told_before_it_is_filled(trending, tmp_path, monkeypatch):
    needed = SHUFFLED * input_bytes(*trending, LONG_AGO)
    assert needed > 0
    check_disk(*trending, LONG_AGO, tmp_path / "not there yet")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(needed, 1, needed - 1))
    with pytest.raises(TemporaryError, match=r"trending may shuffle .* free some space"):
        check_disk(*trending, LONG_AGO, tmp_path)


def test_the_lakes_disk_must_hold_as_much_again(trending, tmp_path, monkeypatch):
    _, lineage = trending
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(9 << 20, 0, 5 << 20))
    lineage.lake.store.make_room(4 << 20)
    with pytest.raises(TemporaryError, match=r"has 5 MiB free; .* asks for 0 beside the 6 that may be written"):
        lineage.lake.store.make_room(6 << 20)
