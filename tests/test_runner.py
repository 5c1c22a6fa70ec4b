"""The runner: real steps on a real lake, through the command and in this process, committed or invisible."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from lake_fixtures import NIGHT, add_batch, at, lake_settings, rows, small_lake
from pyspark.errors import PySparkException
from pyspark.sql import functions as F
from spark_fixture import QUICK, quick_spark  # noqa: F401

from conf.rules import load_rules
from conf.settings import load_settings
from jobs import cli
from jobs.rim.lake import Lake
from jobs.rim.lineage import MAKERS, Lineage, content_hash, job
from jobs.rim.runner import read_inputs, run_step

ROOT = Path(__file__).parents[1]
STEPS = list(dict.fromkeys(MAKERS.values()))
AS_OF = ["--as-of", "2026-01-11T00:00:00Z"]


def shop(folder: Path) -> Lake:
    """Twelve people and a visitor over ten items, and what they saw in the weeks before; the last two events of the
    night are too old and too new. One item is sold out, one is in the catalogue only.
    """
    happened = [
        {
            "user_id": f"u{user:02}",
            "item_id": f"i{(user * 3 + k * k) % 10}",
            "kind": "purchase" if k == 3 else "view",
            "basket_id": f"o{user}" if k == 3 else None,
            "event_time": at(2 * k + user / 10),
            "country": ("FR", "DE")[user % 2],
        }
        for user in range(12)
        for k in range(5)
    ]
    earlier = [
        {"user_id": f"u{user:02}", "item_id": f"i{(user + 2 * k) % 10}", "event_time": at(user, days=-3 - 2 * k)}
        for user in range(12)
        for k in range(6)
    ]
    visitor = [{"user_id": None, "session_id": "s1", "item_id": f"i{k}", "event_time": at(5)} for k in (1, 2, 3)]
    outside = [{"item_id": "old", "event_time": at(days=-366)}, {"item_id": "new", "event_time": at(24)}]
    items = [{"item_id": f"i{k}", "title": f"tea of kind {k}", "available": k > 0} for k in range(10)]
    people = [{"user_id": f"u{user:02}", "country": ("FR", "DE")[user % 2]} for user in range(12)]
    fresh = {"item_id": "fresh", "title": "tea of a new kind"}
    return small_lake(folder, events=[*happened, *earlier, *visitor, *outside], items=[*items, fresh], users=people)


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess, subprocess.CompletedProcess]:
    """A lake in a folder with a space, after two runs of all steps by the command: folder, first and second run."""
    folder = tmp_path_factory.mktemp("a night", numbered=False)
    shop(folder)
    (folder / "conf").mkdir()
    (folder / "conf/spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in QUICK.items()))
    return folder, command(folder, "run", *STEPS), command(folder, "run", *STEPS)


def command(folder: Path, *argv: str) -> subprocess.CompletedProcess:
    """``nightshelf`` in a process of its own, from that folder, in a time zone far from UTC."""
    variables = os.environ | {
        "PYTHONPATH": str(ROOT),
        "NIGHTSHELF_LAKE__URI": str(folder / "lake"),
        "NIGHTSHELF_LAKE__MIN_FREE_MB": "0",
        "NIGHTSHELF_RESOURCES__MEMORY_GB": "3",
        "NIGHTSHELF_SPARK__SHUFFLE_PARTITIONS": QUICK["spark.sql.shuffle.partitions"],
        "SPARK_CONF_DIR": str(folder / "conf"),
        "TZ": "Pacific/Kiritimati",
    }
    call = [sys.executable, "-m", "jobs.cli", *argv, *AS_OF]
    return subprocess.run(call, cwd=folder, env=variables, capture_output=True, text=True)


def lineage_of(folder: Path) -> Lineage:
    settings = load_settings(lake={"uri": str(folder / "lake"), "min_free_mb": 0})
    return Lineage(Lake.open(settings.lake), settings, NIGHT)


def content(lineage: Lineage, table: str) -> list[dict]:
    found = lineage.lake.read(table, lineage.resolve(table).files[table]).to_pylist()
    return sorted(found, key=lambda row: [str(value) for value in row.values()])


def test_all_steps_share_one_spark_and_tell_what_they_made(night):
    folder, first, _ = night
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("spark: started") == 1
    told = [line.split(":")[0] for line in first.stdout.splitlines() if "version" in line]
    assert told == STEPS
    read = re.findall(r" from \d[\d,]* \w+(?:, \d[\d,]* \w+)* in \d+\.\d s, version", first.stdout)
    assert len(read) == len(STEPS), "each step says its rows in, rows out and seconds"
    found = lineage_of(folder)
    for name in STEPS:
        assert found.version(name) in first.stdout
    for table in MAKERS:
        assert content(found, table), f"{table} is empty"


def test_a_second_run_skips_what_is_committed_and_starts_nothing(night):
    _, first, second = night
    assert second.returncode == 0, second.stderr
    assert "spark" not in second.stdout
    lines = second.stdout.splitlines()
    assert [line.partition(": already committed as ")[0] for line in lines] == STEPS
    assert all(version in second.stdout for version in re.findall(r", version (\w{16})", first.stdout))


def test_a_fresh_lake_gets_equal_rows(night, quick, tmp_path):
    """In another process, another folder and another time zone, from the same events in another file."""
    shop(tmp_path)
    here, there = lineage_of(tmp_path), lineage_of(night[0])
    for name in STEPS:
        assert f"version {there.version(name)}" in run_step(job(name), here, lambda: quick)
    for table in MAKERS:
        assert content(here, table) == content(there, table), table


def test_what_holds_a_week_is_as_of_its_beginning(night):
    """Most of what these people did was before 2026-01-08; the next night finds the recipe of this one."""
    found = lineage_of(night[0])
    moments = {name: found.committed(name).as_of for name in STEPS}
    weekly = {"recipe", "evaluate"}
    assert {moments[name] for name in weekly} == {"2026-01-08T00:00:00Z"}
    assert {moments[name] for name in moments.keys() - weekly} == {"2026-01-11T00:00:00Z"}
    next_night = Lineage(found.lake, found.settings, NIGHT + timedelta(days=1))
    for name in weekly:
        assert run_step(job(name), next_night, no_session).startswith(f"{name}: already committed as ")
    assert next_night.find("slates") is None
    known_until = {row["known_until"] for row in content(found, "item_features")}
    assert known_until == {at(11, days=-3)}  # u11's day before: all twelve are probed, so nobody's last day is fitted


def test_only_events_of_the_window_count(night):
    found = lineage_of(night[0])
    ids = found.lake.dictionary(1)["item_id"].to_pylist()
    touched = {ids[row["item_idx"]] for row in content(found, "interactions")}
    assert touched == {f"i{k}" for k in range(10)}
    assert "new" not in {ids[row["item_idx"]] for row in content(found, "trending")}


@pytest.mark.filterwarnings("ignore:module 'sre:DeprecationWarning")
def test_the_gate_passes_this_night(night, monkeypatch, capsys):
    monkeypatch.setenv("NIGHTSHELF_LAKE__URI", str(night[0] / "lake"))
    assert cli.main(["gate", "--tables", "item_neighbors", "content_neighbors", "slates", "trending", *AS_OF]) == 0
    assert capsys.readouterr().out.count(" passed (") == 4


def test_a_manifest_tells_how_to_make_it_again(night):
    found = lineage_of(night[0])
    manifest = found.resolve("slates")
    assert manifest.inputs == {
        "candidates": found.version("candidates"),
        "interactions": found.version("interactions"),
        "items": found.raw_version("items", job("slates")),
        "item_dictionary": str(found.batches[-1].n_items),
        "item_factors": found.version("fit"),
        "users": found.raw_version("users", job("slates")),
        "rules": content_hash(load_rules().model_dump(mode="json")),
    }
    assert (manifest.snapshot, manifest.job, manifest.as_of) == (1, "slates", "2026-01-11T00:00:00Z")
    assert manifest.rows("slates") == len(content(found, "slates"))
    assert manifest.measured["seconds"] >= 0
    assert manifest.measured["warnings"] == []


@pytest.fixture
def lineage(tmp_path) -> Lineage:
    small_lake(tmp_path, events=[{}, {"user_id": "u2"}])
    settings = lake_settings(tmp_path)
    return Lineage(Lake.open(settings.lake), settings, NIGHT)


def committed(lineage: Lineage) -> list[str]:
    folder = lineage.lake.store.root / "manifests"
    return sorted(path.name for path in folder.rglob("*.json")) if folder.exists() else []


def fails_in_a_task(inputs, as_of, settings):
    """Fine as a plan; the executors find out, after some rows."""
    broken = F.when(F.col("user_id") == "u2", F.raise_error(F.lit("a broken row"))).otherwise(F.col("user_id"))
    return {"interactions": well(inputs).withColumn("user_id", broken)}


def fails_by_a_null(inputs, as_of, settings):
    return {"interactions": well(inputs).withColumn("last_time", F.lit(None).cast("timestamp"))}


def fails_at_once(inputs, as_of, settings):
    raise RuntimeError("a broken transform")


def well(inputs):
    return inputs["events"].select(
        "user_id",
        F.lit(0).alias("item_idx"),
        F.lit(1).alias("weight_micro"),
        F.lit(1).alias("total_micro"),
        F.lit(1).alias("n_events"),
        F.lit(0).alias("n_purchases"),
        F.col("event_time").alias("first_time"),
        F.col("event_time").alias("last_time"),
        F.lit(None).cast("timestamp").alias("last_purchase_time"),
    )


@pytest.mark.parametrize(
    ("transform", "error", "told"),
    [
        (fails_at_once, RuntimeError, "a broken transform"),
        (fails_in_a_task, PySparkException, "a broken row"),
        (fails_by_a_null, ValueError, r"interactions\.last_time has \d nulls"),
    ],
)
def test_a_job_that_fails_leaves_nothing_visible(lineage, quick, transform, error, told):
    with pytest.raises(error, match=told):
        run_step(replace(job("interactions"), engine="spark", transform=transform), lineage, lambda: quick)
    assert committed(lineage) == []
    assert lineage.find("interactions") is None


def test_a_committed_step_needs_no_session_and_no_input(lineage):
    """recipe is local: from a hand-made result, without Spark; then skipped although its input is gone."""
    of = replace(job("recipe"), transform=lambda *_: {"recipe": rows("recipe", {})})
    said = run_step(replace(of, inputs=()), lineage, no_session)
    assert said.startswith("recipe: 1 recipe in ")
    assert run_step(of, lineage, no_session).startswith(
        f"recipe: already committed as {lineage.version('recipe')} (1 recipe)"
    )


def no_session():
    raise AssertionError("Spark was asked for")


def test_a_late_batch_is_read_by_the_run_that_sees_it_only(lineage, quick):
    pinned = Lineage(lineage.lake, lineage.settings, NIGHT, 1)
    add_batch(lineage.lake, events=[{"user_id": "u3", "event_time": at(3)}])
    newer = Lineage(lineage.lake, lineage.settings, NIGHT)
    for run in (pinned, newer):
        run_step(job("interactions"), run, lambda: quick)
    people = [{row["user_id"] for row in content(run, "interactions")} for run in (pinned, newer)]
    assert people == [{"u1", "u2"}, {"u1", "u2", "u3"}]


def test_empty_inputs_are_tables_all_the_same(tmp_path, quick):
    """A lake of searches only: no item, no user row, no file for most tables."""
    small_lake(tmp_path, events=[{"kind": "search", "item_id": None}], weights=[])
    settings = lake_settings(tmp_path)
    found = Lineage(Lake.open(settings.lake), settings, NIGHT)
    inputs = read_inputs(job("trending"), found, quick)
    assert {name: rows.count() for name, rows in inputs.items()} == {
        "events": 1, "items": 0, "users": 0, "item_dictionary": 0}  # fmt: skip
    for name in STEPS:
        run_step(job(name), found, lambda: quick)
    assert {table: found.resolve(table).rows(table) for table in MAKERS} == dict.fromkeys(MAKERS, 0) | {"recipe": 1}
