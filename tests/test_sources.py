"""Source descriptions, readers, conversions and rules: tiny literal inputs."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.settings import SOURCES_DIR, load_settings
from jobs.rim.errors import UsageError
from jobs.sources import delimited
from jobs.sources.accounts import Accounts, table
from jobs.sources.convert import to_bool, to_float, to_int, to_time
from jobs.sources.description import BadRule, Description, EventKind, Events, Items, Users, Weights
from jobs.sources.files import list_folder
from jobs.sources.identify import Seen, digests
from jobs.sources.layout import Layout, Reference
from jobs.sources.load import find_description, known_sources, load_description, parse_description
from jobs.sources.readers import read_chunks
from jobs.sources.rules import BUILT_IN, UNREADABLE
from jobs.sources.sample import ADVICE
from schemas.tables import EVENTS, ITEMS, KINDS, USERS

BASE = """
name = "shop"
[[events]]
files = ["*.csv"]
[events.columns]
event_time = "t"
user_id = "u"
item_id = "i"
[events.kind]
constant = "view"
"""
LAKE = load_settings().lake
DOCS = Path(__file__).parents[1] / "docs" / "events.md"


# descriptions


@pytest.mark.parametrize("name", [*known_sources(), "template"])
def test_every_shipped_description_is_sound(name: str) -> None:
    source = load_description(str(SOURCES_DIR / f"{name}.toml"))
    assert name in (source.name, "template")
    assert {weight["kind"] for weight in source.event_weights()} <= set(KINDS)


def test_the_template_shows_every_setting() -> None:
    text = (SOURCES_DIR / "template.toml").read_text()
    models = (Description, Events, Items, Users, Reference, EventKind, BadRule, Weights, Layout)
    names = {name for model in models for name in model.model_fields}
    names |= {
        name for model in (Events, Items, Users) for name in model.model_fields["columns"].annotation.model_fields
    }
    assert sorted(name for name in names if name not in text) == []


def test_the_docs_name_every_column_and_reason() -> None:
    text = DOCS.read_text()
    stamps = {"key_version", "source", "ingested_at", "batch_id", "age_band"}
    columns = {column.name for table in (EVENTS, ITEMS, USERS) for column in table.columns} - stamps
    assert [name for name in (*columns, *KINDS, *BUILT_IN, *UNREADABLE) if f"`{name}`" not in text] == []
    assert set(ADVICE) == {*BUILT_IN, *UNREADABLE}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("constant", "constnt"), "events.0.kind.constnt: no such setting; did you mean constant?"),
        (('event_time = "t"', ""), "events.0.columns.event_time: missing"),
        (('"view"', '"looked"'), "events.0.kind.constant = 'looked'"),
        (('["*.csv"]', '["*.csv"]\nzone = "Mars"'), "zone = 'Mars': no such IANA zone"),
        (('["*.csv"]', '["*.csv"]\ntime_formats = ["epoc"]'), "'epoc' is no time format; allowed: iso"),
        (('["*.csv"]', '["*.csv"]\nitem_pattern = "["'), "no regular expression"),
        (('["*.csv"]', '["*.csv"]\nheader = false'), "either header = true and no names"),
        (('constant = "view"', ""), "give exactly one of constant, column, or default"),
        (('["*.csv"]', '["*.csv"'), "not TOML"),
        (('name = "shop"', 'name = "A shop"'), "name = 'A shop'"),
        (('["*.csv"]', "[]"), "events.0.files: empty; give at least one"),
    ],
)
def test_a_wrong_description_is_one_clear_line(change: tuple[str, str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_description(BASE.replace(*change, 1).encode(), "shop.toml")
    assert message in str(error.value)
    assert str(error.value).startswith("shop.toml: ")
    assert "\n" not in str(error.value)
    assert str(error.value).count(";") <= message.count(";") + 1, "one mistake is told once"
    assert "[{" not in str(error.value)
    assert "Tuple" not in str(error.value)


def test_a_wrong_source_name_lists_the_known_and_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"movielens-100k, .*online-retail.*did you mean online-retail\?"):
        find_description("onlineretail")
    with pytest.raises(UsageError, match=r"my\.toml: no such file"):
        find_description("my.toml")


def test_comments_do_not_change_what_a_description_says() -> None:
    first, second = (parse_description(text.encode(), "x") for text in (BASE, BASE + "# a comment\n"))
    assert first.content_hash == second.content_hash
    assert first.content_hash != parse_description(BASE.replace('"i"', '"j"').encode(), "x").content_hash


def test_weights_are_defaults_with_what_the_description_changes() -> None:
    weights = load_description("movielens-100k").event_weights()
    assert {"kind": "purchase", "value": None, "weight_micro": 5_000_000} in weights
    assert {"kind": "rating", "value": 2.0, "weight_micro": 0} in weights
    assert {"kind": "rating", "value": 3.0, "weight_micro": 1_000_000} in weights


# readers


def chunks_of(path: Path, layout: Layout, n_rows: int = 1_000, used: tuple[str, ...] = ("a", "b")) -> list:
    (file,) = list_folder(str(path), LAKE)
    return list(read_chunks(file, layout, list(used), n_rows))


def rows_of(chunks: list) -> list[tuple]:
    columns = chunks[0].table.column_names
    return [
        (line, *(row[name] for name in columns))
        for chunk in chunks
        for line, row in zip(chunk.lines.tolist(), chunk.table.to_pylist(), strict=True)
    ]


def bad_of(chunks: list) -> list[tuple[int, str]]:
    return [(bad.line, bad.reason) for chunk in chunks for bad in chunk.bad]


def test_csv_rows_keep_their_line_numbers_around_what_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'\xef\xbb\xbfa,b\r\n1,"x, ""y"""\r\n\r\n2\n3,\xff\n4,"two\nlines"\n5,6" nail\n6,7,8\n7,end')
    chunks = chunks_of(path, Layout(files=("*",)))
    expected = [(2, "1", 'x, "y"'), (6, "4", "two\nlines"), (8, "5", '6" nail'), (10, "7", "end")]
    assert rows_of(chunks) == expected
    assert bad_of(chunks) == [(4, "wrong_columns"), (5, "bad_encoding"), (9, "wrong_columns")]


