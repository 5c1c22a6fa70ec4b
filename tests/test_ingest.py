"""Ingest as a user meets it: files in, a committed batch out, every row accounted for."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from conf.settings import SOURCES_DIR, load_settings
from jobs.cli import main
from jobs.rim.lake import Lake
from schemas.identity import pseudonym
from schemas.tables import QUARANTINE

SECRET = "a secret of tests"
EVENT = {"event_id": "e", "event_time": "2026-01-10T08:00:00Z", "kind": "view", "user_id": "anna", "item_id": "lamp"}
ORDERS = """
name = "orders"
[[events]]
files = ["orders*.csv", "orders*.csv.gz"]
zone = "Europe/London"
time_formats = ["%Y-%m-%d %H:%M"]
make_positive = ["return"]
item_pattern = "^[0-9]"
anonymous_session = "order"
[events.columns]
event_time = "time"
user_id = { column = "customer", remove = '\\.0$' }
item_id = "sku"
basket_id = "order"
quantity = "qty"
price = "price"
[events.kind]
rules = [{ column = "order", pattern = "^C", kind = "return" }]
default = "purchase"
[items_from_events]
title = "name"
price = "price"
"""
ORDER_LINES = """order,time,customer,sku,qty,price,name
1,2026-07-01 08:30,17.0,10,2,1.5,RED CUP
1,2026-07-01 08:30,17.0,10,2,1.5,RED CUP
2,2026-07-01 23:50,,11,1,3,BLUE CUP
C3,2026-07-02 09:00,17.0,10,-1,2.5,CUP RED
4,2026-07-02 09:00,17.0,POST,1,9,POSTAGE
5,2026-07-02 09:00,17.0,10,-4,1.5,broken
"""


@pytest.fixture(autouse=True)
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty lake, a landing folder that is not there, small chunks."""
    monkeypatch.setenv("NIGHTSHELF_LAKE__URI", str(tmp_path / "lake"))
    monkeypatch.setenv("NIGHTSHELF_INGEST__LANDING", str(tmp_path / "landing"))
    monkeypatch.setenv("NIGHTSHELF_IDENTITY__SECRET", SECRET)


def lake() -> Lake:
    return Lake.open(load_settings().lake)


def rows(table: str) -> pa.Table:
    """All rows of a raw table, in the order of batches and files."""
    here = lake()
    return here.read(table, [file for batch in here.batches() for file in batch.files.get(table, ())])


def column(table: str, name: str) -> list:
    return rows(table)[name].to_pylist()


def ingest(*words: str, capsys: pytest.CaptureFixture) -> dict:
    """Run ``nightshelf ingest``; its last line."""
    code = main(["ingest", *words])
    out = capsys.readouterr()
    assert code == 0, out.err
    return json.loads(out.out.splitlines()[-1])


