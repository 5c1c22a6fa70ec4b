"""Both stores behind the same tests: a folder, and S3 as a server speaks it that checks credentials."""

import json
import os
import threading
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_fixtures import rows
from s3_server import BUCKET, REGION, s3_server  # noqa: F401

from conf.settings import load_settings
from jobs import cli
from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.lake import Lake
from jobs.rim.s3_store import S3Store, lasting_credentials
from jobs.rim.store import FileStore, open_store

N_WRITERS, N_RACES = 8, 5


def lake_of(uri: str, **others):
    return load_settings(lake={"uri": uri, "min_free_mb": 0} | others).lake


@pytest.fixture
def on_s3(s3_server):  # noqa: F811
    """A store of some prefix in the bucket."""
    return lambda prefix, bucket=BUCKET: S3Store(bucket, prefix, s3_server.endpoint, REGION)


@pytest.fixture(params=["folder", "s3"])
def store(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "folder":
        return open_store(lake_of(str(tmp_path / "a lake")))
    endpoint = request.getfixturevalue("s3_server").endpoint
    return open_store(lake_of(f"s3://{BUCKET}/{tmp_path.name}", s3_endpoint=endpoint, s3_region=REGION))


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


def test_a_bucket_of_any_prefix(on_s3, s3_server):  # noqa: F811
    store = on_s3("")
    store.put_if_absent("at the top/k", b"x")
    assert store.list("at the top") == ["at the top/k"]
    assert (store.path("k"), store.uri("k")) == ("shelf/k", "s3a://shelf/k")
    deep = open_store(lake_of("s3a://shelf/a/b/", s3_endpoint=s3_server.endpoint, s3_region=REGION))
    assert deep.uri("k") == "s3a://shelf/a/b/k"


def test_a_folder_marked_by_a_console_is_no_file(on_s3):
    store = on_s3("marked")
    store.s3.put_object(Bucket="shelf", Key="marked/batches/", Body=b"")
    assert Lake(store).snapshot() == 0


def test_a_missing_bucket_is_a_wrong_setting(on_s3):
    store = on_s3("lake", bucket="nobodys")
    for attempt in (lambda: store.list("batches"), lambda: store.get("k"), lambda: store.put_if_absent("k", b"")):
        with pytest.raises(UsageError, match=r"s3://nobodys/lake: .*bucket does not exist"):
            attempt()


def test_a_server_that_is_away_is_temporary(s3_server, monkeypatch):  # noqa: F811
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


@pytest.fixture
def snapshot_of(monkeypatch, capsys):
    """Exit code and complaint of `nightshelf snapshot` on a lake at an endpoint."""

    def snapshot(endpoint: str) -> tuple[int, str]:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setenv("NIGHTSHELF_LAKE__URI", f"s3://{BUCKET}/lake")
        monkeypatch.setenv("NIGHTSHELF_LAKE__S3_ENDPOINT", endpoint)
        monkeypatch.setenv("NIGHTSHELF_LAKE__S3_REGION", REGION)
        return cli.main(["snapshot"]), capsys.readouterr().err

    return snapshot


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_one_line_and_a_usage_error(s3_server, snapshot_of, monkeypatch, name):  # noqa: F811
    assert snapshot_of(s3_server.endpoint) == (0, "")
    monkeypatch.setenv(name, "wrong")
    code, told = snapshot_of(s3_server.endpoint)
    assert (code, told.count("\n")) == (2, 1)
    assert told.startswith(f"nightshelf: s3://{BUCKET}/lake: ")
    assert s3_server.keys[1] not in told


def test_an_endpoint_that_is_away_is_one_line_and_temporary(s3_server, snapshot_of):  # noqa: F811
    code, told = snapshot_of("http://127.0.0.1:9")
    assert (code, told.count("\n")) == (75, 1)


def test_keys_that_a_role_renews_are_left_to_whoever_asks_for_them(monkeypatch, tmp_path):
    """Such as a process of one's own that hands out keys for an hour; here it is called as boto3 calls it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    keys = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "s", "SessionToken": "t"}
    later = json.dumps(keys | {"Expiration": "2099-01-01T00:00:00Z"})
    (tmp_path / "config").write_text(f"[default]\ncredential_process = echo '{later}'\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    assert lasting_credentials() is None
    (tmp_path / "config").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = s\n")
    assert lasting_credentials().access_key == "a"


def begin_upload(store: S3Store, key: str) -> str:
    """The first part of an upload that nobody completes."""
    key = store.prefix + key
    upload = store.s3.create_multipart_upload(Bucket=store.bucket, Key=key)["UploadId"]
    store.s3.upload_part(Bucket=store.bucket, Key=key, UploadId=upload, PartNumber=1, Body=bytes(5 << 20))
    return upload


def test_uploads_that_nobody_completes_are_dropped(on_s3):
    store, neighbor = on_s3("uploads"), on_s3("uploads too")
    for key in ("slates/v=1/a/_temporary/p", "slates/v=1/b/p", "slates/v=1/a.parquet"):
        begin_upload(store, key)
    begin_upload(neighbor, "p")
    assert store.walk("slates") == []
    assert store.abort_uploads("slates/v=1/a") == 1
    assert store.abort_uploads("slates/v=1/a") == 0
    assert store.abort_uploads("") == 2
    assert neighbor.abort_uploads("") == 1


def test_uploads_begun_lately_are_left_alone(on_s3):
    store = on_s3("lately")
    begin_upload(store, "p")
    begun = store.s3.list_multipart_uploads(Bucket=BUCKET, Prefix="lately/")["Uploads"][0]["Initiated"]
    assert store.abort_uploads("", before=begun) == 0
    assert store.abort_uploads("", before=begun + timedelta(seconds=1)) == 1


def test_an_upload_that_somebody_else_ended_is_none_to_drop(on_s3):
    store = on_s3("ended")
    upload = begin_upload(store, "p")
    store.abort("ended/p", upload)
    store.abort("ended/p", upload)


def test_a_folder_has_no_uploads(tmp_path):
    assert FileStore(tmp_path).abort_uploads("") == 0


def test_others_read_what_the_store_wrote(tmp_path):
    """Plain Parquet: a reader that knows nothing of us finds the rows, and no partition column is made up."""
    file = Lake(FileStore(tmp_path)).write("slates/as_of=1/v=2/p.parquet", "slates", rows("slates", {}))
    plain = pq.ParquetFile(Path(tmp_path, file.path)).read()
    assert plain["items"].type == pa.list_(pa.int32())
    assert plain.column_names == rows("slates", {}).column_names