def test_a_quote_never_closed_costs_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + '1,"open\n' + "".join(f"{n},x\n" for n in range(2, 200)))
    chunks = chunks_of(path, Layout(files=("*",)))
    assert bad_of(chunks) == [(2, "open_quote")]
    assert rows_of(chunks)[-1] == (200, "199", "x")


@pytest.mark.parametrize("block_bytes", [1, 7, 8 << 20])
@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.text(st.sampled_from('ab", \n;é'), max_size=6)] * 2), max_size=8),
    junk=st.lists(st.sampled_from(["", '"', "x", "x,y,z", 'x"y,"']), max_size=2),
)
def test_both_csv_parsers_and_all_block_sizes_agree(tmp_path_factory, block_bytes: int, rows: list, junk: list) -> None:
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    with open(path, "w", newline="") as file:
        file.write("a,b\n")
        csv.writer(file, lineterminator="\n").writerows(rows)
        file.writelines(f"{line}\n" for line in junk)
    expected = outcome(path, delimited.BLOCK_BYTES, fast=False)
    assert outcome(path, block_bytes, fast=True) == expected
    if not junk:
        assert [row[1:] for row in expected[0]] == rows


def outcome(path: Path, block_bytes: int, fast: bool) -> tuple[list, list]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK_BYTES", block_bytes)
        if not fast:
            patch.setattr(delimited.Delimited, "fast", lambda self, block: None)
        chunks = chunks_of(path, Layout(files=("*",)))
    return (rows_of(chunks) if chunks else []), bad_of(chunks)


