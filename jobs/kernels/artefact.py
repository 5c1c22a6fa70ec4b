"""Did tonight's fit go well? Its ranking and each of its sources, asked for days that were withheld from it.

Three signs of a broken source. *Order*: of two users' own items, does it know whose is whose? Popularity of items and
activity of users cancel out, so shuffled vectors give 0.5, whatever else they still know; of what it was fitted on, a
sound fit orders 0.8 and more rightly. *Level*: are items a user did not take scored far below those they did? A fit of
ratings alone never learns that (0.7 to 1; of implicit feedback 0.3 at most). *Chance*: are its lists on the withheld
day significantly worse than random ones? And the ranking may not be significantly worse than recent popularity.
"""

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from jobs.kernels.compiled import kernel
from jobs.kernels.metrics import judge, ndcg
from jobs.kernels.recipe.candidates import BLOCK_USERS, best_columns, unseen
from jobs.kernels.recipe.describe import ITEM_NAMES
from jobs.kernels.recipe.model import Model
from jobs.kernels.recipe.people import People
from jobs.kernels.recipe.recommend import Recipe, rank
from jobs.kernels.recipe.sources import ByFactors
from jobs.kernels.resample import compare
from jobs.kernels.threads import in_threads

K = 10
LEVEL = 0.98  # of the intervals: their upper bound is exceeded by chance once in a hundred nights
RECENT = ITEM_NAMES.index("popularity_30")
PAIRS = 20_000  # of known cells, in each block of users
FEWEST_USERS = 30  # with something withheld, to compare means of
FEWEST_PAIRS = 300
UNKNOWN_LEVEL = 1.0  # where there is none: scores that are no numbers, or none above 0


@dataclass(frozen=True)
class Signs:
    """Of one source, block by block: pairs ordered rightly, means of scores of own and of other items with how many
    they are of, and its lists.
    """

    right: list[np.ndarray] = field(default_factory=list)
    own: list[tuple[float, int]] = field(default_factory=list)
    other: list[tuple[float, int]] = field(default_factory=list)
    lists: list[np.ndarray] = field(default_factory=list)


def artefact_statistics(
    recipe: Recipe, model: Model, people: People, truth: sp.csr_matrix, seed: int
) -> dict[str, float]:
    """Of all ``people``, at least one; what is new to them and warm on their withheld day is ``truth``, binary
    ``(n_users, n_items)``.

    ``ndcg_recipe``, ``ndcg_popularity``; ``gain_high_recipe``: the upper bound of its mean gain on popularity. For each
    source ``order_…``: see ``ordered``; of one by factors ``level_…``: mean score of items not taken over that of
    items taken (neighbors are no fit of ratings, and where all take much alike theirs is high); ``ndcg_…``;
    ``gain_high_…``: the upper bound of its gain on chance. What there are too few users or pairs to say is left out.
    Cost: as for ranking these users, twice.
    """
    with threadpool_limits(1, "blas"):
        each = in_threads(lambda source: signs_of(source, model.warm, people, seed), model.sources.values())
    signs = dict(zip(model.sources, each, strict=True))
    found = {"n_probes": float(np.sum(np.diff(truth.indptr) > 0))}
    for name, of in signs.items():
        if sum(map(len, of.right)) >= FEWEST_PAIRS:
            found[f"order_{name}"] = float(np.concatenate(of.right).mean())
            if isinstance(model.sources[name], ByFactors):
                found[f"level_{name}"] = level(of)
    if found["n_probes"] < FEWEST_USERS:
        return found
    ours = ndcg(judge(rank(recipe, model, people, np.arange(people.n_users), K)[0], truth), K)
    popular = ndcg(judge(popular_lists(model, people), truth), K)
    found |= {"ndcg_recipe": mean(ours), "ndcg_popularity": mean(popular)}
    found |= {"gain_high_recipe": gain_high(ours, popular, seed)}
    by_chance = chance(people, model.warm, truth)
    for name, of in signs.items():
        values = ndcg(judge(np.concatenate(of.lists), truth), K)
        found |= {f"ndcg_{name}": mean(values), f"gain_high_{name}": gain_high(values, by_chance, seed)}
    return found


def signs_of(source, warm: np.ndarray, people: People, seed: int) -> Signs:
    found, chance_of = Signs(), np.random.default_rng(seed)
    for start in range(0, people.n_users, BLOCK_USERS):
        users = np.arange(start, min(start + BLOCK_USERS, people.n_users))
        scores, own = source.score(people, users).astype(np.float32, copy=False), people.user_items[users]
        user, item = several(own, people.by_time[users], chance_of)
        found.right.append(ordered(scores, own, warm, user, item))
        found.own.append((float(scores[user, item].mean(dtype=np.float64)) if len(user) else 0.0, len(user)))
        shown = unseen(scores, own.nonzero(), warm)
        found.other.append(mean_shown(shown))
        found.lists.append(best_columns(shown, K))
    return found


