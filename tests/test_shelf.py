"""From the lake to Redis: rows become keys and packed values, and nothing leaves without the gate's word."""

import argparse
from datetime import UTC, datetime

import orjson
import pyarrow as pa
import pytest
from committed import commit
from lake_fixtures import NIGHT, rows, small_lake
from redis_server import RedisServer
from slate_rows import slate_entries

from conf.settings import load_settings
from jobs import cli, publish
from jobs.rim.errors import GateRefused, TemporaryError
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage, job
from jobs.rim.manifest import Batch, DataFile, Manifest, iso
from jobs.rim.packing import catalogue_rows, neighbor_entries, trending_entries
from jobs.rim.redis_release import read_release
from jobs.rim.runner import run_step
from jobs.rim.shelf import generation_name
from jobs.rim.verdict import Verdict, write_verdict
from schemas.arrow import arrow_schema
from schemas.codec import MAX_ITEMS, unpack_list
from schemas.keys import Keys
from schemas.tables import SCHEMA_VERSION, TABLES
from schemas.user_codec import unpack_user
from serving.app import create_app, open_answers

KEYS = Keys("test")
AS_OF = datetime(2026, 1, 2, 12, tzinfo=UTC)
# Great Expectations imports sre_constants and its friends, deprecated since Python 3.11
JUDGING = pytest.mark.filterwarnings("ignore:module 'sre:DeprecationWarning")


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


def alike(item_idx, others, weights):
    return {"item_idx": item_idx, "others": others, "weights": weights}


def packed(neighbors, content=(), kinds=("viewed_together", "bought_together")):
    content = rows_of("content_neighbors", list(content))
    return dict(neighbor_entries(rows_of("item_neighbors", neighbors), content, KEYS, "T", kinds))


def test_a_user_becomes_one_key_with_the_slate_and_what_was_seen():
    base = {"items": [5, 6], "scores": [2.0, 1.0], "sources": ["als", "viewed_together"], "because_of": [9, -1]}
    rows = rows_of("slates", [base | {"user_id": "aa", "seen": [9, 3]}, base | {"user_id": "bb", "seen": []}])
    found = dict(slate_entries(rows.to_batches(), KEYS, "TAG"))
    slate = ([5, 6], [2.0, 1.0], ["als", "viewed_together"], [9, -1])
    users = {key: unpack_user(value) for key, value in found.items()}
    assert users == {"test:{u:aa}:TAG": (slate, [3, 9]), "test:{u:bb}:TAG": (slate, [])}


def test_similar_prefers_viewed_and_fills_from_bought():
    found = packed(NEIGHBORS)
    assert sorted(found) == ["test:{i:1}:T", "test:{i:7}:T"]
    one = unpack_list(found["test:{i:1}:T"])
    assert one.items == [2, 3, 4]  # viewed 2, 3; bought 4; bought 2 is there already
    assert one.sources == ["viewed_together", "viewed_together", "bought_together"]
    assert unpack_list(found["test:{i:7}:T"]).items == [1]  # nobody viewed it with anything


def test_bought_together_holds_nothing_else():
    found = packed(NEIGHBORS, kinds=("bought_together",))
    assert {key: unpack_list(value).items for key, value in found.items()} == {
        "test:{i:1}:T": [4, 2],
        "test:{i:7}:T": [1],
    }


def test_an_item_nobody_took_with_another_has_those_it_is_described_like():
    found = packed(NEIGHBORS, [alike(8, [3, 1], [0.75, 0.25])])
    assert sorted(found) == ["test:{i:1}:T", "test:{i:7}:T", "test:{i:8}:T"]
    assert unpack_list(found["test:{i:8}:T"]) == ([3, 1], [0.75, 0.25], ["content", "content"], [-1, -1])
    assert {key: found[key] for key in packed(NEIGHBORS)} == packed(NEIGHBORS)  # the others are as without


@pytest.mark.parametrize(
    ("last", "scores"),
    [
        (1.0, [0.5, 0.25]),  # weights 0.8 and 0.4 with the first at half of the last score before them
        (2.0, [0.8, 0.4]),  # low enough as they are
        (0.0, [-1.0, -1.4]),  # nothing is in proportion to 0
    ],
)
def test_content_fills_up_behind_all_others(last, scores):
    few = [neighbor(7, "viewed_together", 1, 4) | {"score": 4.0}, neighbor(7, "bought_together", 1, 1)]
    few[1]["score"] = last
    found = unpack_list(packed(few, [alike(7, [4, 5, 7, 1, 6], [1.0, 0.8, 0.6, 0.5, 0.4])])["test:{i:7}:T"])
    assert found.items == [4, 1, 5, 6]  # 4 and 1 are there already, 7 is itself
    assert found.sources == ["viewed_together", "bought_together", "content", "content"]
    step = (4.0 - min(scores)) / 255  # of a packed score
    assert found.scores == pytest.approx([4.0, last, *scores], abs=step)
    assert found.scores == sorted(set(found.scores), reverse=True)


def test_a_list_ends_where_it_is_full():
    many = [neighbor(1, "viewed_together", rank, 100 + rank) for rank in range(1, MAX_ITEMS)]
    found = unpack_list(packed(many, [alike(1, [5, 6, 7], [0.9, 0.8, 0.7])])["test:{i:1}:T"])
    assert (len(found.items), found.items[-2:]) == (MAX_ITEMS, [100 + MAX_ITEMS - 1, 5])
    full = [*many, neighbor(1, "viewed_together", MAX_ITEMS, 99)]
    assert packed(full, [alike(1, [5], [0.9])]) == packed(full)


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
    items = items.set_column(items.schema.get_field_index("price"), "price", pa.array([2.5]))
    assert list(catalogue_rows(dictionary, items)) == [("x", None, None, True, None), ("y", "Y", "c", False, 2.5)]
    with pytest.raises(ValueError, match="item_idx 1 at place 0"):
        list(catalogue_rows(dictionary.slice(0, 1), items))


