"""From the lake to Redis: rows become keys and packed values, and nothing leaves without the gate's word."""

import argparse
from datetime import UTC, datetime

import orjson
import pyarrow as pa
import pytest
from redis_server import RedisServer

from conf.settings import load_settings
from jobs import publish
from jobs.rim.errors import GateRefused, TemporaryError
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage
from jobs.rim.manifest import Batch, Manifest, iso
from jobs.rim.packing import catalogue_rows, neighbor_entries, slate_entries, trending_entries
from jobs.rim.redis_release import read_release
from jobs.rim.verdict import Verdict, write_verdict
from schemas.arrow import arrow_schema
from schemas.codec import unpack_ids, unpack_list
from schemas.keys import Keys
from schemas.tables import SCHEMA_VERSION, TABLES

KEYS = Keys("test")
AS_OF = datetime(2026, 1, 2, 12, tzinfo=UTC)


def rows_of(table, rows):
    return pa.Table.from_pylist(rows, arrow_schema(TABLES[table]))


def neighbor(item_idx, kind, rank, neighbor_idx):
    row = {"item_idx": item_idx, "kind": kind, "rank": rank, "neighbor_idx": neighbor_idx, "score": 1 / rank}
    return row | {"n_pair": 2, "lift": 1.0, "llr": 1.0}


NEIGHBORS = [
    neighbor(1, "bought_together", 1, 4),
    neighbor(1, "viewed_together", 2, 3),
    neighbor(1, "bought_together", 2, 2),
    neighbor(1, "viewed_together", 1, 2),
    neighbor(7, "bought_together", 1, 1),
]


def test_a_user_becomes_a_slate_and_a_seen_set():
    base = {"items": [5, 6], "scores": [2.0, 1.0], "sources": ["als", "viewed_together"], "because_of": [9, -1]}
    rows = rows_of("slates", [base | {"user_id": "aa", "seen": [9, 3]}, base | {"user_id": "bb", "seen": []}])
    found = dict(slate_entries(rows.to_batches(), KEYS, "TAG"))
    assert sorted(found) == ["test:{u:aa}:TAG", "test:{u:aa}:sTAG", "test:{u:bb}:TAG"]
    assert unpack_list(found["test:{u:aa}:TAG"]) == ([5, 6], [2.0, 1.0], ["als", "viewed_together"], [9, -1])
    assert unpack_ids(found["test:{u:aa}:sTAG"]) == [3, 9]


def test_similar_prefers_viewed_and_fills_from_bought():
    found = dict(
        neighbor_entries(rows_of("item_neighbors", NEIGHBORS), KEYS, "T", ("viewed_together", "bought_together"))
    )
    assert sorted(found) == ["test:{i:1}:T", "test:{i:7}:T"]
    one = unpack_list(found["test:{i:1}:T"])
    assert one.items == [2, 3, 4]  # viewed 2, 3; bought 4; bought 2 is there already
    assert one.sources == ["viewed_together", "viewed_together", "bought_together"]
    assert unpack_list(found["test:{i:7}:T"]).items == [1]  # nobody viewed it with anything


def test_bought_together_holds_nothing_else():
    found = dict(neighbor_entries(rows_of("item_neighbors", NEIGHBORS), KEYS, "T", ("bought_together",)))
    assert {key: unpack_list(value).items for key, value in found.items()} == {
        "test:{i:1}:T": [4, 2],
        "test:{i:7}:T": [1],
    }


def test_a_segment_becomes_a_list_by_rank_and_all_are_named():
    base = {"score": 1.0, "n_users": 3}
    rows = [base | {"segment": s, "rank": r, "item_idx": i} for s, r, i in (("b", 1, 7), ("all", 2, 5), ("all", 1, 6))]
    found = dict(trending_entries(rows_of("trending", rows), KEYS, "T"))
    assert unpack_list(found["test:{t:all}:T"]).items == [6, 5]
    assert orjson.loads(found["test:{t}:T"]) == ["all", "b"]
    assert list(trending_entries(rows_of("trending", []), KEYS, "T")) == [("test:{t}:T", b"[]")]


