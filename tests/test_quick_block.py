"""Quick candidates against those of dense scores; top lists against a full sort."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp
from dense_block import block

from jobs.kernels.recipe.affinities import Affinities
from jobs.kernels.recipe.block_topk import TILE_ITEMS, TILE_USERS, topk_product
from jobs.kernels.recipe.grid import tried
from jobs.kernels.recipe.model import FAR, N_CANDIDATES, N_RANKED, Model, fit_model, lengths
from jobs.kernels.recipe.past import Past
from jobs.kernels.recipe.people import DAY_S, RECENT_DAYS, People
from jobs.kernels.recipe.quick_block import SLOTS, quick_block
from jobs.kernels.recipe.sources import ByFactors, ByNeighbors

NOTHING = Affinities({}, {})


def quick_of(model: Model, people: People, users: np.ndarray, offset: int, barred: sp.csr_matrix):
    return quick_block(model, people, users, offset, barred, lengths(model))


def sorted_whole(users, items, barred, k: int, above: float) -> tuple[np.ndarray, np.ndarray]:
    """What ``topk_product`` gives, from all scores."""
    scores = users @ items.T
    scores[barred.nonzero()] = -np.inf
    scores[scores <= above] = -np.inf
    scores = np.pad(scores, ((0, 0), (0, k)), constant_values=-np.inf)
    top = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, top, axis=1)
    return np.where(best > -np.inf, top, -1), best


def whole_numbers(rng, *shape: int) -> np.ndarray:
    """Small ones: their products are exact and often equal."""
    return rng.integers(-3, 4, shape).astype(np.float32)


@pytest.mark.parametrize("above", [-np.inf, 0.0])
@pytest.mark.parametrize(
    ("n_users", "n_items", "factors", "k"),
    [
        (1, 1, 1, 1),
        (7, 50, 3, 100),  # fewer than k
        (40, 3 * TILE_ITEMS + 17, 2, 30),  # most scores are equal
        (40, 3 * TILE_ITEMS + 17, 16, 200),
        (TILE_USERS + 3, TILE_ITEMS, 5, 8),
        (3, 0, 4, 5),
        (0, 9, 4, 5),
        (3, 9, 4, 0),
    ],
)
def test_the_best_are_those_of_a_full_sort(n_users, n_items, factors, k, above):
    rng = np.random.default_rng(n_items + k)
    users, items = whole_numbers(rng, n_users, factors), whole_numbers(rng, n_items, factors)
    items[rng.random(n_items) < 0.5] *= 0.125  # short ones: users are done before they come
    users[:1] = 0
    barred = sp.random(n_users, n_items, 0.1, "csr", np.float32, rng)
    codes, scores = topk_product(users, items, barred, k, above)
    expected = sorted_whole(users, items, barred, k, above)
    assert (codes == expected[0]).all()
    assert (scores == expected[1]).all()
    assert (codes.dtype, scores.dtype) == (np.int32, np.float32)


def test_everything_barred_leaves_nothing_and_a_stored_zero_bars_nothing():
    barred = sp.csr_matrix(np.ones((2, 3), np.float32))
    barred.data[4] = 0
    codes, scores = topk_product(np.ones((2, 1)), np.arange(3)[:, None], barred, 2)
    assert codes.tolist() == [[-1, -1], [1, -1]]
    assert scores.tolist() == [[-np.inf, -np.inf], [1, -np.inf]]


def test_a_short_vector_is_not_given_up_too_early():
    """Scores of one user, all positive, in the order of length: the last tile holds one of the best still."""
    items = np.zeros((2 * TILE_ITEMS, 2), np.float32)
    items[:, 1] = np.linspace(2, 1.5, len(items))  # long, and of no use to the user
    items[-1] = (1.4, 0)
    items[:3, 0] = (1.0, 1.2, 1.3)
    codes, _ = topk_product(np.array([[1.0, 0]]), items, sp.csr_matrix((1, len(items)), dtype=np.float32), 2)
    assert codes.tolist() == [[len(items) - 1, 2]]


# the whole block


def people_of(rng, n_users: int, n_items: int, cells: int) -> People:
    """Users whose events are whole half-lives apart, so that histories weigh powers of 2."""
    key = np.unique(rng.integers(0, n_users * n_items, cells))
    user, item = key // n_items, key % n_items
    last = rng.integers(0, 9, len(key)) * RECENT_DAYS * DAY_S
    user_last = np.zeros(n_users)
    np.maximum.at(user_last, user, last)
    return People(user, item, last, np.zeros(n_users), user_last, n_items)


def factors_of(rng, n_users: int, n_items: int, factors: int, most: int) -> ByFactors:
    draw = (rng.integers(-most, most + 1, (n, factors)).astype(np.float32) for n in (n_users, n_items))
    return ByFactors(*draw, {})


def weights_of(rng, n_items: int, density: float, least: int, most: int) -> sp.csr_matrix:
    return sp.random(
        n_items, n_items, density, "csr", np.float32, rng, lambda size: rng.integers(least, most + 1, size)
    )


def world(
    seed: int, n_users: int = 60, n_items: int = 700, cells: int = 900, density: float = 0.3, equal: bool = False
):
    """A model of two sources by factors and three by history, and people some of whom took nothing.

    Every number is a whole one, or over a power of 2, and small enough for float32 to be exact in any order of sums.
    """
    rng = np.random.default_rng(seed)
    people, most = people_of(rng, n_users, n_items, cells), 2 if equal else 1000
    sources = {
        "als": factors_of(rng, n_users, n_items, 8, most),
        "ease": ByNeighbors("all", weights_of(rng, n_items, density, -most, most)),
        "walk": ByNeighbors("all", weights_of(rng, n_items, density / 2, 1, most)),
        "als_fading": factors_of(rng, n_users, n_items, 3, most),
        "baskets": ByNeighbors("time", weights_of(rng, n_items, density / 9, 1, most)),
    }
    warm = rng.random(n_items) < 0.9
    popular = tuple(first[warm[first]] for first in (rng.permutation(n_items)[:n] for n in (500, 130, 20)))
    return Model(0.0, sources, np.zeros((n_items, 0)), popular, warm, NOTHING), people


def alike(model: Model, people: People, users: np.ndarray, barred: sp.csr_matrix) -> int:
    """Compares with dense scores; how many candidates there are."""
    dense = block(model, people, users, 5, barred)
    found = quick_of(model, people, users, 5, barred)
    for part, expected in zip(found, dense, strict=True):
        assert part.shape == expected.shape
        assert part.dtype == expected.dtype
        assert (part == expected).all()
    return len(found[0])


def one_user(weights: sp.csr_matrix, n_owned: int, popular: np.ndarray) -> tuple[Model, People]:
    """Who took the first items, and one source."""
    n_items, first = weights.shape[0], np.arange(n_owned)
    people = People(np.zeros(n_owned, int), first, np.zeros(n_owned), np.zeros(1), np.zeros(1), n_items)
    model = Model(
        0.0, {"ease": ByNeighbors("all", weights)}, np.zeros((n_items, 0)), (popular,), np.ones(n_items, bool), NOTHING
    )
    return model, people


@pytest.mark.parametrize("equal", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("seed", range(4))
def test_candidates_scores_and_places_are_those_of_dense_scores(seed, equal):
    model, people = world(seed, equal=equal)
    users = np.random.default_rng(seed).permutation(people.n_users)[:40]
    assert alike(model, people, users, people.user_items) > 40 * N_CANDIDATES


@pytest.mark.parametrize(
    "shape",
    [
        {"cells": 30},  # most have no history
        {"n_items": 90, "cells": 200},  # fewer items than candidates of one source
        {"n_items": N_RANKED + 30},  # about as many as have places
        {"density": 0.002},  # sources that know of few
        {"density": 0.0},  # ... of nothing
        {"n_users": 1, "n_items": 1, "cells": 1},
        {"n_users": 300, "n_items": 3000, "cells": 9000, "density": 0.02},
    ],
    ids=str,
)
@pytest.mark.parametrize("equal", [False, True], ids=["distinct", "ties"])
def test_small_and_empty_worlds(shape, equal):
    model, people = world(9, **shape, equal=equal)
    alike(model, people, np.arange(people.n_users), people.user_items)


def test_negative_weights_alone_propose_nobody_and_still_score():
    model, people = world(3)
    weights = model.sources["ease"].weights.copy()
    weights.data = -np.abs(weights.data)
    sources = {"ease": ByNeighbors("all", weights)}
    model = Model(0.0, sources, model.items, model.popular, model.warm, NOTHING)
    row, item, columns = quick_of(model, people, np.arange(20), 0, people.user_items)
    assert alike(model, people, np.arange(20), people.user_items) == len(row)
    assert set(item) <= set(np.concatenate(model.popular))
    assert (columns[:, 1] == FAR).all()
    assert (columns[:, 0] < 0).any()


def test_sums_that_cancel_out_are_nobodys():
    """Items 1 and 2 weigh 1 and -1 for item 3, and both weigh for item 4: 3 has 0, is no candidate, and 4 is."""
    weights = sp.csr_matrix(([1, -1, 1, 1, 0], ([1, 2, 1, 2, 2], [3, 3, 4, 4, 5])), (6, 6), dtype=np.float32)
    model, people = one_user(weights, 3, np.array([3]))
    _, item, columns = quick_of(model, people, np.arange(1), 0, people.user_items)
    assert item.tolist() == [3, 4]  # 3 as a popular one
    assert columns.tolist() == [[0, FAR], [1, 0]]


def test_a_weight_of_minus_zero_does_not_count_an_item_twice():
    """Item 5 gets -0 from item 0, and 9 from item 1; with two places it would push item 6 down."""
    weights = sp.csr_matrix(([-0.0, 9, 1], ([0, 1, 1], [5, 5, 6])), (20, 20), dtype=np.float32)
    model, people = one_user(weights, 2, np.array([7]))
    _, item, columns = quick_of(model, people, np.arange(1), 0, people.user_items)
    assert item.tolist() == [5, 6, 7]
    assert columns[:, 1].tolist() == [0, 1, FAR]
    assert alike(model, people, np.arange(1), people.user_items) == 3


def test_a_sample_that_misleads_costs_no_places():
    """Of 400 touched items every fourth, those looked at first, is far above all others: 100, where 200 have places."""
    touched = np.arange(10, 410)
    scores = np.where((touched - 10) % 4 == 0, 1000, 1) + (touched % 7)
    weights = sp.csr_matrix((scores, (np.zeros(400, int), touched)), (2000, 2000), dtype=np.float32)
    model, people = one_user(weights, 1, np.arange(10, 110))
    assert alike(model, people, np.arange(1), people.user_items) > N_CANDIDATES
    _, _, columns = quick_of(model, people, np.arange(1), 0, people.user_items)
    assert columns[:, 1].max() == FAR
    assert ((columns[:, 1] > np.log2(101)) & (columns[:, 1] < np.log2(201))).any()


@pytest.mark.parametrize("kind", [ByFactors, ByNeighbors])
def test_sources_of_one_kind(kind):
    model, people = world(4)
    some = {name: source for name, source in model.sources.items() if isinstance(source, kind)}
    model = Model(0.0, some, model.items, model.popular, model.warm, NOTHING)
    assert alike(model, people, np.arange(30), people.user_items)


def test_more_sources_than_are_compiled_for():
    model, people = world(4)
    more = {f"walk_{k}": model.sources["walk"] for k in range(SLOTS + 1)}
    model = Model(0.0, more, model.items, model.popular, model.warm, NOTHING)
    assert alike(model, people, np.arange(5), people.user_items)


def test_nothing_is_left_where_all_is_barred_and_a_block_may_be_empty():
    model, people = world(5)
    barred = sp.csr_matrix(np.ones((people.n_users, people.n_items), np.float32))
    barred.data[7] = 0  # a stored zero bars nothing
    model = Model(0.0, model.sources, model.items, (np.array([7]),), np.ones(people.n_items, bool), NOTHING)
    row, item, columns = quick_of(model, people, np.arange(3), 40, barred)
    assert (row.tolist(), item.tolist()) == ([40], [7])
    assert columns.shape == (1, 2 * len(model.sources))
    assert alike(model, people, np.arange(3), barred) == 1
    empty = quick_of(model, people, np.arange(0), 0, barred)
    assert [part.shape for part in empty] == [(0,), (0,), (0, 2 * len(model.sources))]


def test_items_laid_out_once_serve_every_block():
    model, people = world(6)
    items = lengths(model)
    assert set(items) == {"als", "als_fading"}
    users = np.arange(10, 30)
    one = quick_block(model, people, users, 0, people.user_items, items)
    for part, again in zip(one, quick_of(model, people, users, 0, people.user_items), strict=True):
        assert (part == again).all()


def test_two_threads_give_what_one_gives():
    model, people = world(7)
    items, starts = lengths(model), range(0, 60, 5)

    def part(start: int) -> np.ndarray:
        return quick_block(model, people, np.arange(start, start + 5), 0, people.user_items, items)[2]

    people.history("time")
    with ThreadPoolExecutor(2) as pool:
        for quick, alone in zip(pool.map(part, starts), map(part, starts), strict=True):
            assert (quick == alone).all()


def test_where_nothing_can_be_kept_it_is_compiled_anew():
    """A place that fits no file of ours stands for a disk that cannot be written."""
    code = (
        "import numpy as np\n"
        "from jobs.kernels.compiled import kernel\n"
        "from jobs.kernels.recipe.block_kernels import score_of, entry\n"
        "print(score_of(entry(np.float32(-2.5), 7)), score_of.stats.cache_path)"
    )
    environment = os.environ | {"NUMBA_CACHE_LOCATOR_CLASSES": "IPythonCacheLocator"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["-2.5", "None"], done.stderr


@pytest.mark.data("movielens-100k")
def test_of_real_fits_only_rounding_differs(data_dir):
    user, item, stars, time_s = np.loadtxt(data_dir / "movielens-100k" / "u.data.gz", dtype=np.int64).T
    liked = stars >= 4
    past = Past(user[liked] - 1, item[liked] - 1, time_s[liked], user.max(), item.max())
    model = fit_model({name: settings[0] for name, settings in tried(past.n_items).items()}, past, past.now)
    users = np.arange(300)
    rows = [found(model, past, users, 0, past.user_items) for found in (block, quick_of)]
    keys = [row * past.n_items + item for row, item, _ in rows]
    dense, quick = (
        columns[np.isin(key, other)] for (_, _, columns), key, other in zip(rows, keys, keys[::-1], strict=True)
    )
    assert len(dense) > 0.9995 * max(map(len, keys))
    np.testing.assert_allclose(quick[:, ::2], dense[:, ::2], rtol=1e-3, atol=1e-4)
    assert (quick[:, 1::2] == dense[:, 1::2]).mean() > 0.999