# through the commands


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


@pytest.fixture
def server():
    running = RedisServer().start()
    yield running
    running.close()


@pytest.fixture
def shop(tmp_path, server, monkeypatch):
    """Six people took a pan and a pot, one of them a kettle, nobody a teapot; what is described how, `cold` knows."""
    variables = {
        "LAKE__URI": str(tmp_path / "lake"),
        "LAKE__MIN_FREE_MB": "0",
        "REDIS__URL": server.url,
        "IDENTITY__SECRET": "a secret of the tests",
        "SERVING__CACHE_DIR": str(tmp_path / "cache"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"NIGHTSHELF_{name}", value)
    titles = {"kettle": "copper pot", "pan": "iron pan", "pot": "copper pot", "teapot": "pot of iron and copper"}
    lake = small_lake(tmp_path, items=[{"item_id": name, "title": title} for name, title in titles.items()])
    took = [{"user_id": f"u{k}", "item_idx": item} for k in range(6) for item in (1, 2)]
    lineage = Lineage(lake, load_settings(), NIGHT)
    commit(lineage, "interactions", rows("interactions", *took, {"user_id": "u0", "item_idx": 0}))
    pairs = [{"item_idx": item, "neighbor_idx": other} for item, other in ((0, 1), (1, 2), (2, 1))]
    commit(lineage, "item_neighbors", rows("item_neighbors", *pairs))
    return lineage


AT_NIGHT = ["--as-of", iso(NIGHT)]
SIMILAR = ["publish", "--surfaces", "similar", "bought_together", *AT_NIGHT]
GATE = ["gate", "--tables", "item_neighbors", "content_neighbors", *AT_NIGHT]


def answered(item_id):
    """Items of its similar list with their sources and scores, and which rung gave the first."""
    answers = open_answers(load_settings())
    try:
        answer = create_app(answers, load_settings().serving).test_client().get(f"/v1/items/{item_id}/similar").json
    finally:
        answers.watch.stop()
    return answer["tier"], [(item["item_id"], item["source"], item["score"]) for item in answer["items"]]


@JUDGING
def test_similar_of_an_item_nobody_took_is_what_it_is_described_like(shop):
    run_step(job("cold"), shop, lambda: pytest.fail("needs no Spark"))
    assert cli.main(GATE) == 0
    assert cli.main(SIMILAR) == 0
    tier, items = answered("teapot")
    assert (tier, [item[:2] for item in items[:2]]) == ("neighbors", [("pot", "content"), ("pan", "content")])
    row = next(row for row in shop.read("content_neighbors").to_pylist() if row["item_idx"] == 3)
    assert [item[2] for item in items[:2]] == pytest.approx(row["weights"], abs=1e-5)
    tier, items = answered("kettle")  # taken once, with a pan; described like a pot
    assert (tier, [item[:2] for item in items[:2]]) == ("neighbors", [("pan", "viewed_together"), ("pot", "content")])
    assert items[1][2] < items[0][2]
    assert "content" not in [source for _, source, _ in answered("pan")[1]]


@JUDGING
def test_similar_without_anything_new_is_what_it_was(shop):
    commit(shop, "content_neighbors", rows("content_neighbors"))
    assert cli.main(GATE) == 0
    assert cli.main(SIMILAR) == 0
    assert answered("teapot")[0] == "copy"  # nothing is trending here: the catalogue is all there is
    assert answered("kettle")[1][0][:2] == ("pan", "viewed_together")


@JUDGING
def test_a_broken_content_table_keeps_similar_and_nothing_else_from_leaving(shop, capsys):
    commit(shop, "content_neighbors", rows("content_neighbors", {"item_idx": 3, "others": [3], "weights": [1.0]}))
    assert cli.main(GATE) == 3
    assert cli.main(SIMILAR) == 3
    assert "content_neighbors" in capsys.readouterr().err.splitlines()[-1]
    assert cli.main(["publish", "--surfaces", "bought_together", *AT_NIGHT]) == 0


def test_content_that_was_not_judged_does_not_leave(shop, capsys):
    commit(shop, "content_neighbors", rows("content_neighbors", {}))
    write_verdict(Verdict("item_neighbors", shop.version("cooccurrence"), True, {}, []), shop)
    assert cli.main(SIMILAR) == 3
    assert "run `nightshelf gate --tables content_neighbors --as-of" in capsys.readouterr().err


def test_the_name_of_similar_tells_either_table_apart(shop):
    def names(neighbor_file, content_file, surface="similar"):
        return generation_name(shop, surface, {"item_neighbors": [neighbor_file], "content_neighbors": [content_file]})

    one, two, three = (DataFile("x", 1, 1, crc32) for crc32 in range(3))
    assert len({names(one, two), names(three, two), names(one, three)}) == 3
    assert names(one, two, "bought_together") == names(one, three, "bought_together")


def test_a_table_that_was_not_computed_is_temporary(lineage):
    with pytest.raises(TemporaryError, match="slates as of 2026-01-02T12:00:00Z"):
        run(lineage, "for_you")
