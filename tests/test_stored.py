"""A recipe and its fit, through the lake's tables and back: the same lists, reasons and people as in memory."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from lake_fixtures import rows

from jobs.kernels.recipe.candidates import Slice, candidates
from jobs.kernels.recipe.choose import FORMS, Choice
from jobs.kernels.recipe.context import N_WORDS, UNKNOWN, Context, Searches
from jobs.kernels.recipe.describe import ITEM_NAMES
from jobs.kernels.recipe.grid import tried
from jobs.kernels.recipe.labels import Events, label, split
from jobs.kernels.recipe.model import FAR, POPULAR_DAYS, fit_model
from jobs.kernels.recipe.people import DAY_S
from jobs.kernels.recipe.ranker import fit_rankers, order
from jobs.kernels.recipe.reasons import NOBODY, speakers
from jobs.kernels.recipe.recommend import LEAST, Best, Recipe, first, scaled
from jobs.kernels.recipe.stored import Stored, from_row, load_model, people_of, to_row, to_tables
from schemas.arrow import arrow_schema
from schemas.tables import RECIPE, TABLES

N_USERS, N_ITEMS, COLD = 40, 45, {7, 30}  # what is cold was taken by nobody: codes of the stored model differ
FITTED = ("user_factors", "item_factors", "item_weights", "item_features")
USER_IDS = np.array([f"u{user:02}" for user in range(N_USERS)])
ITEM_IDX = np.arange(N_ITEMS) * 3 + 1  # as they stand in the dictionary


def taken() -> Events:
    """Three crowds, each with a third of the catalogue, over sixty days of whole seconds."""
    random, told = np.random.default_rng(0), []
    warm = [item for item in range(N_ITEMS) if item not in COLD]
    for user in range(N_USERS):
        own = random.permutation([item for item in warm if item % 3 == user % 3])[:9]
        told += [(user, item, day) for item, day in zip(own, np.sort(random.uniform(0, 60, len(own))), strict=True)]
    user, item, day = np.array(told).T
    events = Events(user.astype(np.int32), item.astype(np.int32), np.round(day * DAY_S), N_USERS, N_ITEMS)
    return replace(events, context=context_of_crowds(events))


def context_of_crowds(events: Events) -> Context:
    """Crowds have their devices and categories, people search for words of their own, one item has no price."""
    n = len(events.user)
    price = np.where(events.item == 3, np.nan, 1.0 + events.item)
    words = sp.random(N_ITEMS + N_USERS, N_WORDS, 0.1, "csr", random_state=4)
    searches = Searches(np.arange(N_USERS), np.linspace(0, 60, N_USERS) * DAY_S, words[N_ITEMS:])
    circumstances = {"device": events.user % 3, "country": np.arange(n) % 2 - 1}
    category = np.where(np.arange(N_ITEMS) == 4, UNKNOWN, np.arange(N_ITEMS) % 3)
    return Context(circumstances, price, category, words[:N_ITEMS], searches)


@pytest.fixture(scope="module")
def learned() -> Recipe:
    """Every source of the grid and a model of what followed day 36."""
    chosen = {name: tries[0] for name, tries in tried(N_ITEMS).items()}
    past, future = split(taken(), 36 * DAY_S)
    part = candidates(fit_model(chosen, past, past.now), past, np.arange(N_USERS))
    rankers = fit_rankers([(part, label(part, future))])
    return Recipe(chosen, Choice("model", "score_ease", ()), rankers)


@pytest.fixture(scope="module")
def past():
    return split(taken(), np.inf)[0]


@pytest.fixture(scope="module")
def model(learned, past):
    return fit_model(learned.chosen, past, past.now)


@pytest.fixture(scope="module")
def tables(model):
    return to_tables(model, USER_IDS, ITEM_IDX)


def formed(recipe: Recipe, form: str) -> Recipe:
    return replace(recipe, choice=replace(recipe.choice, form=form))


def test_a_recipe_comes_back_as_it_was(learned):
    row = to_row(learned)
    rows("recipe", row).validate(full=True)
    assert set(row) == set(RECIPE.names)
    again = from_row(row)
    assert again.chosen == learned.chosen
    assert (again.choice.form, again.choice.single) == ("model", "score_ease")
    assert str(again) == str(learned) == row["description"]
    assert to_row(again) == row
    some = np.random.default_rng(1).normal(size=(50, learned.rankers[0].n_features))
    assert len(again.rankers) == len(learned.rankers) == 3
    for ours, theirs in zip(again.rankers, learned.rankers, strict=True):
        assert ours.predict(some).tolist() == theirs.predict(some).tolist()
        assert np.ptp(ours.predict(some)) > 0


def test_tables_hold_warm_items_only_and_fit_their_schemas(model, tables):
    warm = [int(ITEM_IDX[item]) for item in range(N_ITEMS) if item not in COLD]
    for name in FITTED:
        assert tables[name].schema.equals(arrow_schema(TABLES[name]))
    assert tables["item_features"]["item_idx"].to_pylist() == warm
    for name in ("item_factors", "item_weights"):
        found = tables[name].to_pylist()
        assert {row["item_idx"] for row in found} == set(warm)
        assert len(found) == len(warm) * len({row["source"] for row in found})
    features = np.array(tables["item_features"]["vector"].to_pylist(), np.float32)
    assert np.array_equal(features, model.items[sorted(set(range(N_ITEMS)) - COLD)])
    assert features.shape[1] == len(ITEM_NAMES)


def loaded(recipe: Recipe, tables, shuffled: bool = False) -> Stored:
    random = np.random.default_rng(2)
    mixed = {name: table.take(random.permutation(table.num_rows)) for name, table in tables.items()}
    return load_model(recipe, mixed if shuffled else tables)


def with_everybody(stored: Stored, tables):
    found = {name: np.zeros((N_USERS, stored.width(name)), np.float32) for name in stored.by_vector}
    for row in tables["user_factors"].to_pylist():
        found[row["source"]][int(row["user_id"][1:])] = row["vector"]
    return stored.with_users(found)


def people_in(stored: Stored):
    """Everybody's cells, in no order, as the job candidates reads them."""
    events, order = taken(), np.random.default_rng(3).permutation(len(taken().user))
    micro = (events.time_s * 1e6).astype(np.int64)[order]
    return people_of(events.user[order], ITEM_IDX[events.item[order]], micro, micro, N_USERS, stored)


