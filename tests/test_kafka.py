"""Events through a real Kafka broker into the lake: each message in exactly one batch, whoever dies on the way."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import Producer
from kafka_server import Topic, kafka  # noqa: F401
from kinesis_server import DataStream, kinesis_server  # noqa: F401
from s3_server import BUCKET, REGION, s3_server  # noqa: F401
from ways_in import SLICES, Ways, accounts

from benchmarks import kafka as bench
from conf.settings import load_settings
from jobs.cli import main
from jobs.rim.lake import Lake

HERE = Path(__file__).parent
SECRET = "a secret of tests"
EVENT = {"event_time": "2026-01-10T08:00:00Z", "kind": "view", "user_id": "anna", "item_id": "lamp"}
HOUR = ("--interval", "2026-01-10T08:00:00Z", "2026-01-10T09:00:00Z")
SOURCE = (HERE.parent / "conf/sources/nightshelf.toml").read_text()


@pytest.fixture(autouse=True)
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kafka) -> None:  # noqa: F811
    """An empty lake, a landing folder that is not there."""
    monkeypatch.setenv("NIGHTSHELF_LAKE__URI", str(tmp_path / "lake"))
    monkeypatch.setenv("NIGHTSHELF_INGEST__LANDING", str(tmp_path / "landing"))
    monkeypatch.setenv("NIGHTSHELF_IDENTITY__SECRET", SECRET)
    monkeypatch.setenv("NIGHTSHELF_KAFKA__SERVERS", kafka.servers)


@pytest.fixture
def topic(kafka, tmp_path, monkeypatch) -> Topic:  # noqa: F811
    """A topic of two partitions, and the source whose events it has."""
    topic = Topic(kafka, 2)
    describe(topic, tmp_path, monkeypatch)
    return topic


def describe(topic: Topic, folder: Path, monkeypatch, more: str = "") -> None:
    stream = f'stream = {{ kafka = "{topic.name}"{more} }}\n'
    (folder / "source.toml").write_text(SOURCE.replace("[[events]]\n", f"[[events]]\n{stream}"))
    monkeypatch.setenv("NIGHTSHELF_INGEST__SOURCE", str(folder / "source.toml"))


def events(name: str, n: int, **change: object) -> list[bytes]:
    return [json.dumps(EVENT | {"event_id": f"{name}-{at}"} | change).encode() for at in range(n)]


def lake() -> Lake:
    return Lake.open(load_settings().lake)


def rows(table: str = "events") -> list[dict]:
    return [row for batch in lake().batches() for row in lake().read(table, batch.files.get(table, [])).to_pylist()]


def ids() -> list[str]:
    return sorted(row["event_id"] for row in rows())


def read(number: int = -1) -> dict[str, tuple]:
    """What a batch's manifest says it read: first and last offset and messages by partition."""
    inputs = lake().batches()[number].inputs
    return {entry["part"]: (entry["first"], entry["last"], entry["messages"]) for entry in inputs if "stream" in entry}


def ingest(capsys, *words: str, hour: tuple[str, ...] = HOUR) -> dict:
    code = main(["ingest", *hour, *words])
    out = capsys.readouterr()
    assert code == 0, out.err
    return json.loads(out.out.splitlines()[-1])


def refused(capsys, code: int = 2, words: tuple[str, ...] = ()) -> str:
    assert main(["ingest", *HOUR, *words]) == code
    return capsys.readouterr().err


def test_each_batch_goes_on_where_the_last_manifest_ended(topic, capsys) -> None:
    topic.send(*events("a", 3))
    topic.send(*events("b", 2), partition=1)
    assert ingest(capsys)["snapshot"] == 1
    assert read() == {"0": (0, 2, 3), "1": (0, 1, 2)}
    assert ingest(capsys)["snapshot"] == 1  # nothing new, the hour is covered
    topic.send(*events("c", 1), partition=1)
    assert ingest(capsys)["snapshot"] == 2
    assert read() == {"1": (2, 2, 1)}
    assert ids() == ["a-0", "a-1", "a-2", "b-0", "b-1", "c-0"]
    assert lake().batches()[1].accounts["duplicate"] == 0
    (topic_id,) = {entry["id"] for batch in lake().batches() for entry in batch.inputs}
    assert len(topic_id) > 10


