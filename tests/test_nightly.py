"""Whole nights on real and generated data: do the lists make sense, and are their reasons true?"""

from datetime import timedelta

import numpy as np
import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from nights import SECRET, Night, live_through

from jobs import cli
from schemas.identity import pseudonym
from schemas.tables import UNEXPLAINED

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield monkeypatch


@pytest.fixture(scope="module")
def films(tmp_path_factory, patch, spark, data_dir) -> Night:
    folder = tmp_path_factory.mktemp("films")
    return live_through(folder, patch, spark, data_dir / "movielens-100k", "movielens-100k")


@pytest.fixture(scope="module")
def retail(tmp_path_factory, patch, spark, data_dir) -> Night:
    folder = tmp_path_factory.mktemp("retail")
    few = {"recipe": {"max_events": 50_000}}  # a tenth of the people teach: the night itself is of all
    return live_through(folder, patch, spark, data_dir / "online-retail", "online-retail", **few)


@pytest.fixture(scope="module")
def shop(tmp_path_factory, patch, spark):
    """A generated month, its night and its hidden tastes."""
    folder = tmp_path_factory.mktemp("shop")
    assert cli.main(["generate", "--out", str(folder / "traffic"), "--events", "50000", "--seed", "7"]) == 0
    return live_through(folder, patch, spark, folder / "traffic", "nightshelf"), folder / "traffic"


def own_items(night: Night) -> dict[str, set[int]]:
    """What each user did something with inside the night's window, from the raw events, not the models' input."""
    lineage = night.lineage
    start = lineage.as_of - timedelta(days=lineage.settings.interactions.window_days)
    files = lineage.lake.event_files(lineage.snapshot, start, lineage.as_of)
    events = lineage.lake.read("events", files, ["user_id", "item_id", "kind", "event_time"])
    mine = pc.and_(pc.greater_equal(events["event_time"], start), pc.not_equal(events["kind"], "impression"))
    events = events.filter(mine).select(["user_id", "item_id"]).drop_null()
    index = {item: idx for idx, item in enumerate(night.ids)}
    owned: dict[str, set[int]] = {}
    for user, item in zip(events["user_id"].to_pylist(), events["item_id"].to_pylist(), strict=True):
        owned.setdefault(user, set()).add(index[item])
    return owned


def check_slates(night: Night) -> int:
    """Every reason is the person's own interaction, and there is one unless nothing they did is why an item is shown;
    no item is theirs already, none comes twice. Returns how many items there are.
    """
    owned, n_items, n_explained = own_items(night), 0, 0
    for slate in night.read("slates").to_pylist():
        own = owned.get(slate["user_id"], set())
        explained = [reason for reason in slate["because_of"] if reason >= 0]
        assert set(explained) <= own, slate["user_id"]
        alone = [source for source, reason in zip(slate["sources"], slate["because_of"], strict=True) if reason < 0]
        assert set(alone) <= set(UNEXPLAINED), slate["user_id"]
        assert not own & set(slate["items"]), slate["user_id"]
        assert len(set(slate["items"])) == len(slate["items"])
        n_items, n_explained = n_items + len(slate["items"]), n_explained + len(explained)
    print(f"{n_explained / n_items:.1%} of {n_items:,} items have a reason")
    assert n_explained > 0.7 * n_items
    return n_items


@pytest.mark.data("movielens-100k")
def test_star_wars_brings_its_sequels(films):
    neighbors = films.read("item_neighbors").to_pylist()
    top = {
        films.title(row["neighbor_idx"])
        for row in neighbors
        if films.title(row["item_idx"]) == "Star Wars (1977)" and row["kind"] == "viewed_together" and row["rank"] <= 5
    }
    assert {"Empire Strikes Back, The (1980)", "Return of the Jedi (1983)"} <= top


@pytest.mark.data("movielens-100k")
def test_every_reason_on_films_is_that_persons_own(films):
    assert check_slates(films) == 943 * 100


@pytest.mark.data("online-retail")
def test_every_reason_on_retail_is_that_persons_own(retail):
    assert check_slates(retail) > 300_000


@pytest.mark.data("online-retail")
def test_what_is_bought_together_on_retail_is_of_a_kind(retail):
    """The green, the roses and the pink teacup of Regency are bought as a set."""
    rows = retail.read("item_neighbors").to_pylist()
    green = "GREEN REGENCY TEACUP AND SAUCER"
    top = [
        retail.title(row["neighbor_idx"])
        for row in sorted(rows, key=lambda row: row["rank"])
        if row["kind"] == "bought_together" and retail.title(row["item_idx"]) == green and row["rank"] <= 3
    ]
    assert {"ROSES REGENCY TEACUP AND SAUCER", "PINK REGENCY TEACUP AND SAUCER"} <= {title.strip() for title in top}


def test_every_reason_in_the_shop_is_that_persons_own(shop):
    assert check_slates(shop[0]) > 10_000


def recall(lists: dict[str, list[int]], tastes: dict[str, set[int]], owned: dict[str, set[int]]) -> float:
    """Mean share of a person's hidden favourites, those they know left out, among the first 20 of their list."""
    shares = []
    for user, favourites in tastes.items():
        unknown = favourites - owned.get(user, set())
        if user in lists and unknown:
            shown = [item for item in lists[user] if item not in owned.get(user, set())][:20]
            shares.append(len(unknown & set(shown)) / len(unknown))
    return float(np.mean(shares))


def test_slates_find_hidden_tastes_three_times_as_often_as_popularity(shop):
    night, traffic = shop
    index = {item: idx for idx, item in enumerate(night.ids)}
    tastes: dict[str, set[int]] = {}
    for row in pq.read_table(traffic / "hidden" / "tastes.parquet", columns=["user_id", "item_id"]).to_pylist():
        if row["item_id"] in index:
            tastes.setdefault(pseudonym(SECRET.encode(), row["user_id"]), set()).add(index[row["item_id"]])
    slates = {row["user_id"]: row["items"] for row in night.read("slates").to_pylist()}
    popular = np.bincount(night.read("interactions")["item_idx"].to_numpy(), minlength=len(night.ids))
    by_popularity = {user: np.argsort(-popular, kind="stable").tolist() for user in slates}
    owned = own_items(night)
    ours, theirs = recall(slates, tastes, owned), recall(by_popularity, tastes, owned)
    print(f"recall@20 of hidden tastes: slates {ours:.3f}, popularity {theirs:.3f}, {ours / theirs:.1f} times")
    assert ours >= 3 * theirs


def test_broken_late_and_duplicate_events_of_the_shop_are_accounted_for(shop):
    night, traffic = shop
    told = orjson.loads((traffic / "generated.json").read_bytes())
    accounts = night.lineage.batches[0].accounts
    assert accounts["read"] == 50_000
    assert accounts["duplicate"] == told["duplicates"]
    assert sum(accounts["quarantined"].values()) == sum(told["broken"].values())