def land(folder: Path, *events: dict, name: str = "events.jsonl") -> str:
    """Write events (each the base event and what differs; None drops a field) and say where."""
    folder.mkdir(exist_ok=True)
    whole = [{**EVENT, "event_id": f"{name}-{at}"} | event for at, event in enumerate(events)]
    lines = [json.dumps({key: value for key, value in event.items() if value is not None}) for event in whole]
    (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return str(folder)


def orders(folder: Path, text: str = ORDER_LINES, name: str = "orders.csv") -> list[str]:
    folder.mkdir(exist_ok=True)
    (folder / "orders.toml").write_text(ORDERS)
    data = text.encode()
    (folder / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return ["--path", str(folder), "--source", str(folder / "orders.toml")]


def who(raw: str, domain: str = "user") -> str:
    return pseudonym(SECRET.encode(), raw, domain)


# a history


def test_orders_become_events_items_and_quarantine(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    last = ingest(*orders(tmp_path / "in"), capsys=capsys)
    # 08:30 of a London summer is 07:30 UTC; 23:50 is 22:50
    assert (last["snapshot"], last["n_hours_with_rows"]) == (1, 3)
    assert (last["first_hour"], last["end_hour"]) == ("2026-07-01T07:00:00Z", "2026-07-02T09:00:00Z")
    (batch,) = lake().batches()
    assert batch.hours() == {"2026-07-01T07": 2, "2026-07-01T22": 1, "2026-07-02T08": 1}
    assert {key: batch.accounts[key] for key in ("read", "accepted", "duplicate", "anonymous", "quarantined")} == {
        "read": 6,
        "accepted": 4,
        "duplicate": 0,
        "anonymous": 1,
        "quarantined": {"not_a_product": 1, "quantity_not_positive": 1},
    }
    assert column("events", "user_id") == [who("17"), who("17"), None, who("17")]
    assert column("events", "key_version") == [1, 1, None, 1]
    assert column("events", "kind") == ["purchase", "purchase", "purchase", "return"]
    assert column("events", "quantity") == [2, 2, 1, 1]
    assert column("events", "basket_id") == [who(order, "basket") for order in ("1", "1", "2", "C3")]
    assert column("events", "session_id")[2] == who("2", "session")
    assert len(set(column("events", "event_id"))) == 4
    # RED CUP stands twice, CUP RED once; the median of 1.5, 1.5 and 2.5 is 1.5
    assert column("items", "title") == ["RED CUP", "BLUE CUP"]
    assert column("items", "price") == [1.5, 3.0]
    assert rows("item_dictionary").to_pydict() == {"item_id": ["10", "11"], "item_idx": [0, 1]}
    assert batch.n_items == 2
    assert (batch.inputs[0]["name"], batch.inputs[0]["rows"]) == ("orders.csv", 6)


def test_no_raw_id_enters_the_lake(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    text = ORDER_LINES.replace("17.0", "customer-17.0") + "9,2026-07-02 09:00,customer-18,10,0,1,x\n"
    ingest(*orders(tmp_path / "in", text + 'a,"customer-19\n'), capsys=capsys)
    values = {
        str(value)
        for table in ("events", "quarantine", "users", "items", "item_dictionary")
        for row in rows(table).to_pylist()
        for value in row.values()
    }
    assert [value for value in values if "customer-1" in value] == []
    quarantined = rows("quarantine").to_pydict()
    assert dict(zip(quarantined["line"], quarantined["reason"], strict=True)) == {
        6: "not_a_product",
        7: "quantity_not_positive",
        8: "quantity_not_positive",
        9: "open_quote",
    }
    kept = dict(zip(quarantined["line"], quarantined["row"], strict=True))
    assert kept[9] is None
    assert json.loads(kept[8])["customer"] == who("customer-18")


def test_the_same_inputs_again_do_nothing_and_say_so(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = orders(tmp_path / "in")
    assert main(["ingest", *words]) == 0
    first = capsys.readouterr().out
    assert main(["ingest", *words]) == 0
    assert capsys.readouterr().out == f"already ingested as batch 1\n{first}"
    assert lake().snapshot() == 1


def test_equal_rows_stay_two_and_the_same_rows_in_another_file_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    ingest(*orders(tmp_path / "in"), capsys=capsys)
    last = ingest(
        *orders(tmp_path / "again", ORDER_LINES + "6,2026-07-03 12:00,18,12,1,1,x\n", "orders2.csv.gz"), capsys=capsys
    )
    batch = lake().batches()[1]
    assert (batch.accounts["accepted"], batch.accounts["duplicate"]) == (1, 4)
    assert batch.accounts["quarantined"] == {"not_a_product": 1, "quantity_not_positive": 1}
    assert rows("item_dictionary")["item_idx"].to_pylist() == [0, 1, 2]
    assert (last["first_hour"], last["end_hour"]) == ("2026-07-03T11:00:00Z", "2026-07-03T12:00:00Z")


def test_chunks_do_not_change_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    start = datetime(2026, 1, 10, tzinfo=UTC)
    lines = [
        f"{n // 3},{start + timedelta(minutes=n):%Y-%m-%d %H:%M},{n % 40 if n % 7 else ''},{n % 90},{n % 3},1,x{n % 2}"
        for n in (k * 7919 % 2600 for k in range(5200))  # every row twice, in no order
    ]
    words = orders(tmp_path / "in", "\n".join([ORDER_LINES.splitlines()[0], *lines]))
    tables = []
    for chunk_rows in (1_000, 1_000_000):
        monkeypatch.setenv("NIGHTSHELF_LAKE__URI", str(tmp_path / f"lake{chunk_rows}"))
        monkeypatch.setenv("NIGHTSHELF_INGEST__CHUNK_ROWS", str(chunk_rows))
        ingest(*words, capsys=capsys)
        tables.append(
            {t: rows(t).drop_columns(["ingested_at"] if t in ("events", "quarantine") else []) for t in TABLES}
        )
        tables[-1]["accounts"] = lake().batches()[0].accounts
    assert tables[0] == tables[1]
    assert tables[0]["events"].num_rows > 3_000
    day = tables[0]["events"].filter(pc.less(rows("events")["event_time"], pa.scalar(start + timedelta(days=1))))
    assert day.equals(day.sort_by([("event_time", "ascending"), ("event_id", "ascending")]))


TABLES = ("events", "quarantine", "items", "item_dictionary")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"event_time": None}, "bad_time"),
        ({"event_time": "2026-02-30T00:00:00Z"}, "bad_time"),
        ({"event_time": "1989-12-31T23:59:59Z"}, "time_out_of_range"),
        ({"event_time": (datetime.now(UTC) + timedelta(days=2)).isoformat()}, "time_out_of_range"),
        ({"kind": "teleport"}, "unknown_kind"),
        ({"kind": None}, "unknown_kind"),
        ({"item_id": None}, "missing_item"),
        ({"item_id": "  "}, "missing_item"),
        ({"user_id": None}, "missing_user"),
        ({"kind": "purchase", "quantity": 0}, "quantity_not_positive"),
        ({"kind": "purchase", "quantity": -1}, "quantity_not_positive"),
        ({"kind": "purchase", "quantity": 1.5}, "bad_number"),
        ({"kind": "purchase", "price": "much"}, "bad_number"),
        ({"kind": "rating"}, "missing_value"),
        ({"kind": "rating", "value": "four"}, "bad_number"),
        ({"kind": "search", "item_id": None, "query": "lamp"}, None),
        ({"kind": "rating", "value": 4}, None),
        ({"user_id": None, "session_id": "s"}, None),
        ({"event_time": (datetime.now(UTC) + timedelta(hours=20)).isoformat()}, None),
    ],
)
def test_the_rule_that_refuses_a_row(tmp_path: Path, capsys, change: dict, reason: str | None) -> None:
    ingest("--path", land(tmp_path / "in", {}, change), "--source", "nightshelf", capsys=capsys)
    assert lake().batches()[0].accounts["quarantined"] == ({reason: 1} if reason else {})
    quarantined = rows("quarantine").to_pylist()
    assert [(row["line"], row["reason"]) for row in quarantined] == ([(2, reason)] if reason else [])
    assert all(row[c.name] is not None for row in quarantined for c in QUARANTINE.columns if not c.nullable)


def test_an_event_sent_twice_counts_once(tmp_path: Path, capsys) -> None:
    path = land(tmp_path / "in", {"event_id": "a"}, {"event_id": "b"}, {"event_id": "a", "item_id": "other"})
    ingest("--path", path, "--source", "nightshelf", capsys=capsys)
    land(tmp_path / "in", {"event_id": "b"}, {"event_id": "c"}, name="events2.jsonl")
    ingest("--path", path, "--source", "nightshelf", capsys=capsys)
    assert [batch.accounts["duplicate"] for batch in lake().batches()] == [1, 4]
    assert sorted(column("events", "event_id")) == ["a", "b", "c"]
    assert column("events", "item_id").count("other") == 0


# visits


def times(*clock: str) -> list[dict]:
    return [{"event_time": f"2026-01-{t}Z"} for t in clock]


def test_silence_and_midnight_end_a_visit(tmp_path: Path, capsys) -> None:
    clock = ("10T08:00:00", "10T08:30:00", "10T09:00:01", "10T23:50:00", "11T00:05:00")
    others = [{"event_time": "2026-01-10T08:10:00Z", "user_id": "bob"}]
    ingest("--path", land(tmp_path / "in", *times(*clock), *others), "--source", "nightshelf", capsys=capsys)
    # 30 minutes of silence are still one visit, a second more are two
    sessions = column("events", "session_id")  # anna, bob, anna, anna, anna, anna by time
    assert [sessions.index(session) for session in sessions] == [0, 1, 0, 3, 4, 5]


def test_a_visit_goes_on_in_the_next_batch(tmp_path: Path, capsys) -> None:
    for number, clock in enumerate(("10T08:50:00", "10T09:10:00", "10T09:41:00"), 1):
        ingest("--path", land(tmp_path / f"in{number}", *times(clock), name=f"events{number}.jsonl"), capsys=capsys)
    first, second, third = column("events", "session_id")
    assert first == second != third


def test_a_log_in_names_the_visit_before_and_after_it(tmp_path: Path, capsys) -> None:
    nobody = {"user_id": None}
    path = land(
        tmp_path / "in",
        nobody | {"session_id": "s"},
        {"session_id": "s"},
        nobody | {"session_id": "s", "event_time": "2026-01-11T00:10:00Z"},
        nobody | {"session_id": "alone"},
        nobody | {"session_id": "shared"},
        {"session_id": "shared"},
        {"session_id": "shared", "user_id": "bob"},
    )
    ingest("--path", path, "--source", "nightshelf", capsys=capsys)
    accounts = lake().batches()[0].accounts
    assert (accounts["anonymous"], accounts["stitched"]) == (2, 2)
    users = {
        (session, user)
        for session, user in zip(column("events", "session_id"), column("events", "user_id"), strict=True)
    }
    owner = {
        session: {user for s, user in users if s == who(session, "session")} for session in ("s", "alone", "shared")
    }
    assert owner == {"s": {who("anna")}, "alone": {None}, "shared": {None, who("anna"), who("bob")}}


# hours


def test_the_hourly_form_covers_every_hour_once(tmp_path: Path, capsys) -> None:
    hour = ("--interval", "2026-01-10T08:00:00Z", "2026-01-10T09:00:00Z")
    last = ingest(*hour, capsys=capsys)  # nothing has landed, not even the folder
    assert (last["snapshot"], last["n_hours_with_rows"]) == (1, 0)
    assert ingest(*hour, capsys=capsys) == last
    land(tmp_path / "landing", {})
    last = ingest(*hour, capsys=capsys)
    assert (last["snapshot"], last["n_hours_with_rows"]) == (2, 1)
    assert ingest(*hour, capsys=capsys)["snapshot"] == 2
    assert lake().snapshot() == 2
    assert lake().batches()[1].accounts["late"] == 1  # its hour was covered already


def test_the_hourly_form_covers_its_interval_whatever_came_late(tmp_path: Path, capsys) -> None:
    land(tmp_path / "landing", {}, {"event_time": "2026-01-10T05:59:00Z"})
    last = ingest("--interval", "2026-01-10T08:00:00Z", "2026-01-10T10:00:00Z", capsys=capsys)
    assert (last["first_hour"], last["end_hour"]) == ("2026-01-10T08:00:00Z", "2026-01-10T10:00:00Z")
    land(tmp_path / "landing", {}, name="events2.jsonl")
    last = ingest("--interval", "2026-01-10T10:00:00Z", "2026-01-10T11:00:00Z", capsys=capsys)
    assert [entry["name"] for entry in lake().batches()[1].inputs] == ["events2.jsonl"]
    assert lake().batches()[1].accounts["duplicate"] == 0
    assert last["first_hour"] == "2026-01-10T10:00:00Z"


def test_hourly_rows_that_cannot_be_used_do_not_stop_the_hours(tmp_path: Path, capsys) -> None:
    land(tmp_path / "landing", {"kind": "teleport"})
    last = ingest("--interval", "2026-01-10T08:00:00Z", "2026-01-10T09:00:00Z", capsys=capsys)
    assert last["n_hours_with_rows"] == 0
    assert rows("quarantine").num_rows == 1


# catalogue


def test_items_and_users_of_our_own_contract(tmp_path: Path, capsys) -> None:
    path = land(tmp_path / "in", {})
    items = [
        {"item_id": "lamp", "title": "Old", "tags": ["a", "b"], "price": 3},
        {
            "item_id": "lamp",
            "title": "Lamp",
            "tags": "x|y",
            "price": 4.5,
            "available": False,
            "created_at": "2025-01-01",
        },
        {"item_id": "lamp", "valid_from": "2026-02-01T00:00:00Z", "title": "New lamp"},
        {"title": "nameless"},
        {"item_id": "chair", "price": -1},
        {"item_id": "table", "created_at": "once"},
    ]
    users = [{"user_id": "anna", "age": 34, "gender": "f"}, {"user_id": "bob", "age": "?"}, {"age": 20}]
    for name, entries in (("items", items), ("users", users)):
        (tmp_path / "in" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, entries)))
    ingest("--path", path, "--source", "nightshelf", capsys=capsys)
    accounts = lake().batches()[0].accounts["catalogue"]
    assert accounts["items"] == {
        "read": 6,
        "accepted": 3,
        "quarantined": {"missing_item": 1, "bad_number": 1, "bad_time": 1},
    }
    assert accounts["users"] == {"read": 3, "accepted": 2, "quarantined": {"missing_user": 1}}
    (item,) = lake().current("items", 1, datetime(2026, 1, 15, tzinfo=UTC)).to_pylist()
    assert (item["title"], item["tags"], item["price"], item["available"]) == ("Lamp", ["x", "y"], 4.5, False)
    assert lake().current("items", 1, datetime(2026, 3, 1, tzinfo=UTC))["title"].to_pylist() == ["New lamp"]
    bands = dict(zip(column("users", "user_id"), column("users", "age_band"), strict=True))
    assert bands == {who("anna"): "30-39", who("bob"): None}


