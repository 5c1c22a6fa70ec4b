"""Real nights without Spark through the real gate: deliberately spoiled ones are refused, clean ones are not.

The fit is the night's own; interactions and slates, which Spark makes elsewhere, are made here of the same events.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import scipy.sparse as sp
from committed import commit, commit_all, unprobed
from lake_fixtures import lake_settings, rows, write
from nights import SECRET, ingested

from jobs.gate import judge
from jobs.judging.artefact import FITTED, with_vectors
from jobs.kernels.positives import positive_events
from jobs.kernels.recipe.recommend import rank
from jobs.kernels.recipe.stored import from_row, lists_of, load_model, people_of
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage, job
from jobs.rim.manifest import Batch
from jobs.rim.runner import read_inputs
from jobs.rim.verdict import Verdict
from schemas.arrow import arrow_schema
from schemas.tables import TABLES

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:module 'sre:DeprecationWarning")]
RECIPE = {  # what a night may have learned: each kind of source, the quick ones
    "settings": """{
        "als": {"fit": "fit_als", "options": {"factors": 32, "alpha": 1}},
        "bm25": {"fit": "fit_bm25", "options": {"k1": 1.2, "b": 0.2}},
        "walk_fading": {"fit": "fit_walk", "options": {"beta": 0.2, "days": 7}},
        "baskets": {"fit": "fit_baskets", "options": {}}
    }"""
}
N_LISTED = 100
OTHERS = 100  # people beside those of the last day who get slates


@dataclass(frozen=True)
class Shop:
    """A data set's lake with everything ingested, and its UTC days."""

    lake: Lake
    settings: object
    days: list[datetime]

    def nights(self, *shares: float, run: int) -> list[datetime]:
        """The ends of ``run`` days in a row, from each share of the days on."""
        return [self.days[int(share * len(self.days)) + k] + timedelta(days=1) for share in shares for k in range(run)]


def opened(folder, monkeypatch, path, source: str) -> Shop:
    settings = lake_settings(folder, identity={"secret": SECRET})
    lake = ingested(settings, monkeypatch, path, source)
    hours = [hour for batch in lake.batches() for hour in batch.hours()]
    first, last = (datetime.fromisoformat(hour[:10]).replace(tzinfo=UTC) for hour in (min(hours), max(hours)))
    return Shop(lake, settings, [first + timedelta(days=k) for k in range((last - first).days + 1)])


@pytest.fixture(scope="module")
def films(tmp_path_factory, data_dir) -> Shop:
    with pytest.MonkeyPatch.context() as patch:
        return opened(tmp_path_factory.mktemp("films"), patch, data_dir / "movielens-100k", "movielens-100k")


@pytest.fixture(scope="module")
def retail(tmp_path_factory, data_dir) -> Shop:
    with pytest.MonkeyPatch.context() as patch:
        return opened(tmp_path_factory.mktemp("retail"), patch, data_dir / "online-retail", "online-retail")


# a night


def night(shop: Shop, as_of: datetime, spoil=None, n_probes: int = 300) -> Verdict:
    """The gate's verdict on the slates; ``spoil(tables, inputs)`` changes the fitted ones; ``n_probes`` tells nights of
    the same moment apart.
    """
    settings = shop.settings.model_copy(update={"fit": shop.settings.fit.model_copy(update={"min_probes": n_probes})})
    lineage = Lineage(shop.lake, settings, as_of)
    if lineage.find("recipe") is None:
        commit(lineage, "recipe", rows("recipe", RECIPE))
    fit = job("fit")
    inputs = read_inputs(fit, lineage, None)
    inputs["events"] = spelled_out(inputs["events"])
    tables = fit.transform(inputs, as_of, settings)
    del tables["measured"]
    if spoil is not None:
        tables = tables | spoil(tables, inputs)
    commit_all(lineage, tables)
    taken = interactions(inputs)
    if lineage.find("interactions") is None:
        commit(lineage, "interactions", taken)
    commit(lineage, "slates", slates(lineage, taken))
    return judge("slates", lineage)


