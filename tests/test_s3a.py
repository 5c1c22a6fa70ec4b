"""What a lake on S3 and a cluster ask of a session, the zip that carries the code, and how the jars come."""

import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from conf.settings import SettingsError, load_settings
from deploy import jars as fetch
from deploy.embedded.problems import Problem
from jobs.rim import code_archive
from jobs.rim.errors import UsageError
from jobs.rim.lineage import CODE_ROOT, code_version
from jobs.rim.spark_session import is_local, spark_options

OPTIONS = {"spark.executor.memory": "3g", "spark.sql.shuffle.partitions": "7"}


@pytest.fixture
def jars(tmp_path) -> Path:
    for name in ("b.jar", "a.jar", "coordinates"):
        (tmp_path / name).touch()
    return tmp_path


def options_of(spark: dict, **lake: str) -> dict[str, str]:
    return spark_options(load_settings(spark=spark, lake={"uri": "s3://shelf/lake"} | lake))


def test_a_lake_on_s3_brings_jars_and_region_and_no_keys(jars, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret key")
    options = options_of({"s3a_jars": str(jars)}, s3_region="eu-west-1")
    assert options["spark.jars"] == f"{jars}/a.jar,{jars}/b.jar"
    assert options["spark.hadoop.fs.s3a.endpoint.region"] == "eu-west-1"
    assert not [name for name in options if "endpoint" in name and not name.endswith("region")]
    assert "a secret key" not in str(options)


def test_a_server_that_is_not_amazons_is_asked_by_path(jars):
    options = options_of({"s3a_jars": str(jars)}, s3_endpoint="http://127.0.0.1:7070")
    assert options["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:7070"
    assert options["spark.hadoop.fs.s3a.path.style.access"] == "true"


def test_missing_jars_are_told_with_what_brings_them(tmp_path):
    with pytest.raises(UsageError, match=rf"spark\.s3a_jars = '{tmp_path}': no jars there.*run `make s3a`"):
        options_of({"s3a_jars": str(tmp_path)})
    assert "spark.jars" not in options_of({"s3a_jars": ""})


def test_a_lake_in_a_folder_wants_none_of_it(tmp_path):
    options = options_of({"s3a_jars": str(tmp_path)}, uri=str(tmp_path))
    assert not [name for name in options if "s3a" in name or name == "spark.jars"]


def test_options_of_ones_own_win_and_those_of_file_and_environment_are_taken_together(tmp_path, monkeypatch):
    assert spark_options(load_settings(spark={"options": OPTIONS})).items() >= OPTIONS.items()
    (tmp_path / "mine.toml").write_text('[spark.options]\n"spark.a" = "file"\n"spark.b" = "file"\n')
    monkeypatch.setenv("NIGHTSHELF_CONF", str(tmp_path / "mine.toml"))
    monkeypatch.setenv("NIGHTSHELF_SPARK__OPTIONS", '{"spark.b": "environment"}')
    assert load_settings().spark.options == {"spark.a": "file", "spark.b": "environment"}


@pytest.mark.parametrize("options", ['{"executor.memory": "3g"}', '{"spark.cores.max": 3}', "spark.cores.max=3"])
def test_an_option_that_is_none_is_told(options, monkeypatch):
    monkeypatch.setenv("NIGHTSHELF_SPARK__OPTIONS", options)
    with pytest.raises(SettingsError, match=r"setting spark\.options.* allowed: a table of spark\.… = text") as refused:
        load_settings()
    assert "\n" not in str(refused.value)


def test_which_masters_are_this_machine():
    assert [is_local(master) for master in ("local", "local[2]", "local[*]")] == [True] * 3
    assert [is_local(master) for master in ("local-cluster[2,1,512]", "spark://localhost:7077", "yarn")] == [False] * 3


def test_the_zip_has_all_the_code_and_equal_bytes_each_time(tmp_path):
    path = code_archive.write_archive(tmp_path)
    first = path.read_bytes()
    assert code_archive.write_archive(tmp_path).read_bytes() == first
    assert [entry.name for entry in tmp_path.iterdir()] == [f"nightshelf-{code_version()}.zip"]
    names = set(zipfile.ZipFile(path).namelist())
    assert {"jobs/candidates.py", "schemas/tables.py", "conf/default.toml"} <= names
    assert {name.partition("/")[0] for name in names} == set(code_archive.PARTS)
    assert not [name for name in names if "__pycache__" in name]


KEEPS = """
    import sys
    sys.path.insert(0, sys.argv[1])
    import numpy as np
    from jobs.kernels import compiled
    from jobs.kernels.recipe import block_topk
    loop = next(found for found in vars(block_topk).values() if hasattr(found, "stats"))
    print(compiled.__file__, loop.stats.cache_path, sep="\\n")
"""


@pytest.mark.parametrize("home", ["home", "/proc/nobodys"])
def test_loops_out_of_a_zip_are_kept_by_its_name_wherever_it_lies(tmp_path, home):
    """An executor's folder is another every time; its user may have no home."""
    places = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        archive = code_archive.write_archive(folder)
        (folder / "look.py").write_text(textwrap.dedent(KEEPS))
        env = {"HOME": str(tmp_path / home)}
        argv = [sys.executable, "-E", "look.py", str(archive)]
        done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=True)
        code, kept = done.stdout.splitlines()
        assert code == f"{archive}/jobs/kernels/compiled.py"
        places.append(kept)
    within = f"{archive.stem}/jobs/kernels/recipe"
    at_home = [f"{tmp_path}/home/.cache/numba/{within}"] * 2
    assert places == (at_home if home == "home" else [f"numba/{within}"] * 2)


def repository(folder: Path, version: str = "1") -> Path:
    """Ivy's settings for a Maven repository in a folder that has one jar."""
    place = folder / "m2" / "org/apache/hadoop/hadoop-aws" / version
    place.mkdir(parents=True)
    (place / f"hadoop-aws-{version}.pom").write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>org.apache.hadoop</groupId>"
        f"<artifactId>hadoop-aws</artifactId><version>{version}</version></project>"
    )
    with zipfile.ZipFile(place / f"hadoop-aws-{version}.jar", "w") as jar:
        jar.writestr("empty", "")
    settings = folder / "ivysettings.xml"
    settings.write_text(
        '<ivysettings><settings defaultResolver="here"/><resolvers>'
        f'<ibiblio name="here" m2compatible="true" root="{(folder / "m2").as_uri()}"/></resolvers></ivysettings>'
    )
    return settings