def test_an_empty_topic_covers_its_hour_and_says_where_it_stands(topic, capsys) -> None:
    assert ingest(capsys) | {"batch_id": ""} == {
        "snapshot": 1,
        "batch_id": "",
        "first_hour": "2026-01-10T08:00:00Z",
        "end_hour": "2026-01-10T09:00:00Z",
        "n_hours_with_rows": 0,
    }
    assert read() == {"0": (0, -1, 0), "1": (0, -1, 0)}
    assert ingest(capsys)["snapshot"] == 1


def test_a_message_that_cannot_be_used_stops_nothing(topic, capsys) -> None:
    topic.send(b"{", b'{"some": "thing"}', b"\xff{}", b"", None, *events("a", 1), b" [1] ")
    ingest(capsys)
    accounts = lake().batches()[0].accounts
    assert (accounts["read"], accounts["accepted"]) == (5, 1)  # what is empty is no row
    assert accounts["quarantined"] == {"unreadable_json": 2, "bad_encoding": 1, "bad_time": 1}
    assert read()["0"] == (0, 6, 7)
    assert {(row["file"], row["line"]) for row in rows("quarantine")} == {
        (f"kafka:{topic.name}/0", line) for line in (1, 2, 3, 7)
    }


def test_equal_messages_without_an_id_are_as_many_events_and_come_in_once(topic, capsys) -> None:
    same = json.dumps(EVENT).encode()
    topic.send(same, same)
    topic.send(same, partition=1)
    ingest(capsys)
    topic.send(same)
    ingest(capsys)
    assert len(set(ids())) == len(ids()) == 4


def test_more_than_a_batch_holds_goes_on_in_further_ones(topic, capsys, monkeypatch) -> None:
    monkeypatch.setenv("NIGHTSHELF_INGEST__MAX_MESSAGES", "1000")
    topic.send(*events("a", 2_000))
    topic.send(*events("b", 500), partition=1)
    assert main(["ingest", *HOUR]) == 0
    told = capsys.readouterr().out
    assert told.count("more waits than ingest.max_messages = 1,000: another batch follows\n") == 2
    assert [read(n) for n in range(3)] == [
        {"0": (0, 799, 800), "1": (0, 199, 200)},
        {"0": (800, 1599, 800), "1": (200, 399, 200)},
        {"0": (1600, 1999, 400), "1": (400, 499, 100)},
    ]
    first, second, third = lake().batches()
    # whoever waits for the hour must not go on before its last part is there
    assert first.first_hour == first.end_hour == second.end_hour == "2026-01-10T08:00:00Z"
    assert (third.first_hour, third.end_hour) == HOUR[1:]
    assert len(set(ids())) == len(ids()) == 2_500


def test_a_new_partition_is_read_from_its_beginning(topic, capsys) -> None:
    topic.send(*events("a", 1))
    ingest(capsys)
    topic.grow(3)
    topic.send(*events("b", 2), partition=2)
    ingest(capsys)
    assert read() == {"2": (0, 1, 2)}
    assert ids() == ["a-0", "b-0", "b-1"]