def interactions(inputs) -> pa.Table:
    """A row per user and item they took."""
    known = positive_events(inputs["events"], inputs["event_weights"])
    place = pc.index_in(pa.array(known.item_ids, pa.string()), inputs["item_dictionary"]["item_id"].combine_chunks())
    item_idx = inputs["item_dictionary"]["item_idx"].to_numpy()[place.to_numpy()]
    time_us = pa.array(np.round(known.events.time_s * 1e6).astype(np.int64)).cast(pa.timestamp("us", "UTC"))
    columns = {"user_id": known.user_ids[known.events.user], "item_idx": item_idx[known.events.item], "time": time_us}
    cells = pa.table(columns).group_by(["user_id", "item_idx"], use_threads=False)
    cells = cells.aggregate([("time", "min"), ("time", "max"), ("time", "count")])
    n = cells.num_rows
    filled = {
        "user_id": cells["user_id"],
        "item_idx": cells["item_idx"],
        "weight_micro": np.full(n, 1_000_000),
        "total_micro": np.full(n, 1_000_000),
        "n_events": cells["time_count"],
        "n_purchases": np.zeros(n, np.int32),
        "first_time": cells["time_min"],
        "last_time": cells["time_max"],
        "last_purchase_time": pa.nulls(n),
    }
    return pa.table(filled).cast(arrow_schema(TABLES["interactions"]))


def slates(lineage: Lineage, taken: pa.Table) -> pa.Table:
    """The recipe's order of the people of the last day and of some others, because of an item they took."""
    recipe = from_row(lineage.read("recipe").to_pylist()[0])
    stored = load_model(recipe, {table: lineage.read(table) for table in FITTED})
    since = pa.scalar(lineage.as_of - timedelta(days=1), taken["last_time"].type)
    active = pc.unique(taken.filter(pc.greater_equal(taken["last_time"], since))["user_id"]).to_pylist()
    users = sorted({*active, *sorted(pc.unique(taken["user_id"]).to_pylist())[:OTHERS]})
    mine = taken.filter(pc.is_in(taken["user_id"], pa.array(users)))
    user = pc.index_in(mine["user_id"], pa.array(users)).to_numpy()
    item_idx = mine["item_idx"].to_numpy()
    first_us, last_us = (mine[name].cast(pa.int64()).to_numpy() for name in ("first_time", "last_time"))
    people = people_of(user, item_idx, first_us, last_us, len(users), stored)
    model = with_vectors(stored, pa.table({"user_id": users}), lineage.read("user_factors"))
    items, _ = rank(recipe, model, people, np.arange(len(users)), N_LISTED)
    reason = dict(zip(mine["user_id"].to_pylist(), item_idx.tolist(), strict=True))
    full = [(user_id, stored.item_idx[own[own >= 0]]) for user_id, own in zip(users, items, strict=True)]
    return rows("slates", *(slate(user_id, own.tolist(), reason[user_id]) for user_id, own in full if len(own)))


def slate(user_id: str, items: list[int], reason: int) -> dict:
    n = len(items)
    scores = np.linspace(1, 0, n).tolist()
    even = {"scores": scores, "sources": ["als"] * n, "because_of": [reason] * n, "propensities": [1.0] * n}
    return {"user_id": user_id, "items": items, "seen": []} | even


# clean nights


def refused(verdicts: list[Verdict]) -> list[list[str]]:
    found = [verdict.failures for verdict in verdicts if not verdict.passed]
    print(f"{len(found)} of {len(verdicts)} clean nights refused: {found}")
    return found


@pytest.mark.data("movielens-100k")
def test_of_twenty_clean_nights_of_films_at_most_one_is_refused(films):
    verdicts = [night(films, as_of) for as_of in films.nights(0.1, 0.3, 0.5, 0.7, run=5)]
    judged = [verdict for verdict in verdicts if "gain_high_recipe" in verdict.statistics]
    assert len(judged) == len(verdicts) == 20
    assert sum("kept_n_users" in verdict.statistics for verdict in verdicts) >= 15
    assert len(refused(verdicts)) <= 1


@pytest.mark.data("online-retail")
def test_of_the_last_twenty_nights_of_a_shop_at_most_one_is_refused_for_what_came_in(retail):
    """The last day, cut off at noon, may be. Nothing is fitted: the slates are one, the same every night."""
    verdicts = []
    for as_of in retail.nights(1 - 20 / len(retail.days) + 1e-9, run=20):
        verdicts.append(judge("slates", modest(retail.lake, retail, as_of)))
    assert sum("fewest_expected" in verdict.statistics for verdict in verdicts) == 20
    found = refused(verdicts)
    assert len(found) <= 1
    assert {line.split(" of ")[1].split()[0] for lines in found for line in lines} <= {"last_hour"}


# spoiled fits


def dealt_anew(table: pa.Table, source: str, *columns: str) -> pa.Table:
    """The values of one source in columns, each row's now another's."""
    mine = np.flatnonzero(pc.equal(table["source"], source).to_numpy())
    order = np.arange(table.num_rows)
    order[mine] = np.random.default_rng(0).permutation(mine)
    return replaced(table, {column: table[column].take(order) for column in columns})


def replaced(table: pa.Table, columns: dict) -> pa.Table:
    return pa.table({name: columns.get(name, table[name]) for name in table.column_names}).cast(table.schema)


