"""Business rules through the real jobs: one small lake, the same candidates, and the slates under each rules file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lake_fixtures import NIGHT, at, dictionary, lake_settings, rows, small_lake
from slate_rows import slate_entries
from spark_fixture import quick_spark  # noqa: F401

from conf.rules import load_rules
from jobs.gate import judge
from jobs.kernels.rules.night import catalogue_of
from jobs.kernels.rules.rebuy import NEVER, Rebuy, days_since
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage, job
from jobs.rim.runner import run_step
from schemas.arrow import arrow_schema
from schemas.keys import Keys
from schemas.tables import SLATES
from schemas.user_codec import unpack_user

# Great Expectations imports sre_constants and its friends, deprecated since Python 3.11
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre:DeprecationWarning")
STEPS = ("interactions", "recipe", "fit", "cold", "candidates", "slates")
PERIOD = "from = 2026-01-01T00:00:00Z\nuntil = 2026-02-01T00:00:00Z\n"
UNPROPOSED = "p"  # in the catalogue, but nobody dealt with it
NEW = {"i8", "i9"}
COSINE = {"similarity": "cosine"}
CATEGORY = {f"i{k}": "tea" if k < 6 else "cups" for k in range(10)} | {UNPROPOSED: "cups"}


def visits() -> list[dict]:
    """Twelve people, each with four views and a purchase of ten items; seventeen hours and less before the night."""
    return [
        {
            "user_id": f"u{user:02}",
            "item_id": f"i{(user * 3 + k * k) % 10}",
            "kind": "purchase" if k == 3 else "view",
            "basket_id": f"o{user}" if k == 3 else None,
            "event_time": at(2 * k + user / 10),
        }
        for user in range(12)
        for k in range(5)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    items = [
        {"item_id": item, "category": category, "created_at": at(days=-2 if item in NEW else -100)}
        for item, category in CATEGORY.items()
    ]
    users = [{"user_id": f"u{k:02}", "country": ("FR", "DE", None)[k % 3]} for k in range(9)]
    small_lake(folder, events=visits(), items=items, users=users)
    return folder


def lineage_under(folder: Path, rules: str, n_new: int = 0) -> Lineage:
    """A run that reads ``folder/mine.toml``, which now says this; ``n_new`` new items are proposed to each."""
    mine = folder / "mine.toml"
    mine.write_text(rules)
    settings = lake_settings(
        folder,
        slates={"rules_file": str(mine), "n_items": 10},
        candidates={"n_new": n_new},
        gate={"min_user_coverage": 0.9},
    )
    return Lineage(Lake.open(settings.lake), settings, NIGHT)


@pytest.fixture(scope="module")
def slates(folder, quick) -> Callable[[str], dict[str, dict]]:
    """Run the night under rules; gives user → slate, items by id. Whatever the rules, the gate must pass it."""

    def night(rules: str, n_new: int = 0) -> dict[str, dict]:
        lineage = lineage_under(folder, rules, n_new)
        for name in STEPS:
            run_step(job(name), lineage, lambda: quick)
        assert judge("slates", lineage).failures == []
        ids = lineage.lake.dictionary(lineage.snapshot)["item_id"].to_pylist()
        made = lineage.lake.read("slates", lineage.resolve("slates").files["slates"]).to_pylist()
        return {row["user_id"]: row | {"shown": [ids[k] for k in row["items"]], "ids": ids} for row in made}

    return night


@pytest.fixture(scope="module")
def neutral(slates) -> dict[str, dict]:
    return slates("")


def own(kinds: tuple[str, ...]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {f"u{k:02}": set() for k in range(12)}
    for visit in visits():
        if visit["kind"] in kinds:
            found[visit["user_id"]].add(visit["item_id"])
    return found


# out of the lake's tables, without Spark


def test_the_catalogue_is_every_item_of_the_dictionary_in_its_order():
    items = rows(
        "items",
        {"item_id": "d", "category": "tea", "created_at": at(1), "available": False},
        {"item_id": "a", "category": "tea"},
        {"item_id": "b", "category": "cups"},
        {"item_id": "unheard of"},  # no event and no place in this dictionary
    )
    factors = rows("item_factors", {"item_idx": 2, "vector": [3.0, 4.0]})
    rules = load_rules().model_copy(update={"diversity": load_rules().diversity.model_copy(update=COSINE)})
    found = catalogue_of(items, dictionary("d", "c", "b", "a"), rules, factors)
    assert found.available.tolist() == [False, True, True, True]  # c has no row: available, nothing else
    assert (found.category.tolist(), found.category_names) == ([1, -1, 0, 1], ("cups", "tea"))
    assert found.created.astype(str).tolist() == ["2026-01-10T01:00:00.000000", "NaT", "NaT", "NaT"]
    assert found.vectors.tolist() == [[0, 0], [0, 0], [3, 4], [0, 0]]
    assert catalogue_of(items, dictionary("d"), load_rules(), factors.slice(0, 0)).vectors is None


def test_days_are_whole_and_never_stays_never():
    moments = [at(days=-1), at(hours=23, days=-1), at(hours=24), at(hours=25, days=-2)]
    us = np.array([round(moment.timestamp() * 1e6) for moment in moments] + [NEVER], np.int64)
    assert days_since(us, NIGHT).tolist() == [2, 1, 0, 1, NEVER]
    rebuy = Rebuy(np.array([True, True, True, False, True]), 1, NIGHT)
    assert rebuy.comes_back(np.arange(5), us).tolist() == [True, True, False, False, False]
    assert not Rebuy(None, 0, NIGHT).comes_back(np.arange(5), us).any()


# whole nights


def test_neutral_rules_show_new_things_by_their_own_score(neutral):
    mine = own(("view", "purchase"))
    assert neutral.keys() == mine.keys()
    for user, row in neutral.items():
        assert row["shown"]
        assert set(row["shown"]) <= CATEGORY.keys() - {UNPROPOSED} - mine[user]
        assert {row["ids"][k] for k in row["seen"]} == mine[user]
        assert set(row["propensities"]) == {1.0}
        assert "promotion" not in row["sources"]


def test_rules_that_say_nothing_new_are_a_no_op(folder, neutral):
    again = lineage_under(folder, "[diversity]\nwindow = 20\n")
    assert run_step(job("slates"), again, no_session).startswith("slates: already committed as ")


def no_session():
    raise AssertionError("Spark was asked for")


def test_the_cap_holds_and_loses_nobody(slates, neutral):
    capped = slates("[diversity]\nmax_per_category = 1\nwindow = 2\n")
    for user, row in capped.items():
        before = neutral[user]["shown"]
        assert sorted(row["shown"]) == sorted(before)
        first, second = before[0], next(i for i in [*before[1:], None] if not i or CATEGORY[i] != CATEGORY[before[0]])
        assert row["shown"][:2] == [first, second or before[1]]
        reasons = dict(zip(before, neutral[user]["because_of"], strict=True))
        assert row["because_of"] == [reasons[item] for item in row["shown"]]
    assert any(capped[user]["shown"] != neutral[user]["shown"] for user in capped)


def test_items_of_like_taste_come_apart(slates, neutral):
    """The cosine needs the items' vectors: a job that forgot them would fail."""
    apart = slates("[diversity]\nmmr_lambda = 0.3\nsimilarity = 'cosine'\n")
    assert all(sorted(apart[user]["shown"]) == sorted(neutral[user]["shown"]) for user in apart)
    assert any(apart[user]["shown"] != neutral[user]["shown"] for user in apart)