@pytest.mark.parametrize("form", ["fused", *FORMS])
@pytest.mark.parametrize("shuffled", [False, True])
def test_the_stored_fit_gives_the_lists_of_the_one_in_memory(learned, past, model, tables, form, shuffled):
    recipe, users = formed(learned, form), np.arange(N_USERS)
    wanted = first(recipe, model, past, users, 12)
    stored = loaded(from_row(to_row(recipe)), tables, shuffled)
    found = first(from_row(to_row(recipe)), with_everybody(stored, tables), people_in(stored), users, 12)
    assert len(found.user) == 12 * N_USERS
    assert stored.item_idx[found.item].tolist() == ITEM_IDX[wanted.item].tolist()
    for name in ("user", "place", "speaker"):
        assert getattr(found, name).tolist() == getattr(wanted, name).tolist(), name
    because, meant = (
        np.append(items, NOBODY)[best.reason] for items, best in ((stored.item_idx, found), (ITEM_IDX, wanted))
    )
    assert because.tolist() == meant.tolist()
    np.testing.assert_allclose(found.score, wanted.score, atol=1e-6)


def test_forms_differ(learned, past, model):
    """Or the test above would say little."""
    lists = {form: first(formed(learned, form), model, past, np.arange(N_USERS), 12).item for form in ("fused", *FORMS)}
    assert len({items.tobytes() for items in lists.values()}) == 4


def test_a_source_that_ranks_alone_orders_as_it_would_all_candidates(learned, past, model):
    """It is what speaks for them; where it has nothing to say popularity fills up."""
    users = np.arange(N_USERS)
    part = candidates(model, past, users)
    for place, name in enumerate(model.sources):
        alone = replace(learned, choice=Choice("single", f"score_{name}", ()))
        found = first(alone, model, past, users, 8)
        values = part.column(f"score_{name}")
        rows, places = order(part, values)
        wanted = {(part.user[row], at): row for row, at in zip(rows, places, strict=True)}
        rows = [wanted[key] for key in zip(found.user, found.place, strict=True)]
        said = values[rows] > 0
        assert part.item[rows][said].tolist() == found.item[said].tolist(), name
        assert set(found.speaker[said]) == {place}
        assert len(found.user) == 8 * N_USERS


def test_popular_items_are_those_of_the_fit(learned, model, tables):
    stored = loaded(learned, tables)
    for ours, theirs in zip(stored.model.popular, model.popular, strict=True):
        assert stored.item_idx[ours].tolist() == ITEM_IDX[theirs].tolist()
    assert len(stored.model.popular) == len(POPULAR_DAYS)
    assert stored.model.cut_s == model.cut_s