def users_shuffled(tables, inputs):
    return {"user_factors": dealt_anew(tables["user_factors"], "als", "vector")}


def items_shuffled(tables, inputs):
    return {"item_factors": dealt_anew(tables["item_factors"], "als", "vector")}


def neighbors_shuffled(tables, inputs):
    return {"item_weights": dealt_anew(tables["item_weights"], "baskets", "others", "weights")}


def diverged(tables, inputs):
    users = of_als(tables["user_factors"])
    return {"user_factors": beside(tables["user_factors"], lists_of(np.full((users.num_rows, 32), np.nan)))}


def of_als(table: pa.Table) -> pa.Table:
    return table.filter(pc.equal(table["source"], "als"))


def beside(table: pa.Table, vectors: pa.ListArray) -> pa.Table:
    """These vectors for those of ALS; affinities stay."""
    others = table.filter(pc.not_equal(table["source"], "als"))
    return pa.concat_tables([others, replaced(of_als(table), {"vector": vectors})])


def explicit(tables, inputs):
    """ALS on observed cells alone (Koren, Bell, Volinsky 2009): ratings, or where none are logarithms of counts."""
    users, items = of_als(tables["user_factors"]), of_als(tables["item_factors"])
    ratings = rated(inputs["events"], inputs["item_dictionary"])
    row = pc.index_in(ratings["user_id"], users["user_id"].combine_chunks())
    column = pc.index_in(ratings["item_idx"], items["item_idx"].combine_chunks())
    both = pc.and_(pc.is_valid(row), pc.is_valid(column))
    cells = ratings["rating"].filter(both), (row.filter(both), column.filter(both))
    observed = sp.csr_matrix((cells[0].to_numpy(), [of.to_numpy() for of in cells[1]]), (len(users), len(items)))
    user_factors, item_factors = explicit_als(observed, factors=32, ridge=0.1, rounds=8)
    return {
        "user_factors": beside(tables["user_factors"], lists_of(user_factors)),
        "item_factors": beside(tables["item_factors"], lists_of(item_factors)),
    }


def rated(events: pa.Table, dictionary: pa.Table) -> pa.Table:
    """user_id, item_idx and rating, one row a cell."""
    known = events.filter(pc.and_(pc.is_valid(events["user_id"]), pc.is_valid(events["item_id"])))
    cells = known.group_by(["user_id", "item_id"]).aggregate([("value", "mean"), ("kind", "count")])
    rating = pc.coalesce(cells["value_mean"], pc.log1p(cells["kind_count"].cast(pa.float64())))
    place = pc.index_in(cells["item_id"], dictionary["item_id"].combine_chunks())
    item_idx = dictionary["item_idx"].combine_chunks().take(place.combine_chunks())
    return pa.table({"user_id": cells["user_id"], "item_idx": item_idx, "rating": rating})


