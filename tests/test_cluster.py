"""The same night on one machine in a folder, and on a cluster of two workers over S3: equal tables, whoever dies."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import NEED
from nights import SECRET, end_of_last_day, ingested, night_settings
from s3_server import BUCKET, REGION, s3_server  # noqa: F401
from spark_cluster import EXECUTOR_MB, SparkCluster
from spark_fixture import QUICK, quick_spark  # noqa: F401

from conf.settings import Settings
from jobs import cli
from jobs.rim.lake import Lake
from jobs.rim.lineage import CODE_ROOT, MAKERS, Lineage, code_version, job
from jobs.rim.runner import run_step
from schemas.tables import TABLES as TABLES_BY_NAME

HERE = Path(__file__).parent
STEPS = ("interactions", "cooccurrence", "recipe", "fit", "cold", "candidates", "slates")
ON_SPARK = ("interactions", "candidates", "slates")  # the first because it is told to
TABLES = [table for table, maker in MAKERS.items() if maker in ON_SPARK]
JARS = HERE.parent / "deploy" / "s3a" / "jars"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def night(tmp_path_factory, quick):
    """A generated month and its night, in a folder."""
    folder = tmp_path_factory.mktemp("night")
    assert cli.main(["generate", "--out", str(folder / "traffic"), "--events", "4000", "--seed", "5"]) == 0
    settings = night_settings(folder)
    with pytest.MonkeyPatch.context() as patch:
        lake = ingested(settings, patch, folder / "traffic", "nightshelf")
    lineage = Lineage(lake, settings, end_of_last_day(lake))
    for name in STEPS:
        run_step(job(name), lineage, lambda: quick)
    return lineage


@pytest.fixture(scope="module", autouse=True)
def jars():
    if not any(JARS.glob("*.jar")):
        pytest.skip(NEED.format(what="the jars for S3", command="make s3a"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, night):
    """Workers that find the night's loops compiled, as those of a second night would: compiling takes half a minute."""
    cluster = SparkCluster(tmp_path_factory.mktemp("cluster") / "spark")
    kept = cluster.folder / "compiled" / f"nightshelf-{code_version()}"
    for path in (CODE_ROOT / "jobs").rglob("__pycache__/*.nb?"):
        place = kept / path.relative_to(CODE_ROOT).parents[1]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    yield cluster
    cluster.close()


def on_s3(night: Lineage, prefix: str, server, cluster: SparkCluster) -> Settings:
    """The settings of a lake on S3, on the cluster."""
    lake = {"uri": f"s3://{BUCKET}/{prefix}", "s3_endpoint": server.endpoint, "s3_region": REGION}
    options = QUICK | {
        "spark.executor.memory": f"{EXECUTOR_MB}m",
        "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.executorEnv.NUMBA_CACHE_DIR": str(cluster.folder / "compiled"),
    }
    spark = {"master": cluster.master, "s3a_jars": str(JARS), "options": options}
    return night_settings(Path(prefix), lake=lake, spark=spark)


def bring(night: Lineage, lake: Lake) -> None:
    """Everything in the night's lake that Spark did not make: raw tables, and what was fitted in one process."""
    store = night.lake.store
    made = tuple(f"{name}/" for name in (*TABLES, *(f"manifests/{name}" for name in ON_SPARK)))
    for key in store.walk(""):
        if not key.startswith(made):
            assert lake.store.put_if_absent(key, store.get(key))


@pytest.fixture(scope="module")
def driven(night, cluster, s3_server, tmp_path_factory):  # noqa: F811
    """Both nights on the cluster, and what their driver said."""
    lakes = {name: on_s3(night, name, s3_server, cluster) for name in ("whole", "wounded")}
    for settings in lakes.values():
        bring(night, Lake.open(settings.lake))
    uris = [settings.lake.uri for settings in lakes.values()]
    argv = [sys.executable, str(HERE / "cluster_driver.py"), *uris, night.as_of.isoformat(), *ON_SPARK]
    folder = tmp_path_factory.mktemp("driver")
    env = environment(lakes["whole"], cluster) | keys_in_a_file(folder, *s3_server.keys)
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr + cluster.logs()
    lineages = {name: Lineage(Lake.open(own.lake), own, night.as_of) for name, own in lakes.items()}
    account = json.loads(done.stdout.splitlines()[-1])
    return SimpleNamespace(lineages=lineages, account=account, said=done.stdout + done.stderr)


def environment(settings: Settings, cluster: SparkCluster) -> dict[str, str]:
    """What an operator would set for such a driver."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return inherited | {
        "NIGHTSHELF_LAKE__S3_ENDPOINT": settings.lake.s3_endpoint,
        "NIGHTSHELF_LAKE__S3_REGION": settings.lake.s3_region,
        "NIGHTSHELF_LAKE__URI": settings.lake.uri,
        "NIGHTSHELF_SPARK__MASTER": settings.spark.master,
        "NIGHTSHELF_SPARK__S3A_JARS": settings.spark.s3a_jars,
        "NIGHTSHELF_SPARK__OPTIONS": json.dumps(settings.spark.options),
        "NIGHTSHELF_SPARK__SHUFFLE_PARTITIONS": "2",
        "NIGHTSHELF_INTERACTIONS__ENGINE": "spark",
        "NIGHTSHELF_IDENTITY__SECRET": SECRET,
        "PYTHONPATH": str(HERE.parent),
        "PYSPARK_PYTHON": str(cluster.python),
    }


def keys_in_a_file(folder: Path, key_id: str, secret: str) -> dict[str, str]:
    """Keys where boto3 looks and S3A does not."""
    path = folder / "credentials"
    path.write_text(f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n")
    return {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.mark.parametrize("lake", ["whole", "wounded"])
@pytest.mark.parametrize("table", TABLES)
def test_tables_are_equal_wherever_and_however_they_are_made(lake, table, night, driven):
    made = driven.lineages[lake]
    there, here = made.read(table), night.read(table)
    order = [(name, "ascending") for name in TABLES_BY_NAME[table].key]
    assert there.num_rows > 0
    assert there.sort_by(order) == here.sort_by(order)


def test_an_executor_was_killed_in_mid_work_and_another_came(driven):
    account = driven.account
    before, after = set(account["before"]), set(account["after"])
    assert (len(before), len(after)) == (2, 2)
    assert before - after == {account["killed"]}


def test_tasks_had_the_code_from_the_zip(driven):
    assert driven.account["code"].endswith(f"/nightshelf-{code_version()}.zip/jobs/__init__.py")


@pytest.mark.parametrize("lake", ["whole", "wounded"])
def test_nothing_is_left_but_files_that_manifests_name(lake, driven):
    made = driven.lineages[lake]
    store = made.lake.store
    named = {file.path for table in TABLES for file in made.resolve(table).files[table]}
    found = {key for table in TABLES for key in store.walk(table)}
    marks = {f"{Path(path).parent}/_SUCCESS" for path in named}
    assert found - marks == named
    assert store.abort_uploads("") == 0


def test_the_secret_key_is_in_no_log_and_no_option(driven, cluster, s3_server):  # noqa: F811
    assert s3_server.keys[1] not in driven.said + cluster.logs()