def test_two_character_delimiters_latin_1_and_gzip(tmp_path: Path) -> None:
    path = tmp_path / "movies.dat"
    path.write_bytes(gzip.compress("1::Café: the film::x\n2::B\n".encode("latin-1")))
    layout = Layout(files=("*",), delimiter="::", quote="", header=False, names=("a", "b", "c"), encoding="latin-1")
    chunks = chunks_of(path, layout)
    assert rows_of(chunks) == [(1, "1", "Café: the film", "x")]
    assert bad_of(chunks) == [(2, "wrong_columns")]
    assert chunks[0].bad[0].raw == b"2::B\n"


def test_jsonl_skips_blank_lines_and_counts_unknown_fields(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a":"x","b":1,"c":0}\n\n[1]\n{"a":"\xff"}\n{"a":"y","b":"z"}\n{"a":')
    chunks = chunks_of(path, Layout(files=("*",)))
    assert rows_of(chunks) == [(1, "x", "1"), (5, "y", "z")]
    assert bad_of(chunks) == [(3, "unreadable_json"), (4, "bad_encoding"), (6, "unreadable_json")]
    assert chunks[0].unknown == {"c": 1}


def test_chunks_have_the_asked_rows_whatever_the_blocks(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "".join(f"{n},x\n" for n in range(25)))
    assert [len(chunk.lines) for chunk in chunks_of(path, Layout(files=("*",)), n_rows=10)] == [10, 10, 5]
    pq.write_table(pa.table({"a": list(range(25)), "b": ["x"] * 25}), tmp_path / "x.parquet")
    chunks = chunks_of(tmp_path / "x.parquet", Layout(files=("*",)), n_rows=10)
    assert np.concatenate([chunk.lines for chunk in chunks]).tolist() == list(range(1, 26))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.csv", gzip.compress(b"a,b\n" * 5000, mtime=0)[:-20], "damaged, or no csv file"),
        ("x.parquet", b"PAR1 no", "damaged, or no parquet file"),
        ("x.csv", b"a,a\n1,2\n", "line 1 is no header: 'a' stands twice"),
        ("x.csv", "a,b\n".encode("utf-16"), r"x\.csv: is UTF-16: convert it to UTF-8 first"),
        ("x.csv", "a,b\n".encode("utf-16-be"), r"x\.csv: line 1 holds NUL bytes: no text file, or UTF-16"),
        ("x.csv", b"a,b\r1,2\r", r"x\.csv: line 1 holds a bare CR: .*end lines with LF, as `tr '\\r' '\\n'`"),
        ("x.csv", b"\x7fELF\0\1\r\2", r"x\.csv: line 1 holds NUL bytes"),
        ("x.csv", b"a" * 200_000, r"x\.csv: line 1 is no header: field larger than"),
    ],
)
def test_an_unreadable_file_is_one_clear_line(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError, match=message):
        chunks_of(tmp_path / name, Layout(files=("*",)))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_utf_16_is_noticed_whatever_the_description_says(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "x.csv").write_bytes("a,b\n".encode("utf-16"))
    with pytest.raises(UsageError, match="is UTF-16"):
        chunks_of(tmp_path / "x.csv", Layout(files=("*",), encoding=encoding))


# conversions


def iso(values: pa.Array) -> list[str | None]:
    return [None if value is None else value.isoformat().replace("+00:00", "Z") for value in values.to_pylist()]