def test_transactions_leave_gaps_and_the_open_one_waits(topic, capsys) -> None:
    producer = Producer({"bootstrap.servers": topic.broker.servers, "transactional.id": topic.name})
    producer.init_transactions(30)
    for name, end in (("kept", producer.commit_transaction), ("dropped", producer.abort_transaction), ("open", None)):
        producer.begin_transaction()
        for line in events(name, 2):
            producer.produce(topic.name, line, partition=0)
        producer.flush(30)
        if end:
            end(30)
    ingest(capsys)
    assert ids() == ["kept-0", "kept-1"]
    # 0 and 1 kept, 2 their end, 3 and 4 dropped, 5 their end; 6 and 7 wait for theirs
    assert read()["0"] == (0, 5, 2)
    producer.commit_transaction(30)
    ingest(capsys)
    assert ids() == ["kept-0", "kept-1", "open-0", "open-1"]
    assert read()["0"] == (6, 8, 2)


def test_lost_messages_are_told_and_nobody_goes_on_without_saying_so(topic, capsys) -> None:
    topic.send(*events("a", 2))
    ingest(capsys)
    topic.send(*events("b", 5))
    topic.cut(0, 4)
    told = f"kafka:{topic.name}/0: offsets 2 to 3 were deleted before they were read"
    assert f"{told}; --accept-loss goes on at offset 4" in refused(capsys)
    assert lake().snapshot() == 1
    assert main(["ingest", *HOUR, "--accept-loss"]) == 0
    assert capsys.readouterr().out.startswith(f"warning: {told}; going on at offset 4")
    assert ids() == ["a-0", "a-1", "b-2", "b-3", "b-4"]
    (entry,) = [entry for entry in lake().batches()[1].inputs if entry["part"] == "0"]
    assert entry["lost"] == [2, 3]
    assert ingest(capsys)["snapshot"] == 2


def test_a_topic_made_anew_is_not_taken_for_the_old_one(topic, capsys) -> None:
    topic.send(*events("a", 2))
    ingest(capsys)
    topic.remove()
    topic.create(2)
    topic.send(*events("b", 5))
    assert "not the topic that was read up to offset 1: made anew" in refused(capsys)
    ingest(capsys, "--accept-loss")
    assert ids() == ["a-0", "a-1", *(f"b-{n}" for n in range(5))]
    assert ingest(capsys)["snapshot"] == 2  # also the partition that nothing was in is known as the new one's


def test_a_source_may_state_from_when_on_it_is_read(topic, tmp_path, monkeypatch, capsys) -> None:
    topic.send(*events("a", 2))
    describe(topic, tmp_path, monkeypatch, ', start = "2100-01-01T00:00:00Z"')
    ingest(capsys)
    assert read() == {"0": (2, 1, 0), "1": (0, -1, 0)}
    topic.send(*events("b", 1))
    ingest(capsys)
    assert ids() == ["b-0"]


def test_of_two_ingests_at_once_one_reads_the_messages(topic, monkeypatch, capsys) -> None:
    """The other runs whole just before this one's commit: its messages are not taken again, those behind it are."""
    topic.send(*events("a", 3))
    commit = Lake.commit_batch

    def overtaken(self: Lake, batch) -> bool:
        monkeypatch.setattr(Lake, "commit_batch", commit)
        topic.send(*[json.dumps(EVENT).encode()] * 2)
        assert main(["ingest", *HOUR]) == 0
        topic.send(*events("b", 1))
        return commit(self, batch)

    monkeypatch.setattr(Lake, "commit_batch", overtaken)
    ingest(capsys)
    assert [read(n) for n in range(lake().snapshot())] == [{"0": (0, 4, 5), "1": (0, -1, 0)}]
    assert len(ids()) == 5
    ingest(capsys)
    assert read()["0"] == (5, 5, 1)
    assert len(set(ids())) == len(ids()) == 6


def test_files_and_messages_of_one_hour_are_one_batch(topic, tmp_path, capsys) -> None:
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "events.jsonl").write_bytes(b"\n".join(events("file", 2)))
    (tmp_path / "landing" / "items.jsonl").write_text('{"item_id": "lamp", "title": "Lamp"}\n')
    topic.send(*events("file", 1), *events("topic", 2))
    ingest(capsys)
    (batch,) = lake().batches()
    assert batch.accounts["accepted"] == 4  # the event sent both ways counts once
    assert batch.accounts["duplicate"] == 1
    assert batch.accounts["catalogue"]["items"]["accepted"] == 1
    assert [entry["name"] for entry in batch.inputs] == [
        "events.jsonl",
        "items.jsonl",
        f"kafka:{topic.name}/0",
        f"kafka:{topic.name}/1",
    ]


