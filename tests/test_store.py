"""Both stores behind the same tests: a folder, and S3 as the emulator moto speaks it (no real server is to be had)."""

import os
import threading
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_fixtures import rows
from moto.server import ThreadedMotoServer

from conf.settings import load_settings
from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.lake import Lake
from jobs.rim.store import FileStore, S3Store, open_store

REGION = "eu-central-1"
N_WRITERS, N_RACES = 8, 5


@pytest.fixture(scope="module")
def s3_emulator():
    """An endpoint with one bucket, ``shelf``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "tests")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        client = boto3.client("s3", endpoint_url=endpoint, region_name=REGION)
        client.create_bucket(Bucket="shelf", CreateBucketConfiguration={"LocationConstraint": REGION})
        yield endpoint
        server.stop()


def lake_of(uri: str, **others):
    return load_settings(lake={"uri": uri, "min_free_mb": 0} | others).lake


@pytest.fixture(params=["folder", "s3_emulator"])
def store(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "folder":
        return open_store(lake_of(str(tmp_path / "a lake")))
    endpoint = request.getfixturevalue("s3_emulator")
    return open_store(lake_of(f"s3://shelf/{tmp_path.name}", s3_endpoint=endpoint, s3_region=REGION))


def test_a_key_is_created_once(store):
    assert store.get("batches/1.json") is None
    assert store.put_if_absent("batches/1.json", b"first") is True
    assert store.put_if_absent("batches/1.json", b"second") is False
    assert store.get("batches/1.json") == b"first"


def test_of_racing_writers_exactly_one_wins(store):
    for race in range(N_RACES):
        key, won = f"races/{race}", []
        start = threading.Barrier(N_WRITERS)

        def write(name, key=key, won=won, start=start):
            start.wait()
            if store.put_if_absent(key, name * 10_000):
                won.append(name)

        writers = [threading.Thread(target=write, args=(b"%d" % k,)) for k in range(N_WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert len(won) == 1, won
        assert store.get(key) == won[0] * 10_000
    assert len(store.list("races")) == N_RACES


def test_a_listing_is_sorted_and_names_files_right_below(store):
    for key in ("t/b", "t/a", "t/deep/c", "tt/d", "t2"):
        store.put_if_absent(key, b"")
    assert store.list("t") == ["t/a", "t/b"]
    assert store.list("t/deep") == ["t/deep/c"]
    assert store.list("nothing") == []


def test_a_walk_is_sorted_and_names_files_at_any_depth(store):
    for key in ("t/b", "t/a/2", "t/a/1/deep", "tt/d", "t2"):
        store.put_if_absent(key, b"")
    assert store.walk("t") == ["t/a/1/deep", "t/a/2", "t/b"]
    assert store.walk("t/a") == ["t/a/1/deep", "t/a/2"]
    assert store.walk("nothing") == []


def test_parquet_written_is_read_back(store):
    lake, content = Lake(store), rows("slates", {}, {"user_id": "u2", "items": [], "scores": [], "sources": []})
    file = lake.write("slates/x=1/v=2/part.parquet", "slates", content)
    assert (file.rows, file.bytes) == (2, len(store.get(file.path)))
    assert lake.read("slates", [file]) == content
    assert lake.read("slates", [file, file], ["user_id"])["user_id"].to_pylist() == ["u1", "u2"] * 2
    assert lake.read("slates", []) == content.slice(0, 0)
    batches = list(lake.iter_batches([file], ["user_id"], rows=1))
    assert [batch["user_id"].to_pylist() for batch in batches] == [["u1"], ["u2"]]
    assert [f.path for f in lake.describe_attempt("slates/x=1/v=2", "slates")] == [file.path]


def test_a_folder_may_be_named_as_a_path_or_a_file_url(tmp_path):
    for uri in (str(tmp_path / "x"), f"file://{tmp_path}/x"):
        store = open_store(lake_of(uri))
        assert isinstance(store, FileStore)
        assert (store.path("k"), store.uri("k")) == (str(tmp_path / "x/k"), f"file://{tmp_path}/x/k")


def test_a_relative_lake_lies_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = open_store(lake_of(".nightshelf/lake"))
    monkeypatch.chdir("/")
    store.put_if_absent("k", b"here")
    assert (tmp_path / ".nightshelf/lake/k").read_bytes() == b"here"


def test_a_half_written_key_is_not_there(tmp_path):
    """What a killed writer leaves beside the key it was about to create."""
    store = FileStore(tmp_path)
    store.put_if_absent("batches/1.json", b"one")
    (tmp_path / "batches/.2.json.0123abcd").write_bytes(b"tw")
    assert store.list("batches") == store.walk("batches") == ["batches/1.json"]
    assert store.put_if_absent("batches/2.json", b"two")
    assert sorted(os.listdir(tmp_path / "batches")) == [".2.json.0123abcd", "1.json", "2.json"]


def test_a_full_disk_is_told_before_anything_is_written(tmp_path):
    store = open_store(lake_of(str(tmp_path / "x"), min_free_mb=1_000_000))
    with pytest.raises(TemporaryError, match=r"x has \d+ MiB free; lake\.min_free_mb asks for 1000000"):
        store.make_room()


@pytest.mark.parametrize("uri", ["ftp://host/x", "hdfs:///x", "s3://"])
def test_other_places_are_refused(uri):
    with pytest.raises(UsageError, match=rf"lake\.uri = '{uri}'.*s3://bucket/prefix"):
        open_store(lake_of(uri))


def test_a_bucket_of_any_prefix(s3_emulator):
    store = S3Store("shelf", "", s3_emulator, REGION)
    store.put_if_absent("at the top/k", b"x")
    assert store.list("at the top") == ["at the top/k"]
    assert (store.path("k"), store.uri("k")) == ("shelf/k", "s3a://shelf/k")
    deep = open_store(lake_of("s3a://shelf/a/b/", s3_endpoint=s3_emulator, s3_region=REGION))
    assert deep.uri("k") == "s3a://shelf/a/b/k"


def test_a_folder_marked_by_a_console_is_no_file(s3_emulator):
    store = S3Store("shelf", "marked", s3_emulator, REGION)
    store.s3.put_object(Bucket="shelf", Key="marked/batches/", Body=b"")
    assert Lake(store).snapshot() == 0


def test_a_missing_bucket_is_a_wrong_setting(s3_emulator):
    store = S3Store("nobodys", "lake", s3_emulator, REGION)
    for attempt in (lambda: store.list("batches"), lambda: store.get("k"), lambda: store.put_if_absent("k", b"")):
        with pytest.raises(UsageError, match=r"s3://nobodys/lake: .*bucket does not exist"):
            attempt()


def test_a_server_that_is_away_is_temporary(s3_emulator, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = S3Store("shelf", "lake", "http://127.0.0.1:9", REGION)  # nobody listens on the discard port
    with pytest.raises(TemporaryError, match=r"s3://shelf/lake: .*127\.0\.0\.1:9"):
        store.get("k")


def test_without_credentials_the_variables_are_named(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        S3Store("shelf", "lake", "http://127.0.0.1:9", REGION)


def test_others_read_what_the_store_wrote(tmp_path):
    """Plain Parquet: a reader that knows nothing of us finds the rows, and no partition column is made up."""
    file = Lake(FileStore(tmp_path)).write("slates/as_of=1/v=2/p.parquet", "slates", rows("slates", {}))
    plain = pq.ParquetFile(Path(tmp_path, file.path)).read()
    assert plain["items"].type == pa.list_(pa.int32())
    assert plain.column_names == rows("slates", {}).column_names
