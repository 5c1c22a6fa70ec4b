"""Candidates of users: the best of every source and of popularity, one row each, and what a ranker sees of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from jobs.kernels.recipe.affinities import AFFINITY_NAMES, Vectors, affinities
from jobs.kernels.recipe.describe import ITEM_NAMES, USER_NAMES, describe_items, describe_users
from jobs.kernels.recipe.past import Past
from jobs.kernels.recipe.people import People

N_CANDIDATES = 100  # of each source
N_RANKED = 200  # places of a source whose rank is a feature; beyond, it is FAR
FAR = 8.0  # about log2 of 1 + N_RANKED
POPULAR_DAYS = (3, 30, None)  # half-lives of the popularities that propose
BLOCK_USERS = 256
PAIR_NAMES = ("popularity_of_user_minus_item", "age_of_user_minus_item", "rank_mean", "rank_best")


@dataclass(frozen=True)
class Slice:
    """Rows by user, then item: ``user`` is a position in ``users``, ``features`` ``(n_rows, n_features)`` float32."""

    cut_s: float
    users: np.ndarray
    user: np.ndarray
    item: np.ndarray
    features: np.ndarray
    names: tuple[str, ...]

    def column(self, name: str) -> np.ndarray:
        return self.features[:, self.names.index(name)].astype(np.float64)


@dataclass(frozen=True)
class Model:
    """All that was fitted at a cut, for scoring anybody: item tables are ``(n_items, …)``."""

    cut_s: float
    sources: Mapping[str, object]
    items: np.ndarray
    popular: tuple[np.ndarray, ...]  # item codes, most popular first
    warm: np.ndarray  # bool: somebody took it before the cut
    affinities: Vectors


def fit_model(
    chosen: Mapping[str, object], past: Past, cut_s: float, fitted: Mapping[str, object] | None = None
) -> Model:
    """Every chosen source (name to setting), fitted unless it is in ``fitted`` already, and the items described."""
    sources = {name: (fitted or {}).get(name) or setting.on(past) for name, setting in chosen.items()}
    warm = past.item_users > 0
    popular = tuple(most_popular(past.popularity(days), warm) for days in POPULAR_DAYS)
    return Model(cut_s, sources, describe_items(past), popular, warm, past.item_affinities)


def most_popular(popularity: np.ndarray, warm: np.ndarray) -> np.ndarray:
    """Enough warm items, the most popular first, that most users find ``N_CANDIDATES`` new ones among them."""
    first = np.argsort(-popularity, kind="stable")[: 5 * N_CANDIDATES]
    return first[warm[first]]


def candidates(model: Model, people: People, users: np.ndarray, barred: sp.csr_matrix | None = None) -> Slice:
    """All candidates of ``users``: warm items that are not ``barred``; cost is users times items for each source.

    ``barred`` is ``(n_users, n_items)``, other than 0 where an item may not be shown; None: what they took already.
    """
    described = describe_users(people, model.items, model.cut_s)
    barred = people.user_items if barred is None else barred
    starts = range(0, len(users), BLOCK_USERS)
    parts = [block(model, people, users[at : at + BLOCK_USERS], at, barred) for at in starts]
    user, item, scored = (np.concatenate(column) for column in zip(*parts, strict=True))
    person, thing = described[users[user]], model.items[item]
    ranks = scored[:, 1::2]
    of_user, of_item = USER_NAMES.index, ITEM_NAMES.index
    pairs = (
        person[:, of_user("user_popularity")] - thing[:, of_item("popularity_all")],
        person[:, of_user("user_age")] - thing[:, of_item("item_age")],
        ranks.mean(axis=1),
        ranks.min(axis=1),
    )
    suited = affinities(people.affinities, model.affinities, people, users, user, item)
    features = np.column_stack([scored, thing, person, *pairs, suited]).astype(np.float32)
    return Slice(model.cut_s, users, user, item, features, feature_names(model.sources))


def feature_names(sources: Mapping[str, object]) -> tuple[str, ...]:
    """In the order of the columns."""
    scored = [f"{what}_{name}" for name in sources for what in ("score", "place")]
    return (*scored, *ITEM_NAMES, *USER_NAMES, *PAIR_NAMES, *AFFINITY_NAMES)


def block(
    model: Model, people: People, users: np.ndarray, offset: int, barred: sp.csr_matrix
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions of users, items, and for each source its score over the user's best and the log of its rank."""
    taken = np.zeros((len(users), people.n_items), bool)
    out = barred[users].nonzero()
    scored = [ranked(unseen(source.score(people, users), out, model.warm), taken) for source in model.sources.values()]
    for first in model.popular:
        new = barred[users][:, first].toarray() == 0
        taken[:, first] |= new & (np.cumsum(new, axis=1) <= N_CANDIDATES)
    row, item = taken.nonzero()
    columns = [column for score, rank in scored for column in (score[row, item], rank[row, item])]
    return row + offset, item, np.column_stack(columns)


def unseen(scores: np.ndarray, owned: tuple[np.ndarray, np.ndarray], warm: np.ndarray) -> np.ndarray:
    """Minus infinity for what a user has and for what nobody had before the cut."""
    scores = scores.astype(np.float32)
    scores[owned] = -np.inf
    scores[:, ~warm] = -np.inf
    return scores


def ranked(scores: np.ndarray, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores over the row's best, log2 of 1 + place; marks the first with a score above 0 in ``taken``."""
    top = best_columns(scores, N_RANKED)
    values = np.take_along_axis(scores, top, axis=1)
    ranks = np.full(scores.shape, FAR, np.float32)
    places = np.log2(1 + np.arange(top.shape[1], dtype=np.float32))
    np.put_along_axis(ranks, top, np.where(values > 0, places, FAR), axis=1)
    first = top[:, :N_CANDIDATES]
    already = np.take_along_axis(taken, first, axis=1)
    np.put_along_axis(taken, first, already | (values[:, :N_CANDIDATES] > 0), axis=1)
    return scores / np.maximum(values[:, :1], 1e-9), ranks


def best_columns(scores: np.ndarray, n: int) -> np.ndarray:
    """The ``n`` highest columns of each row, highest first; of equals the lower column first."""
    n = min(n, scores.shape[1])
    found = np.sort(np.argpartition(-scores, n - 1, axis=1)[:, :n], axis=1)
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)