def explicit_als(observed: sp.csr_matrix, factors: int, ridge: float, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    by_item, items = observed.T.tocsr(), np.random.default_rng(0).normal(0, 0.1, (observed.shape[1], factors))
    for _ in range(rounds):
        users = solved(observed, items, ridge)
        items = solved(by_item, users, ridge)
    return users, items


def solved(observed: sp.csr_matrix, others: np.ndarray, ridge: float) -> np.ndarray:
    found = np.zeros((observed.shape[0], others.shape[1]))
    for k in np.flatnonzero(np.diff(observed.indptr)):
        own = slice(observed.indptr[k], observed.indptr[k + 1])
        seen = others[observed.indices[own]]
        gram = seen.T @ seen + ridge * len(seen) * np.eye(seen.shape[1])
        found[k] = np.linalg.solve(gram, seen.T @ observed.data[own])
    return found


SPOILED = {  # and what says so
    "users shuffled": (users_shuffled, "order_als"),
    "items shuffled": (items_shuffled, "order_als"),
    "neighbors shuffled": (neighbors_shuffled, "order_baskets"),
    "diverged": (diverged, "order_als"),
    "explicit ratings": (explicit, "level_als"),
}


@pytest.mark.data("movielens-100k")
@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_fit_of_films_is_refused(films, how):
    refused_for_its_fit(films, films.days[150], how)


@pytest.mark.data("online-retail")
def test_factors_of_explicit_ratings_are_refused_in_a_shop(retail):
    refused_for_its_fit(retail, retail.days[120], "explicit ratings")


def refused_for_its_fit(shop: Shop, as_of: datetime, how: str) -> None:
    spoil, sign = SPOILED[how]
    verdict = night(shop, as_of, spoil, n_probes=301 + list(SPOILED).index(how))
    source = sign.partition("_")[2]
    print(how, {name: round(value, 3) for name, value in verdict.statistics.items() if name.endswith(source)})
    assert f" of {sign} " in " ".join(verdict.failures)
    about = [line.split(" of ")[1].split()[0] for line in verdict.failures]
    assert {name for name in about if name.startswith(("order_", "level_"))} <= {f"order_{source}", f"level_{source}"}


# spoiled inputs


def cut_at_ten(events: pa.Table, before: pa.Table, day: datetime) -> pa.Table:
    return events.filter(pc.less(events["event_time"], pa.scalar(day + timedelta(hours=10), MOMENT)))


def one_in_twenty(events: pa.Table, before: pa.Table, day: datetime) -> pa.Table:
    return events.take(np.arange(0, events.num_rows, 20))


def yesterday_again(events: pa.Table, before: pa.Table, day: datetime) -> pa.Table:
    return pa.concat_tables([events, under_new_ids(before)])


def yesterday_moved(events: pa.Table, before: pa.Table, day: datetime) -> pa.Table:
    later = pc.add(before["event_time"], pa.scalar(timedelta(days=1), pa.duration("us")))
    place = before.schema.get_field_index("event_time")
    return pa.concat_tables([events, under_new_ids(before.set_column(place, before.schema.field(place), later))])


def under_new_ids(events: pa.Table) -> pa.Table:
    ids = pc.binary_join_element_wise("again", events["event_id"], "-")
    return events.set_column(0, events.schema.field(0), ids)


def as_it_came(events: pa.Table, before: pa.Table, day: datetime) -> pa.Table:
    return events


MOMENT = pa.timestamp("us", "UTC")
INPUTS = {  # and what says so
    "clean": (as_it_came, ""),
    "cut at ten": (cut_at_ten, "last_hour"),
    "one in twenty": (one_in_twenty, "last_day_events"),
    "yesterday again": (yesterday_again, "resent_share"),
    "yesterday as today": (yesterday_moved, "moved_share"),
}


@pytest.mark.data("online-retail")
@pytest.mark.parametrize("how", INPUTS)
def test_a_shops_spoiled_day_is_refused(retail, tmp_path, how):
    """Two nights of a lake that gets the last day by itself; the first one passes."""
    spoil, sign = INPUTS[how]
    day = datetime(2011, 10, 4, tzinfo=UTC)
    lake = Lake.open(lake_settings(tmp_path).lake)
    day_before = day - timedelta(days=1)
    arrive(lake, retail, events_of(retail, day - timedelta(days=40), day))
    assert judge("slates", modest(lake, retail, day)).failures == []
    before = events_of(retail, day_before, day)
    arrive(lake, retail, spoil(events_of(retail, day, day + timedelta(days=1)), before, day))
    verdict = judge("slates", modest(lake, retail, day + timedelta(days=1)))
    print(
        how, {k: v for k, v in verdict.statistics.items() if k.split("_")[0] in ("last", "resent", "moved", "fewest")}
    )
    assert [line.split(" of ")[1].split()[0] for line in verdict.failures] == [sign] * bool(sign)


def modest(lake: Lake, shop: Shop, as_of: datetime) -> Lineage:
    """A night of two people, one of them with a slate, in which nothing is fitted; nothing to judge yet."""
    long_ago = {"last_time": as_of - timedelta(days=3)}
    mine = rows("interactions", long_ago, long_ago | {"item_idx": 1, "user_id": "u2"})
    lineage = unprobed(lake, shop.settings, as_of, mine)
    commit(lineage, "slates", rows("slates", slate("u1", list(range(1, 101)), 0)))
    return lineage


def events_of(shop: Shop, start: datetime, end: datetime) -> pa.Table:
    return spelled_out(shop.lake.events(shop.lake.snapshot(), start, end, TABLES["events"].names))


def spelled_out(parts: Iterable[pa.Table]) -> pa.Table:
    """Events in one table, text as such."""
    whole = pa.concat_tables(parts)
    return whole.cast(pa.schema([arrow_schema(TABLES["events"]).field(name) for name in whole.column_names]))


def arrive(lake: Lake, shop: Shop, events: pa.Table) -> None:
    """As one batch; item indices are those of the shop's own lake."""
    like: Batch = shop.lake.batches()[0]
    number = lake.snapshot() + 1
    files = {"events": [write(lake, "events", f"b{number}", events)]}
    if number == 1:
        files["item_dictionary"] = [write(lake, "item_dictionary", "b1", shop.lake.dictionary(shop.lake.snapshot()))]
    assert lake.commit_batch(replace(like, number=number, batch_id=f"b{number}", files=files))