def test_a_promotion_is_pinned_where_it_is_meant(slates, neutral):
    promoted = slates(f"[[promotion]]\nitems = ['{UNPROPOSED}']\nslot = 2\ncountry = 'FR'\n{PERIOD}")
    for user, row in promoted.items():
        before = neutral[user]
        if user not in ("u00", "u03", "u06"):  # those of users from FR
            assert row == before
            continue
        assert row["shown"] == [before["shown"][0], UNPROPOSED, *before["shown"][1:]][:10]
        assert (row["sources"][1], row["because_of"][1]) == ("promotion", -1)
        assert -1 not in row["because_of"][:1] + row["because_of"][2:]


def test_a_boosted_candidate_keeps_its_reason(slates, neutral):
    boosted = slates(f"[[promotion]]\ncategory = 'cups'\nboost = 100.0\n{PERIOD}")
    for user, row in boosted.items():
        first = [item for item in neutral[user]["shown"] if CATEGORY[item] == "cups"]
        assert row["shown"] == first + [item for item in neutral[user]["shown"] if item not in first]
        assert row["sources"][: len(first)] == ["promotion"] * len(first)
        reasons = dict(zip(neutral[user]["shown"], neutral[user]["because_of"], strict=True))
        assert row["because_of"] == [reasons[item] for item in row["shown"]]


