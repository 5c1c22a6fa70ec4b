"""Schemas: one definition, and what is derived from it agrees."""

import hashlib
import hmac
import inspect

import pyarrow as pa
import pytest
from lake_fixtures import BASE, rows
from pyspark.sql.pandas.types import to_arrow_schema

from jobs import explain
from schemas import tables
from schemas.arrow import arrow_schema
from schemas.identity import pseudonym
from schemas.spark import spark_schema
from schemas.tables import EVENTS, SLATES, TABLES, Table

# Great Expectations imports sre_constants and its friends, deprecated since Python 3.11
GX_IMPORT = "ignore:module 'sre:DeprecationWarning"
SECRET = b"a secret of the tests"


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_table_is_well_formed(table):
    assert table.names == list(dict.fromkeys(table.names))
    assert set(table.key) <= set(table.names)
    assert table.row
    for column in table.columns:
        assert column.doc, f"{table.name}.{column.name} says nothing of itself"
        # null is a value of its own in these keys: any rating, unknown, not compared
        nullable_keys = ("event_weights", "segment_lists", "metrics")
        assert not (column.name in table.key and column.nullable and table.name not in nullable_keys)


def test_every_table_is_listed():
    defined = {name: value for name, value in inspect.getmembers(tables) if isinstance(value, Table)}
    assert {table.name for table in defined.values()} == set(TABLES)
    assert all(name == table.name.upper() for name, table in defined.items())


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_spark_and_arrow_mean_the_same_types(table):
    of_spark = to_arrow_schema(spark_schema(table), timezone="UTC")
    assert of_spark.names == arrow_schema(table).names
    for mine, theirs in zip(arrow_schema(table), of_spark, strict=True):
        assert value_type(mine.type) == value_type(theirs.type)
    assert [field.nullable for field in arrow_schema(table)] == [column.nullable for column in table.columns]


def value_type(kind: pa.DataType) -> tuple:
    """A list by its values: engines name the values differently."""
    return ("list", kind.value_type) if pa.types.is_list(kind) else (kind,)


def test_an_unknown_column_is_named_with_those_there_are():
    assert EVENTS.column("kind").allowed == tables.KINDS
    with pytest.raises(KeyError, match="slates has no column 'colour'; it has user_id, items"):
        SLATES.column("colour")


def test_every_source_has_words_for_people():
    assert set(explain.SOURCES) == {*tables.SOURCES, "catalogue"}
    promoted = {"rank": 1, "item_id": "a", "title": None, "source": "promotion", "because_of": None}
    assert explain.row(promoted) == ("1", "a", "promoted", "")


def test_the_base_rows_of_the_tests_are_valid():
    for name in BASE:
        rows(name, {}).validate(full=True)


@pytest.mark.filterwarnings(GX_IMPORT)
def test_expectations_follow_columns():
    from schemas.expectations import row_expectations

    found = {(type(e).__name__, e.column) for e in row_expectations(tables.ITEM_NEIGHBORS)}
    assert {("ExpectColumnValuesToNotBeNull", name) for name in tables.ITEM_NEIGHBORS.names} <= found
    between = {column for kind, column in found if kind == "ExpectColumnValuesToBeBetween"}
    assert between == {"item_idx", "rank", "neighbor_idx", "n_pair", "lift", "llr", "score"}
    allowed = [e for e in row_expectations(tables.ITEM_NEIGHBORS) if type(e).__name__ == "ExpectColumnValuesToBeInSet"]
    assert [(e.column, e.value_set) for e in allowed] == [("kind", list(tables.NEIGHBOR_KINDS))]
    nullable = {c.name for c in EVENTS.columns if c.nullable}
    required = {e.column for e in row_expectations(EVENTS) if type(e).__name__ == "ExpectColumnValuesToNotBeNull"}
    assert required == set(EVENTS.names) - nullable


@pytest.mark.filterwarnings(GX_IMPORT)
def test_statistics_are_bounded_inclusively():
    from schemas.expectations import statistic_expectations

    (low, both) = statistic_expectations({"fill": (0.5, None), "n_gaps": (0, 0)})
    assert (low.column, low.min_value, low.max_value) == ("fill", 0.5, None)
    assert (both.column, both.min_value, both.max_value) == ("n_gaps", 0, 0)


def test_a_pseudonym_is_a_keyed_hash_of_domain_and_id():
    wanted = hmac.new(SECRET, b"user\0anna", hashlib.sha256).hexdigest()[:32]
    assert pseudonym(SECRET, "anna") == wanted
    assert len({pseudonym(s, r, d) for s in (SECRET, b"x") for r in ("anna", "") for d in ("user", "session")}) == 8


def test_any_text_has_a_pseudonym():
    assert len(pseudonym(SECRET, "\ud800 größe")) == 32  # a lone surrogate, as a broken JSON line may hold