@kernel
def mean_shown(scores):
    """The mean of those that are not minus infinity, 0 of none, and how many they are."""
    total, n = 0.0, 0
    for user in range(len(scores)):
        for score in scores[user]:
            if score != -np.inf:
                total += score
                n += 1
    return total / max(n, 1), n


@kernel
def deviations(scores, warm):
    """The standard deviation of each row's warm columns, ``(n_users,)``."""
    found, n = np.zeros(len(scores)), max(warm.sum(), 1)
    for user in range(len(scores)):
        total, squares = 0.0, 0.0
        for item in range(len(warm)):
            if warm[item]:
                total += scores[user, item]
        for item in range(len(warm)):
            if warm[item]:
                squares += (scores[user, item] - total / n) ** 2
        found[user] = np.sqrt(squares / n)
    return found


def several(own: sp.csr_matrix, recent: sp.csr_matrix, chance_of: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of random own cells, an even number or none.

    They are drawn by their weights in ``recent``: a source that fades knows less of what a user took long ago. Users
    with a single item are left out: it cannot speak for itself.
    """
    cells = recent.tocoo()
    asked = np.diff(own.indptr)[cells.row] > 1
    user, item, weight = cells.row[asked], cells.col[asked], cells.data[asked].astype(np.float64)
    if not len(user):
        return user, item
    drawn = chance_of.choice(len(user), 2 * min(PAIRS, 2 * len(user)), p=weight / weight.sum())
    return user[drawn], item[drawn]


def ordered(scores: np.ndarray, own: sp.csr_matrix, warm: np.ndarray, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Of pairs of own cells (u, i) and (v, j), i not v's and j not u's: is s_ui + s_vj above s_uj + s_vi?

    1, 0, or 0.5 where equal. The pairs are the first and the second half of ``user`` and ``item``; s are ``scores``
    ``(n_users, n_items)`` over each user's standard deviation on warm items, so that no user outshouts another.
    """
    (u, v), (i, j) = user.reshape(2, -1), item.reshape(2, -1)
    if not len(u):
        return np.empty(0)
    apart = (np.asarray(own[u, j]).ravel() == 0) & (np.asarray(own[v, i]).ravel() == 0)
    u, i, v, j = u[apart], i[apart], v[apart], j[apart]
    scale = np.maximum(deviations(scores, warm), np.finfo(np.float32).tiny)

    def scaled(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return scores[users, items] / scale[users]

    margin = (scaled(u, i) - scaled(v, i)) + (scaled(v, j) - scaled(u, j))  # 0 where both users score alike
    return np.where(margin == 0, 0.5, margin > 0)  # what is no number is not right


def level(signs: Signs) -> float:
    own, other = map(together, (signs.own, signs.other))
    return other / own if own > 0 and np.isfinite(other / own) else UNKNOWN_LEVEL


def together(means: list[tuple[float, int]]) -> float:
    """The mean of all that means are of; NaN where they are of nothing."""
    n = sum(n for _, n in means)
    return sum(mean * n for mean, n in means) / n if n else np.nan


def popular_lists(model: Model, people: People) -> np.ndarray:
    """The most popular items of the last 30 days that are new to each, ``(n_users, K)``."""
    lists = []
    for start in range(0, people.n_users, BLOCK_USERS):
        own = people.user_items[start : start + BLOCK_USERS]
        scores = np.tile(model.items[:, RECENT], (own.shape[0], 1))
        lists.append(best_columns(unseen(scores, own.nonzero(), model.warm), K))
    return np.concatenate(lists)


def chance(people: People, warm: np.ndarray, truth: sp.csr_matrix) -> np.ndarray:
    """The expected NDCG of a random order of the warm items new to each; NaN for users without truth."""
    n_relevant = np.diff(truth.indptr)
    n_new = np.maximum(warm.sum() - people.user_items[:, warm].sum(axis=1).A1, 1)
    gained = (1 / np.log2(np.arange(2, K + 2))).cumsum()  # by a list of so many hits
    shown, best = (gained[np.clip(n, 1, K).astype(int) - 1] for n in (n_new, n_relevant))
    return np.where(n_relevant > 0, n_relevant / n_new * shown / best, np.nan)


def gain_high(ours: np.ndarray, base: np.ndarray, seed: int) -> float:
    return compare(ours, base, seed, level=LEVEL).difference.high


def mean(values: np.ndarray) -> float:
    return float(np.nanmean(values))