def test_a_log_in_names_the_visit_of_an_earlier_batch_of_the_day(topic, capsys) -> None:
    visit = {"session_id": "s", "user_id": None}
    topic.send(*events("before", 1, **visit))
    ingest(capsys)
    topic.send(*events("log-in", 1, session_id="s"))
    topic.send(*events("after", 1, **visit), partition=1)
    ingest(capsys)
    topic.send(*events("later", 1, **visit), *events("next-day", 1, **visit, event_time="2026-01-11T00:01:00Z"))
    ingest(capsys, hour=("--interval", "2026-01-11T00:00:00Z", "2026-01-11T01:00:00Z"))
    named = {row["event_id"] for row in rows() if row["user_id"]}
    # what was committed as anonymous stays so; the log-in of an earlier batch counts on its own UTC day
    assert named == {"log-in-0", "after-0", "later-0"}
    assert [batch.accounts["stitched"] for batch in lake().batches()] == [0, 1, 1]


def test_unknown_fields_are_kept_and_wrong_types_are_not(topic, capsys) -> None:
    topic.send(
        *events("a", 1, campaign="spring", depth={"b": 1, "a": [2]}, none=None),
        *events("b", 1, price="cheap", quantity=2),
        *events("c", 1, quantity="3", price=None),
    )
    ingest(capsys)
    kept = {row["event_id"]: (row["extra"], row["quantity"], row["price"]) for row in rows()}
    assert kept == {"a-0": ('{"campaign":"spring","depth":{"b":1,"a":[2]}}', None, None), "c-0": (None, 3, None)}
    assert lake().batches()[0].accounts["quarantined"] == {"bad_number": 1}


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ({"SERVERS": ""}, 2, "kafka.servers is empty"),
        ({"SERVERS": "127.0.0.1:1", "TIMEOUT_S": "1"}, 75, "kafka.servers = 127.0.0.1:1"),
        ({"OPTIONS": '{"security.protokol": "SSL"}'}, 2, 'No such configuration property: "security.protokol"'),
        ({"OPTIONS": '{"sasl.password": "hush"'}, 2, "kafka.options = (hidden)"),
        ({"OPTIONS": '{"sasl.password": ["hush"]}'}, 2, "kafka.options.sasl.password = (hidden)"),
    ],
)
def test_a_kafka_that_cannot_be_used_is_one_line(topic, monkeypatch, capsys, change, code, told) -> None:
    for name, value in change.items():
        monkeypatch.setenv(f"NIGHTSHELF_KAFKA__{name}", value)
    err = refused(capsys, code)
    assert told in err, err
    assert err.count("\n") == 1
    assert "hush" not in err


def test_a_topic_that_is_not_there_is_one_line(topic, capsys) -> None:
    topic.remove()
    assert f"kafka:{topic.name}: Broker: Unknown topic or partition" in refused(capsys)


def test_killed_at_any_step_each_event_is_there_once(topic, monkeypatch) -> None:
    monkeypatch.setenv("NIGHTSHELF_INGEST__MAX_MESSAGES", "6000")
    for partition in (0, 1):
        topic.send(*events(f"p{partition}", 10_000, event_id=None, note=partition), partition=partition)
    command = [sys.executable, str(HERE / "killed_ingest.py"), "ingest", *HOUR]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(HERE.parent)})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) >= 6, "a batch has as many steps"
    assert len(set(ids())) == len(ids()) == 20_000
    parts = [entry for batch in lake().batches() for entry in batch.inputs]
    for part in ("0", "1"):
        ranges = [(entry["first"], entry["last"]) for entry in parts if entry["part"] == part]
        assert [first for first, _ in ranges] == [0, *(last + 1 for _, last in ranges[:-1])]
        assert ranges[-1][1] == 9_999