def test_parquet_and_jsonl_of_the_same_events_agree(tmp_path: Path, capsys) -> None:
    path = land(tmp_path / "in", {"kind": "rating", "value": 4.5}, {"kind": "purchase", "quantity": 2}, {"item_id": 7})
    ingest("--path", path, "--source", "nightshelf", capsys=capsys)
    entries = [json.loads(line) for line in (tmp_path / "in" / "events.jsonl").read_text().splitlines()]
    entries[2]["item_id"] = "7"
    table = pa.Table.from_pylist([{"value": None, "quantity": None} | entry for entry in entries])
    times = pc.strptime(table["event_time"], format="%Y-%m-%dT%H:%M:%SZ", unit="ms").cast(pa.timestamp("ms", "UTC"))
    (tmp_path / "parquet").mkdir()
    pq.write_table(
        table.set_column(table.schema.get_field_index("event_time"), "event_time", times),
        tmp_path / "parquet" / "events.parquet",
    )
    ingest("--path", str(tmp_path / "parquet"), "--source", "nightshelf", capsys=capsys)
    assert lake().batches()[1].accounts["duplicate"] == 3
    assert lake().batches()[1].accounts["quarantined"] == {}


def test_rows_known_from_another_description_are_told(tmp_path: Path, capsys) -> None:
    """They stay as they came in first, whatever the corrected description would make of them."""
    words = orders(tmp_path / "in")
    ingest(*words, capsys=capsys)
    other = tmp_path / "in" / "other.toml"
    other.write_text(ORDERS.replace('default = "purchase"', 'default = "view"'))
    for again in (False, True):
        assert main(["ingest", *words[:3], str(other)]) == 0
        *_, warning, last = capsys.readouterr().out.splitlines()
        assert warning == (
            "warning: 4 rows were known already: orders.csv came in before under another description (batch 1), and "
            "rows already in the lake stay as they were, with their kinds and values; to read them anew, start a "
            "fresh lake: `make clean`, or another lake.uri"
        ), again
        assert json.loads(last)["snapshot"] == 2
    assert "view" not in column("events", "kind")