@pytest.mark.parametrize(
    ("text", "format", "zone", "expected"),
    [
        ("2026-01-31T09:05:00.250Z", "iso", "UTC", "2026-01-31T09:05:00.250000Z"),
        ("2026-01-31T09:05:00.123456789+02:00", "iso", "UTC", "2026-01-31T07:05:00.123456Z"),
        ("2026-07-01 12:00", "iso", "Europe/London", "2026-07-01T11:00:00Z"),
        ("2026-02-30T10:00:00Z", "iso", "UTC", None),
        ("2026-02-30T25:61:00.000Z", "iso", "UTC", None),
        ("2010-12-01 08:26:00", "%Y-%m-%d %H:%M:%S", "Europe/London", "2010-12-01T08:26:00Z"),
        ("2011-07-01 08:26:00", "%Y-%m-%d %H:%M:%S", "Europe/London", "2011-07-01T07:26:00Z"),
        ("2011-02-30 08:26:00", "%Y-%m-%d %H:%M:%S", "UTC", None),
        ("2011-03-02 08:26:00", "%Y-%m-%d %H:%M:%S", "UTC", "2011-03-02T08:26:00Z"),
        # the clock is put forward at 01:00: 01:30 is missing, read with the offset before (0)
        ("2011-03-27 01:30:00", "%Y-%m-%d %H:%M:%S", "Europe/London", "2011-03-27T01:30:00Z"),
        # the clock is put back at 02:00: 01:30 comes twice, the first (offset 1 h) is meant
        ("2011-10-30 01:30:00", "%Y-%m-%d %H:%M:%S", "Europe/London", "2011-10-30T00:30:00Z"),
        ("01-Jan-1995", "%d-%b-%Y", "UTC", "1995-01-01T00:00:00Z"),
        ("2011-07-01 08:26:00.5 +0200", "%Y-%m-%d %H:%M:%S.%f %z", "UTC", "2011-07-01T06:26:00.500000Z"),
        ("881250949", "epoch_s", "UTC", "1997-12-04T15:55:49Z"),
        ("1433221332117", "epoch_ms", "UTC", "2015-06-02T05:02:12.117000Z"),
        ("99999999999999999999", "epoch_s", "UTC", None),
        ("yesterday", "iso", "UTC", None),
    ],
)
def test_times(text: str, format: str, zone: str, expected: str | None) -> None:
    assert iso(to_time(pa.array([text, None]), (format,), zone)) == [expected, None]


def test_the_first_format_that_reads_a_time_wins() -> None:
    formats = ("%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M")
    times = to_time(pa.array(["12/1/2010 8:26", "2010-12-01 08:26:00", "x"]), formats, "UTC")
    assert iso(times) == ["2010-12-01T08:26:00Z", "2010-12-01T08:26:00Z", None]


def test_numbers_and_truth_values() -> None:
    assert to_float(pa.array(["1.5", " 2 ", "1e3", "1,5", "nan", "1e999", None])).to_pylist() == [
        1.5,
        2,
        1000,
        *[None] * 4,
    ]
    assert to_int(pa.array(["6", "6.0", "-3", "6.5", "99999999999", ""])).to_pylist() == [6, 6, -3, None, None, None]
    assert to_bool(pa.array(["1", "False", "maybe", None])).to_pylist() == [True, False, None, None]


# identity


@given(st.lists(st.lists(st.integers(0, 5), max_size=12), max_size=5))
def test_earlier_counts_equal_rows_before_each(parts: list[list[int]]) -> None:
    seen, before = Seen(), []
    for part in parts:
        expected = [(before + part)[: len(before) + at].count(value) for at, value in enumerate(part)]
        assert seen.earlier(digests([b"%d" % value for value in part])).tolist() == expected
        before += part


def test_colliding_halves_are_told_apart() -> None:
    seen = Seen()
    seen.earlier(np.array([[1, 1], [1, 2], [1, 2]], np.uint64))
    assert seen.earlier(np.array([[1, 2], [1, 3], [1, 1], [2, 1]], np.uint64)).tolist() == [2, 0, 1, 0]


def test_accounts_refuse_to_lose_a_row() -> None:
    accounts = Accounts(read=3, accepted=2)
    with pytest.raises(AssertionError, match="= 2, read = 3"):
        accounts.check()
    accounts.quarantined["bad_time"] += 1
    accounts.check()
    assert table(accounts.as_json()).splitlines() == [
        "read         3",
        "accepted     2",
        "duplicate    0",
        "quarantined  1",
        "  bad_time   1",
    ]