def test_the_catalogue_goes_by_index_and_knows_items_without_a_row():
    dictionary = rows_of("item_dictionary", [{"item_id": "y", "item_idx": 1}, {"item_id": "x", "item_idx": 0}])
    items = rows_of("items", [{"item_id": "y", "valid_from": AS_OF, "title": "Y", "category": "c", "available": False}])
    assert list(catalogue_rows(dictionary, items)) == [("x", None, None, True), ("y", "Y", "c", False)]
    with pytest.raises(ValueError, match="item_idx 1 at place 0"):
        list(catalogue_rows(dictionary.slice(0, 1), items))


# through the command


@pytest.fixture
def lineage(tmp_path):
    """A lake with two items, one batch and a computed trending table."""
    settings = load_settings(
        lake={"uri": str(tmp_path / "lake"), "min_free_mb": 0},
        redis={"url": "unix://to-be-replaced", "namespace": "test"},
        identity={"secret": "a secret of the tests"},
    )
    lake = Lake.open(settings.lake)
    ids = rows_of("item_dictionary", [{"item_id": f"i{idx}", "item_idx": idx} for idx in range(2)])
    files = {"item_dictionary": [lake.write("raw/ids.parquet", "item_dictionary", ids)]}
    moment = iso(AS_OF)
    lake.commit_batch(Batch(1, "b", "s", moment, moment, moment, SCHEMA_VERSION, "c", 1, 2, [], {}, files))
    lineage = Lineage(lake, settings, AS_OF)
    rows = [{"segment": "all", "rank": 1, "item_idx": 1, "score": 2.0, "n_users": 3}]
    part = lake.write("trending/x.parquet", "trending", rows_of("trending", rows))
    version = lineage.version("trending")
    made = Manifest("trending", moment, version, moment, SCHEMA_VERSION, "c", "s", 1, {}, {"trending": [part]}, {})
    assert lake.commit(made)
    return lineage


def run(lineage, surface="trending"):
    arguments = argparse.ArgumentParser()
    publish.add_arguments(arguments)
    return publish.main(arguments.parse_args(["--surfaces", surface, "--as-of", iso(AS_OF)]), lineage.settings)


def test_without_a_verdict_nothing_leaves(lineage):
    with pytest.raises(GateRefused, match="was not judged: run `nightshelf gate --tables trending"):
        run(lineage)


def test_a_table_that_did_not_pass_does_not_leave(lineage):
    write_verdict(Verdict("trending", lineage.version("trending"), False, {}, ["too few segments"]), lineage)
    with pytest.raises(GateRefused, match="did not pass the gate: too few segments"):
        run(lineage)


def test_a_table_that_passed_is_published_with_its_catalogue(lineage, capsys):
    write_verdict(Verdict("trending", lineage.version("trending"), True, {}, []), lineage)
    with pytest.raises(TemporaryError, match="cannot be reached"):
        run(lineage)
    server = RedisServer().start()
    try:
        settings = lineage.settings
        lineage.settings = settings.model_copy(update={"redis": settings.redis.model_copy(update={"url": server.url})})
        assert run(lineage) == 0
        with server.client() as client:
            release = read_release(client, KEYS)
            entry = release.live("trending")
            assert unpack_list(client.get(KEYS.trending("all", entry.tag))).items == [1]
        assert (entry.as_of, release.catalogue.n_items, release.catalogue.dictionary) == (iso(AS_OF), 2, 2)
        assert run(lineage) == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"trending: {entry.base} is live already"
    finally:
        server.close()


def test_a_table_that_was_not_computed_is_temporary(lineage):
    with pytest.raises(TemporaryError, match="slates as of 2026-01-02T12:00:00Z"):
        run(lineage, "for_you")