def test_rows_known_under_the_same_description_need_no_warning(tmp_path: Path, capsys) -> None:
    words = orders(tmp_path / "in")
    ingest(*words, capsys=capsys)
    orders(tmp_path / "in", ORDER_LINES + "6,2026-07-03 09:00,17.0,10,1,1.5,RED CUP\n", name="orders2.csv")
    assert main(["ingest", *words]) == 0
    assert "warning" not in capsys.readouterr().out
    assert [lake().batches()[1].accounts[name] for name in ("accepted", "duplicate", "known")] == [1, 8, 4]


# what goes wrong


def refused(*words: str, capsys) -> str:
    """Run a command that must end with 2 and one line."""
    code = main(list(words))
    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (2, 1), err
    return err


def test_bad_input_is_one_line_and_leaves_no_batch(tmp_path: Path, capsys) -> None:
    words = orders(tmp_path / "in")
    (tmp_path / "empty").mkdir()
    assert "no such file or folder" in refused("ingest", "--path", "nowhere", capsys=capsys)
    assert "wanted orders*.csv" in refused("ingest", *words[2:], "--path", str(tmp_path / "empty"), capsys=capsys)
    assert "did you mean online-retail" in refused("ingest", *words[:2], "--source", "online_retail", capsys=capsys)
    assert "give --path FOLDER" in refused("ingest", capsys=capsys)
    assert "whole UTC hours" in refused("ingest", "--interval", "2026-01-01T00:30", "2026-01-01T02:00", capsys=capsys)
    (tmp_path / "in" / "orders.csv").write_text(ORDER_LINES.replace("customer", "client", 1))
    assert "unknown column 'customer'" in refused("ingest", *words, capsys=capsys)
    (tmp_path / "in" / "orders.csv").write_text(ORDER_LINES.replace("2026-", "26-"))
    assert "none of 6 rows can be used, 6 for bad_time" in refused("ingest", *words, capsys=capsys)
    (tmp_path / "in" / "orders.csv").write_text(ORDER_LINES.splitlines()[0])
    assert "the files hold no events" in refused("ingest", *words, capsys=capsys)
    assert lake().snapshot() == 0


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        (
            "trunc.csv.gz",
            gzip.compress(ORDER_LINES.encode() * 50, mtime=0)[:-20],
            "trunc.csv.gz: damaged, or no csv file: ",
        ),
        (
            "trunc.jsonl.gz",
            gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-20],
            "trunc.jsonl.gz: damaged, or no jsonl file: ",
        ),
        ("mac.csv", ORDER_LINES.replace("\n", "\r").encode(), "mac.csv: line 1 holds a bare CR: "),
        ("wide.csv", ORDER_LINES.encode("utf-16"), "wide.csv: is UTF-16: convert it to UTF-8"),
        ("binary.csv", b"\x7fELF\0\1\r\2", "binary.csv: line 1 holds NUL bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_with_its_name(tmp_path: Path, capsys, name, data, told) -> None:
    (tmp_path / name).write_bytes(data)
    assert told in refused("check-source", str(tmp_path / name), capsys=capsys)
    source = orders(tmp_path / "in")[2:] if "csv" in name else []
    assert told in refused("ingest", "--path", str(tmp_path / name), *source, capsys=capsys)
    assert lake().snapshot() == 0


def test_a_full_disk_is_temporary_and_leaves_no_batch(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("NIGHTSHELF_LAKE__MIN_FREE_MB", "1000000")
    assert main(["ingest", *orders(tmp_path / "in")]) == 75
    assert "lake.min_free_mb asks for 1000000" in capsys.readouterr().err
    assert lake().snapshot() == 0


def test_a_batch_that_came_between_is_looked_at_before_committing(tmp_path: Path, monkeypatch, capsys) -> None:
    def events(name: str) -> list[dict]:
        mine = [{"event_id": f"{name}-{n}", "item_id": f"{'both' if n % 2 else name}-{n}"} for n in range(50)]
        return [*mine, {"event_id": "sent by both"}]

    paths = {name: land(tmp_path / name, *events(name)) for name in ("one", "two")}
    commit = Lake.commit_batch

    def overtaken(self: Lake, batch) -> bool:
        """The other ingest runs whole just before this one's first commit."""
        monkeypatch.setattr(Lake, "commit_batch", commit)
        ingest("--path", paths["two"], capsys=capsys)
        return commit(self, batch)

    monkeypatch.setattr(Lake, "commit_batch", overtaken)
    assert ingest("--path", paths["one"], capsys=capsys)["snapshot"] == 2
    first, second = lake().batches()
    assert (first.accounts["accepted"], second.accounts["accepted"], second.accounts["duplicate"]) == (51, 50, 1)
    dictionary = lake().dictionary(2)
    assert dictionary["item_idx"].to_pylist() == list(range(76))  # 25 of each, 25 of both, the lamp
    assert len(set(dictionary["item_id"].to_pylist())) == second.n_items == 76
    assert len(rows("events")) == len(set(column("events", "event_id"))) == 101


# check-source and people


def test_check_source_shows_what_an_ingest_would_do(tmp_path: Path, capsys) -> None:
    words = orders(tmp_path / "in")
    assert main(["check-source", words[3], "--path", words[1]]) == 0
    out = capsys.readouterr().out
    assert "columns found:  order, time, customer, sku, qty, price, name" in out
    assert "event_time <- time, user_id <- customer" in out
    assert '"user_id":"17","item_id":"10","basket_id":"1","event_time":"2026-07-01T07:30:00+00:00"' in out
    assert "of 6 rows:  4 accepted, 1 not_a_product, 1 quantity_not_positive" in out
    assert "problem: orders.csv line 7: quantity_not_positive, 1 of 6 rows" in out
    assert lake().snapshot() == 0
    (tmp_path / "in" / "orders.csv").write_text(ORDER_LINES.replace("time", "moment", 1))
    assert main(["check-source", words[3], "--path", words[1]]) == 2
    assert "unknown column 'time' in the description" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "accepted"),
    [
        ("orders.csv", ORDER_LINES.replace("sku", "product_id"), 4),
        ("log.tsv", "uid\tproductId\taction\tts\n1\ta\tpage_view\t1767225600\n1\tb\torder\t1767225700\n", 2),
        ("u.data", "196\t242\t3\t881250949\n186\t302\t5\t891717742\n22\t377\t1\t878887116\n", 3),
        ("log.jsonl", json.dumps(EVENT) + "\n" + json.dumps(EVENT | {"event_id": "f"}), 2),
    ],
)
def test_a_guessed_description_can_be_saved_and_used(
    tmp_path: Path, capsys, name: str, text: str, accepted: int
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / name).write_text(text)
    assert main(["check-source", "--path", str(folder)]) == 0
    (tmp_path / "my-source.toml").write_text(capsys.readouterr().out)
    ingest("--path", str(folder), "--source", str(tmp_path / "my-source.toml"), capsys=capsys)
    assert lake().batches()[0].accounts["accepted"] == accepted