def test_who_is_not_given_vectors_keeps_none(learned, tables):
    stored = loaded(learned, tables)
    assert stored.by_factors == ("als", "als_fading")
    assert stored.by_vector == ("als", "als_fading", "device", "hour", "search")  # one country only is known
    assert (stored.width("als"), stored.width("device"), stored.width("search")) == (32, 3, N_WORDS)
    only = stored.with_users({"als": np.ones((1, 32), np.float32)})
    assert [len(only.sources[name].users) for name in stored.by_factors] == [1, 0]


def test_an_empty_fit_is_a_model_of_nothing(learned):
    stored = load_model(learned, {name: arrow_schema(TABLES[name]).empty_table() for name in FITTED})
    assert (len(stored.item_idx), stored.model.items.shape) == (0, (0, len(ITEM_NAMES)))
    assert list(stored.model.sources) == list(learned.chosen)
    assert stored.codes(np.array([0, 5])).tolist() == [-1, -1]


def test_codes_are_places_and_what_is_unknown_has_none(learned, tables):
    stored = loaded(learned, tables)
    asked = np.array([1, 4, 22, 25, 133, 134, 0])  # 22 is item 7, cold; 133 the last
    assert stored.codes(asked).tolist() == [0, 1, -1, 7, len(stored.item_idx) - 1, -1, -1]


def test_people_are_their_known_cells(learned, tables):
    stored = loaded(learned, tables)
    user, item_idx = np.array([2, 0, 2, 1, 0]), np.array([4, 25, 1, 22, 1])
    first_us, last_us = (np.array(values, np.int64) * 1_000_000 for values in ([5, 3, 2, 9, 1], [6, 4, 2, 9, 8]))
    people = people_of(user, item_idx, first_us, last_us, 4, stored)
    assert people.cell_user.tolist() == [0, 0, 2, 2]  # user 1 has only what is unknown, user 3 nothing
    assert people.cell_item.tolist() == [0, 7, 0, 1]
    assert people.cell_last.tolist() == [8, 4, 2, 6]
    assert people.user_first.tolist() == [1, np.inf, 2, np.inf]
    assert people.user_last.tolist() == [8, -np.inf, 6, -np.inf]
    assert (people.n_users, people.n_items) == (4, len(stored.item_idx))


# what stands beside a list


def test_who_places_an_item_highest_speaks_for_it():
    """Of equals the first source; where no source placed it, nobody does."""
    places = [(1.0, 2.0), (3.0, 0.0), (1.0, 1.0), (FAR, 5.0), (FAR, FAR)]
    features = np.array([(0.0, one, 0.0, other, 9.0) for one, other in places], np.float32)
    names = ("score_a", "place_a", "score_b", "place_b", "item_age")
    part = Slice(0.0, np.array([0]), np.zeros(5, int), np.arange(5), features, names)
    assert speakers(part, 2).tolist() == [0, 1, 0, 1, NOBODY]


def test_scores_run_from_one_to_the_least_within_a_user():
    values, user = np.array([3.0, 1.0, 2.0, 7.0, 7.0, -5.0]), np.array([0, 0, 0, 1, 1, 2])
    assert scaled(values, user, 4) == pytest.approx([1, LEAST, (1 + LEAST) / 2, 1, 1, 1])
    assert LEAST > 0  # or the rules could neither boost nor draw the last


def test_what_is_barred_never_comes_out_whatever_was_taken(learned, past, model):
    """Barred items replace what was taken: with an empty matrix even that comes back."""
    users = np.arange(N_USERS)
    mine = set(zip(past.cell_user.tolist(), past.cell_item.tolist(), strict=True))
    recipe = formed(learned, "fused")
    nothing = sp.csr_matrix((N_USERS, N_ITEMS), dtype=np.float32)
    open_lists = first(recipe, model, past, users, N_ITEMS, nothing)
    assert mine <= shown(open_lists)
    barred = sp.csr_matrix(np.tile(np.arange(N_ITEMS) % 2, (N_USERS, 1)).astype(np.float32))
    found = first(recipe, model, past, users, N_ITEMS, barred)
    assert set(found.item.tolist()) == {item for item in range(N_ITEMS) if item % 2 == 0} - COLD
    assert not mine & shown(first(recipe, model, past, users, N_ITEMS))


def shown(best: Best) -> set[tuple[int, int]]:
    return set(zip(best.user.tolist(), best.item.tolist(), strict=True))
