"""Events through a data stream of Kinesis into the lake, against an emulator (moto's server): one manifest rule."""

import json
from pathlib import Path

import pytest
from kinesis_server import DataStream, kinesis_server  # noqa: F401

from conf.settings import load_settings
from jobs.cli import main
from jobs.rim.lake import Lake

HOUR = ("--interval", "2026-01-10T08:00:00Z", "2026-01-10T09:00:00Z")
EVENT = {"event_time": "2026-01-10T08:00:00Z", "kind": "view", "user_id": "anna", "item_id": "lamp"}
SOURCE = (Path(__file__).parents[1] / "conf/sources/nightshelf.toml").read_text()


@pytest.fixture
def stream(kinesis_server, tmp_path, monkeypatch):  # noqa: F811
    """A data stream of two shards that the source names."""
    text = SOURCE.replace("[[events]]\n", '[[events]]\nstream = { kinesis = "events" }\n')
    (tmp_path / "source.toml").write_text(text)
    settings = {
        "LAKE__URI": str(tmp_path / "lake"),
        "INGEST__LANDING": str(tmp_path / "landing"),
        "INGEST__SOURCE": str(tmp_path / "source.toml"),
        "IDENTITY__SECRET": "a secret of tests",
        "KINESIS__ENDPOINT": kinesis_server,
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"NIGHTSHELF_{name}", value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret of tests")
    stream = DataStream(kinesis_server, "events", 2)
    yield stream
    stream.close()


def events(name: str, n: int) -> list[bytes]:
    return [json.dumps(EVENT | {"event_id": f"{name}-{at}"}).encode() for at in range(n)]


def lake() -> Lake:
    return Lake.open(load_settings().lake)


def ids() -> list[str]:
    files = [file for batch in lake().batches() for file in batch.files.get("events", ())]
    return lake().read("events", files)["event_id"].to_pylist()


def read(number: int = -1) -> dict[str, tuple]:
    """What a batch's manifest says it read of each shard, by its number: first, last, messages, read to its end."""
    return {
        entry["part"].removeprefix("shardId-").lstrip("0") or "0": (
            *(entry[name] for name in ("first", "last", "messages")),
            entry.get("closed", False),
        )
        for entry in lake().batches()[number].inputs
    }


def ingest(capsys, *words: str) -> int:
    assert main(["ingest", *HOUR, *words]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])["snapshot"]


def test_each_batch_goes_on_behind_the_last_sequence_numbers(stream, capsys) -> None:
    stream.send(*events("a", 3))
    assert ingest(capsys) == 1
    assert read() == {"0": ("1", "3", 3, False), "1": ("", "", 0, False)}
    assert ingest(capsys) == 1  # nothing new, the hour is covered
    stream.send(*events("b", 2), b"{", json.dumps(EVENT).encode(), json.dumps(EVENT).encode())
    stream.send(*events("c", 1), shard=1)
    assert ingest(capsys) == 2
    assert read() == {"0": ("4", "8", 5, False), "1": ("1", "1", 1, False)}
    accounts = lake().batches()[1].accounts
    assert (accounts["read"], accounts["accepted"], accounts["quarantined"]) == (6, 5, {"unreadable_json": 1})
    assert len(set(ids())) == len(ids()) == 8  # equal messages without an id are as many events


def test_a_split_shard_is_read_before_its_children(stream, capsys, monkeypatch) -> None:
    stream.send(*events("a", 2))
    ingest(capsys)
    stream.send(*events("b", 1_500))
    stream.split("shardId-000000000000", 2**126)
    stream.send(*events("c", 2))  # to the first child
    monkeypatch.setenv("NIGHTSHELF_INGEST__MAX_MESSAGES", "4000")  # a quarter for each shard
    assert ingest(capsys) == 3
    # the batch that could not take all of the parent takes nothing of its children
    none = ("", "", 0, False)
    assert read(1) == {"0": ("3", "1002", 1_000, False), "1": none, "2": none, "3": none}
    assert read(2) == {"0": ("1003", "1502", 500, True), "1": none, "2": ("1", "2", 2, False), "3": none}
    assert len(set(ids())) == len(ids()) == 1_504
    stream.send(*events("d", 1))
    assert ingest(capsys) == 4
    assert set(read()) == {"1", "2", "3"}  # the parent is done with for ever


def test_records_that_may_be_gone_are_told(stream, capsys, monkeypatch) -> None:
    stream.send(*events("a", 2))
    ingest(capsys)
    monkeypatch.setattr(stream.emulated, "retention_period_hours", -1)  # what it had is gone
    stream.send(*events("b", 1))
    assert main(["ingest", *HOUR]) == 2
    told = capsys.readouterr().err
    assert "kinesis:events: shardId-000000000000 was read up to" in told
    assert "--accept-loss goes on" in told
    assert ingest(capsys, "--accept-loss") == 2
    assert sorted(ids()) == ["a-0", "a-1", "b-0"]
    assert lake().batches()[1].inputs[0]["lost"][0] == "2"


def test_a_data_stream_made_anew_is_not_taken_for_the_old_one(stream, capsys) -> None:
    stream.send(*events("a", 2))
    ingest(capsys)
    stream.emulated.creation_datetime = stream.emulated.creation_datetime.replace(year=2030)
    assert main(["ingest", *HOUR]) == 2
    assert "not the data stream that was read before" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "code", "told"),
    [
        ("KINESIS__ENDPOINT", "http://127.0.0.1:1", 75, "Could not connect"),
        ("KINESIS__REGION", "eu-west-1", 2, "ResourceNotFoundException"),
    ],
)
def test_a_kinesis_that_cannot_be_used_is_one_line(stream, monkeypatch, capsys, name, value, code, told) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv(f"NIGHTSHELF_{name}", value)
    assert main(["ingest", *HOUR]) == code
    err = capsys.readouterr().err
    assert "kinesis:events: " in err
    assert told in err
    assert err.count("\n") == 1