def test_people_are_the_latest_with_some_events(tmp_path: Path, capsys) -> None:
    active = {"often": range(1, 8), "late": [20], "long ago": range(1, 6)}
    events = [{"user_id": u, "event_time": f"2026-01-{d:02}T00:00:00Z"} for u, days in active.items() for d in days]
    path = land(tmp_path / "in", *events)
    assert main(["people", "--path", path, "-n", "3"]) == 0
    assert capsys.readouterr().out.splitlines() == ["often", "long ago", "late"]
    assert "-n 0: give 1 or more" in refused("people", "--path", path, "-n", "0", capsys=capsys)


# fields that no column is made of


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("", '{"campaign":"spring","email":"a@b"}'),
        ('keep_unknown = ["campaign"]', '{"campaign":"spring"}'),
        ("keep_unknown = false", None),
    ],
)
def test_fields_of_no_column_are_kept_as_the_description_says(tmp_path: Path, capsys, keep: str, kept: str) -> None:
    path = land(tmp_path / "in", {"campaign": "spring", "email": "a@b"}, {})
    text = (SOURCES_DIR / "nightshelf.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("[[events]]\n", f"[[events]]\n{keep}\n"))
    ingest("--path", path, "--source", str(tmp_path / "mine.toml"), capsys=capsys)
    assert column("events", "extra") == [kept, None]
    assert lake().batches()[0].accounts["unknown_fields"] == {"campaign": 1, "email": 1}


def test_columns_of_no_use_are_kept_where_a_description_asks_for_them(tmp_path: Path, capsys) -> None:
    header, first, *_ = ORDER_LINES.splitlines()
    words = orders(tmp_path / "in", f"{header},shop,till\n{first},Kiel,\n")
    ingest(*words, capsys=capsys)
    (tmp_path / "in" / "kept.toml").write_text(ORDERS.replace("[[events]]\n", "[[events]]\nkeep_unknown = true\n"))
    orders(tmp_path / "in", f"{header},shop,till\n{first},Bonn,\n")
    ingest(*words[:3], str(tmp_path / "in" / "kept.toml"), capsys=capsys)
    assert column("events", "extra") == [None, '{"shop":"Bonn"}']


def test_events_written_before_a_column_was_added_are_read_with_nulls(tmp_path: Path, capsys) -> None:
    ingest("--path", land(tmp_path / "in", {}), capsys=capsys)
    (file,) = lake().batches()[0].files["events"]
    path = lake().store.path(file.path)
    pq.write_table(pq.read_table(path).drop_columns("extra"), path)
    assert column("events", "extra") == [None]
    assert column("events", "item_id") == ["lamp"]