def test_the_benchmark_kills_from_outside_and_compares(kafka, tmp_path, monkeypatch, capsys) -> None:  # noqa: F811
    monkeypatch.setattr(bench, "FOLDER", tmp_path / "bench")
    monkeypatch.setattr(bench, "TOPIC", Topic(kafka, 1).name + "-bench")
    monkeypatch.setattr(bench, "Broker", lambda memory_mb: SimpleNamespace(servers=kafka.servers, close=lambda: None))
    monkeypatch.setattr(bench.jars, "main", lambda name: 0)
    for name, value in {"EVENTS": 20_000, "KILLS": 2, "REPEATS": 0}.items():
        monkeypatch.setenv(name, str(value))
    assert bench.main() == 0
    assert "killed 2 times: 20,000 read = " in capsys.readouterr().out
    told = json.loads((tmp_path / "kafka.json").read_text())["killed"]
    assert told["accepted"] + told["duplicate"] + told["quarantined"] == 20_000


@pytest.fixture(scope="module")
def servers(kafka, s3_server, kinesis_server) -> SimpleNamespace:  # noqa: F811
    return SimpleNamespace(kafka=kafka, s3=s3_server, kinesis=kinesis_server)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param("online-retail", marks=pytest.mark.data("online-retail")),
        pytest.param("movielens-100k", marks=pytest.mark.data("movielens-100k")),
        "generated",
    ],
)
def test_every_row_is_accounted_for_alike_by_each_way_in(rows, servers, data_dir, tmp_path, monkeypatch) -> None:
    found, told = SLICES[rows](data_dir, tmp_path), {}
    topic, data_stream = Topic(servers.kafka, 2), DataStream(servers.kinesis, f"{rows}-rows", 2)
    monkeypatch.setenv("NIGHTSHELF_KINESIS__ENDPOINT", servers.kinesis)
    for way, come_in in {
        "file": lambda ways: ways.file(),
        "hourly drops": lambda ways: ways.drops(),
        "drops on S3": lambda ways: ways.s3(servers.s3, BUCKET, REGION),
        "kafka": lambda ways: ways.stream(f'kafka = "{topic.name}"', topic.deal),
        "kinesis": lambda ways: ways.stream(f'kinesis = "{data_stream.name}"', data_stream.deal),
    }.items():
        folder = tmp_path / way.replace(" ", "-")
        folder.mkdir()
        monkeypatch.setenv("NIGHTSHELF_LAKE__URI", str(folder / "lake"))
        come_in(Ways(found, folder, monkeypatch))
        told[way] = accounts()
    assert told["file"]["read"] == len(found.lines) == len(found.messages)
    assert rows == "movielens-100k" or sum(n for name, n in told["file"].items() if name.startswith("quarantined"))
    assert told == dict.fromkeys(told, told["file"])


@pytest.mark.parametrize(("password", "code", "told"), [("hush", 0, ""), ("hash", 2, "Authentication failed")])
def test_a_password_goes_to_the_broker_and_nowhere_else(topic, monkeypatch, capsys, password, code, told) -> None:
    options = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "nightshelf"}
    monkeypatch.setenv("NIGHTSHELF_KAFKA__SERVERS", topic.broker.sasl_servers)
    monkeypatch.setenv("NIGHTSHELF_KAFKA__TIMEOUT_S", "3")
    monkeypatch.setenv("NIGHTSHELF_KAFKA__OPTIONS", json.dumps(options | {"sasl.password": password}))
    topic.send(*events("a", 1))
    assert main(["ingest", *HOUR]) == code
    out = capsys.readouterr()
    assert told in out.err
    assert password not in out.out + out.err
    assert lake().snapshot() == (code == 0)
