"""Matrix factorisation by either engine: chosen by what memory holds, the same tables, lists as good."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from lake_fixtures import NIGHT, dictionary, rows

from conf.settings import load_settings
from jobs import fit
from jobs.kernels.engines import BASE_BYTES, EVENT_BYTES, plan, refined
from jobs.kernels.positives import drawn, positive_events, share_of
from jobs.kernels.recipe.choose import UNLEARNED, Choice
from jobs.kernels.recipe.grid import Setting
from jobs.kernels.recipe.recommend import Recipe
from jobs.kernels.recipe.sources import fit_als, fit_cosine
from jobs.kernels.recipe.stored import to_row
from jobs.kernels.weighing import liked_cells
from jobs.rim.means import Means
from schemas.arrow import arrow_schema
from schemas.spark import spark_schema
from schemas.tables import RECIPE, TABLES

N_USERS, N_ITEMS, N_CROWDS, N_TAKEN = 300, 120, 4, 14
CHOSEN = {
    "als": Setting(fit_als, {"factors": 8, "alpha": 10}),
    "als_fading": Setting(fit_als, {"factors": 8, "alpha": 10, "days": 30}),
    "together": Setting(fit_cosine),
}
PLENTY = 1 << 40
ENGINES = {  # and who solves for the users' vectors where Spark is a cluster
    "implicit": ("implicit", "local[2]"),
    "threads": ("folded", "local[2]"),
    "spark": ("folded", "spark://host:7077"),
    "mllib": ("mllib", "local[2]"),
}
AUTO = load_settings().fit


def crowds() -> pa.Table:
    """Everybody takes 14 of the 30 items of their crowd, in a month."""
    random = np.random.default_rng(5)
    told = []
    for who in range(N_USERS):
        own = random.permutation(np.arange(who % N_CROWDS, N_ITEMS, N_CROWDS))[:N_TAKEN]
        hours = random.integers(1, 720, N_TAKEN).tolist()
        told += [
            {"user_id": f"u{who:03}", "item_id": f"i{item:03}", "event_time": NIGHT - timedelta(hours=hour)}
            for item, hour in zip(own, hours, strict=True)
        ]
    return rows("events", *told)


ITEMS = dictionary(*(f"i{item:03}" for item in range(N_ITEMS)))
TOLD = {
    "events": crowds(),
    "event_weights": rows("event_weights", {}),
    "item_dictionary": ITEMS,
    "recipe": pa.Table.from_pylist([to_row(Recipe(CHOSEN, Choice("fused", UNLEARNED, ()), []))], arrow_schema(RECIPE)),
} | {name: arrow_schema(TABLES[name]).empty_table() for name in ("items", "users")}


def settings_of(engine: str, master: str = "local[2]"):
    return load_settings(fit={"engine": engine, "probe_share": 0, "min_probes": 60}, spark={"master": master})


def whole(users) -> pa.Table:
    """user_factors of whichever engine."""
    if hasattr(users, "toArrow"):
        users = users.toArrow()
    parts = [users] if isinstance(users, pa.Table) else users
    return pa.concat_tables(part.cast(arrow_schema(TABLES["user_factors"])) for part in parts)


@pytest.fixture(scope="module")
def by_engine(spark) -> dict[str, dict]:
    """What either engine makes of the same events."""
    means = Means(PLENTY, PLENTY, lambda table: spark.createDataFrame(TOLD[table], spark_schema(TABLES[table])))
    found = {}
    for solver, how in ENGINES.items():
        made = fit.transform(TOLD | {"means": means}, NIGHT, settings_of(*how))
        assert (made["measured"]["engine"], made["measured"]["solver"]) == (how[0], solver)
        found[solver] = made | {"user_factors": whole(made["user_factors"])}
    return found


@pytest.mark.parametrize("other", ["threads", "spark", "mllib"])
def test_all_engines_fill_the_same_tables(by_engine, other):
    ours, theirs = by_engine["implicit"], by_engine[other]
    for table in fit.OUTPUTS:
        keys = list(TABLES[table].key)
        assert ours[table].select(keys).sort_by([(key, "ascending") for key in keys]) == (
            theirs[table].select(keys).sort_by([(key, "ascending") for key in keys])
        ), table
    assert ours["probes"] == theirs["probes"]
    assert ours["item_weights"] == theirs["item_weights"]
    assert theirs["measured"]["why"] == "fit.engine says so"


@pytest.mark.parametrize("source", ["als", "als_fading"])
def test_their_lists_are_as_good(by_engine, source):
    """Recall of what was held back among the first twenty not known: both far above chance, and near each other."""
    found = {engine: recall(made, source) for engine, made in by_engine.items()}
    chance = 20 / (N_ITEMS - N_TAKEN)
    assert min(found.values()) > 3 * chance, found
    assert max(found.values()) - min(found.values()) < 0.1, found


@pytest.mark.parametrize("source", ["als", "als_fading"])
def test_threads_and_spark_solve_for_the_same_vectors(by_engine, source):
    here, there = (
        by_engine[solver]["user_factors"].filter(pc.equal(by_engine[solver]["user_factors"]["source"], source))
        for solver in ("threads", "spark")
    )
    here, there = (np.stack(table.sort_by("user_id")["vector"].to_numpy()) for table in (here, there))
    assert here.shape == (N_USERS, 8)
    np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-4)


def recall(made: dict, source: str) -> float:
    users, items = (
        made[table].filter(pc.equal(made[table]["source"], source)).sort_by(key)
        for table, key in (("user_factors", "user_id"), ("item_factors", "item_idx"))
    )
    matrices = (np.stack(table["vector"].to_numpy()) for table in (users, items))
    scores = np.einsum("uf,if->ui", *matrices)
    place = {user: at for at, user in enumerate(users["user_id"].to_pylist())}
    hits = []
    for row in made["probes"].to_pylist():
        mine = scores[place[row["user_id"]]].copy()
        mine[row["items"]] = -np.inf
        hits.append(len(set(np.argsort(-mine)[:20].tolist()) & set(row["withheld"])) / len(row["withheld"]))
    return float(np.mean(hits))


def test_what_is_held_back_is_no_cell(spark):
    """Of one user what came from a moment on; of all others everything."""
    begin = NIGHT - timedelta(days=10)
    frames = [
        spark.createDataFrame(TOLD[table], spark_schema(TABLES[table])) for table in ("events", "item_dictionary")
    ]
    unseen = pa.table({"user_id": ["u000"], "from_time": pa.array([begin], pa.timestamp("us", "UTC"))})
    cells = liked_cells(*frames, TOLD["event_weights"], unseen).toArrow()
    assert cells.num_rows > (N_USERS - 1) * N_TAKEN
    mine = cells.filter(pc.equal(cells["user_id"], "u000"))
    assert 0 < mine.num_rows < N_TAKEN
    assert pc.max(mine["last_time"]).as_py() < begin
    assert pc.max(cells["last_time"]).as_py() > begin
    assert cells.num_rows - mine.num_rows == (N_USERS - 1) * N_TAKEN


# the choice


def test_what_fits_memory_is_done_here_and_more_by_spark():
    enough = BASE_BYTES + 1_000_000 * EVENT_BYTES
    room = Means(enough, enough, None)
    assert (plan(1_000_000, room, AUTO).engine, plan(1_000_000, room, AUTO).share) == ("implicit", 1.0)
    beyond = plan(2_000_000, room, AUTO)
    assert (beyond.engine, beyond.share) == ("folded", 0.5)
    assert "2,000,000 events would take" in beyond.why
    too_few = plan(2_000_000, Means(enough // 2, enough // 2, None), AUTO)
    assert (too_few.engine, too_few.share < 0.5) == ("mllib", True)
    assert plan(10**12, None, AUTO).engine == "implicit"  # nobody counts
    forced = plan(2_000_000, room, settings_of("implicit").fit)
    assert (forced.engine, forced.share) == ("implicit", 1.0)  # or only some users would have vectors


def test_many_users_of_few_events_are_counted_too():
    events = positive_events(TOLD["events"], TOLD["event_weights"]).events
    plenty, tightly = (Means(room, room, None) for room in (PLENTY, BASE_BYTES + (len(events.user) + 9) * EVENT_BYTES))
    first = plan(len(events.user), plenty, AUTO)
    assert refined(first, events, CHOSEN, plenty, AUTO).engine == "implicit"
    tight = refined(first, events, CHOSEN, tightly, AUTO)
    assert (tight.engine, tight.share < 1) == ("mllib", True)
    assert "300 users and 120 items" in tight.why
    assert tight.measured()["estimate_mb"] == tight.estimate_bytes >> 20


@pytest.mark.parametrize("master", ["local[2]", "spark://host:7077"])
def test_beyond_memory_a_share_of_the_users_teaches_all_else(spark, master):
    """Everybody has vectors all the same; what items say of each other is learned from half of the people."""
    events = TOLD["events"]
    room = BASE_BYTES + events.num_rows * EVENT_BYTES // 2
    means = Means(room, room, lambda table: spark.createDataFrame(TOLD[table], spark_schema(TABLES[table])))
    made = fit.transform(TOLD | {"means": means}, NIGHT, settings_of("folded", master))
    users = whole(made["user_factors"])
    assert pc.sum(pc.equal(users["source"], "als")).as_py() == N_USERS
    assert 0.3 * N_USERS < made["measured"]["n_users"] < 0.7 * N_USERS
    assert (made["measured"]["engine"], made["measured"]["share_of_users"]) == ("folded", pytest.approx(0.5, abs=0.01))
    assert recall(made | {"user_factors": users}, "als") > 3 * 20 / (N_ITEMS - N_TAKEN)


def test_a_share_is_of_whole_users_and_the_same_in_every_part():
    ids = pa.chunked_array([[f"u{who}" for who in range(4_000)] + [None]])
    kept = drawn(ids, 0.25).to_numpy(zero_copy_only=False)
    assert 900 < kept.sum() < 1_100
    assert not kept[-1]
    part = pa.chunked_array([ids.chunk(0)[1_000:2_000].dictionary_encode(), ids.chunk(0)[:10].dictionary_encode()])
    assert drawn(part, 0.25).to_pylist() == [*kept[1_000:2_000], *kept[:10]]
    assert (share_of(10, 100), share_of(0, 5), share_of(300, 100)) == (1.0, 1.0, 0.5)