def test_a_promotion_is_published_as_one(folder, slates):
    rules = f"[[promotion]]\nitems = ['{UNPROPOSED}']\nslot = 1\n{PERIOD}"
    made = slates(rules)
    found = lineage_under(folder, rules)
    table = found.lake.read("slates", found.resolve("slates").files["slates"])
    assert table.schema.equals(arrow_schema(SLATES))
    packed = dict(slate_entries(table.to_batches(), Keys("ns"), "tag"))
    for user, row in made.items():
        slate = unpack_user(packed[Keys("ns").slate(user, "tag")]).slate
        assert (slate.items, slate.sources, slate.because_of) == (row["items"], row["sources"], row["because_of"])
        assert (slate.sources[0], slate.because_of[0]) == ("promotion", -1)


def test_an_explored_place_draws_a_new_item_by_a_known_chance(slates, neutral):
    explored = slates("[exploration]\nn_slots = 1\nslots = [1]\nnew_days = 14\ntemperature = 0.0\n")
    drawn = set()
    for user, row in explored.items():
        new = [item for item in neutral[user]["shown"] if item in NEW]
        assert sorted(row["shown"]) == sorted(neutral[user]["shown"])
        assert row["propensities"][0] == pytest.approx(1 / max(len(new), 1))
        assert set(row["propensities"][1:]) <= {1.0}
        assert not new or row["shown"][0] in new
        drawn |= {row["shown"][0]} & NEW
    assert drawn == NEW


def test_what_nobody_knows_stands_last_and_an_explored_place_draws_it(slates, neutral):
    """It is of a category everybody has: its reason is one of theirs, and without a place of its own it comes last."""
    behind = slates("", n_new=5)
    explored = slates("[exploration]\nn_slots = 1\nslots = [1]\nnew_days = 365\ntemperature = 0.0\n", n_new=5)
    drawn = set()
    for user, row in behind.items():
        before = neutral[user]
        assert row["shown"] == [*before["shown"], UNPROPOSED]
        reason = row["ids"][row["because_of"][-1]]
        assert (row["sources"][-1], CATEGORY[reason]) == ("content", CATEGORY[UNPROPOSED])
        assert reason in own(("view", "purchase"))[user]
        assert sorted(explored[user]["shown"]) == sorted(row["shown"])
        drawn.add(explored[user]["shown"][0])
    assert UNPROPOSED in drawn


def test_what_is_bought_again_is_proposed_shown_and_not_called_seen(slates, neutral):
    again = slates("[rebuy]\ncategories = ['tea']\nafter_days = 0\n")
    bought, mine, n_shown = own(("purchase",)), own(("view", "purchase")), 0
    for user, row in again.items():
        back = {item for item in bought[user] if CATEGORY[item] == "tea"}
        assert set(row["shown"]) & mine[user] <= back
        assert {row["ids"][k] for k in row["seen"]} == mine[user] - back
        n_shown += len(set(row["shown"]) & back)
    assert n_shown > 0
    for rules in ("categories = ['tea']\nafter_days = 1\n", "categories = ['cups of gold']\nafter_days = 0\n"):
        assert slates(f"[rebuy]\n{rules}") == neutral  # bought seventeen hours ago; no such category


def test_names_nobody_knows_are_told_and_kept(folder, slates, quick):
    rules = f"[[promotion]]\nitems = ['{UNPROPOSED}', 'nix']\nslot = 2\n{PERIOD}[rebuy]\ncategories = ['teas']\n"
    lineage = lineage_under(folder, rules)
    run_step(job("candidates"), lineage, lambda: quick)
    told = "; warning: the business rules name what is no item or category: nix, teas"
    assert run_step(job("slates"), lineage, lambda: quick).endswith(told)
    assert run_step(job("slates"), lineage, no_session).endswith(told)
    assert lineage.resolve("slates").measured["warnings"] == [told.removeprefix("; warning: ")]