@pytest.fixture
def own_folder(tmp_path, monkeypatch) -> Path:
    """Coordinates, jars and cache of a test's own."""
    monkeypatch.setattr(fetch, "HERE", tmp_path)
    monkeypatch.setattr(fetch, "CACHE", tmp_path / "ivy")
    monkeypatch.setattr(fetch.house, "LOGS", tmp_path)
    (tmp_path / "s3a").mkdir()
    ask_for(tmp_path, "1")
    monkeypatch.setenv("IVY_SETTINGS", str(repository(tmp_path)))
    return tmp_path


def ask_for(folder: Path, version: str) -> None:
    wanted = (CODE_ROOT / "deploy/s3a/ivy.xml").read_text()
    lines = [
        line.replace('"3.5.0"', f'"{version}"') for line in wanted.splitlines() if '<dependency org="soft' not in line
    ]
    (folder / "s3a" / "ivy.xml").write_text("\n".join(lines))


def test_jars_come_once_and_anew_for_other_coordinates(own_folder, monkeypatch, capsys):
    assert fetch.main("s3a") == 0
    assert sorted(os.listdir(own_folder / "s3a" / "jars")) == ["coordinates", "hadoop-aws-1.jar"]
    capsys.readouterr()
    assert (fetch.main("s3a"), capsys.readouterr().out) == (0, "")
    ask_for(own_folder, "2")
    with pytest.raises(Problem, match=r"the jars for S3 did not come: .*hadoop-aws;2.*run again") as refused:
        fetch.main("s3a")
    assert refused.value.code == 75
    assert sorted(os.listdir(own_folder / "s3a")) == ["ivy.xml", "jars"]
    assert sorted(os.listdir(own_folder / "s3a" / "jars")) == ["coordinates", "hadoop-aws-1.jar"]
    monkeypatch.setenv("IVY_SETTINGS", str(repository(own_folder, "2")))
    assert fetch.main("s3a") == 0
    assert sorted(os.listdir(own_folder / "s3a" / "jars")) == ["coordinates", "hadoop-aws-2.jar"]


def test_without_spark_there_is_no_ivy(monkeypatch):
    monkeypatch.setattr(fetch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Problem, match="make install"):
        fetch.ivy()
