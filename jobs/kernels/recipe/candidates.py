"""Candidates of users: the best of every source and of popularity, one row each, and what a ranker sees of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from jobs.kernels.compiled import kernel
from jobs.kernels.recipe.affinities import AFFINITY_NAMES, affinities
from jobs.kernels.recipe.describe import ITEM_NAMES, USER_NAMES, describe_users
from jobs.kernels.recipe.model import N_CANDIDATES, N_RANKED, Model, lengths
from jobs.kernels.recipe.people import People
from jobs.kernels.recipe.quick_block import quick_block

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


def candidates(model: Model, people: People, users: np.ndarray, barred: sp.csr_matrix | None = None) -> Slice:
    """All candidates of ``users``: warm items that are not ``barred``.

    ``barred`` is ``(n_users, n_items)``, other than 0 where an item may not be shown; None: what they took already.
    """
    described = describe_users(people, model.items, model.cut_s)
    user, item, scored = proposed(model, people, users, barred, N_CANDIDATES)
    person, thing = described[users[user]], model.items[item]
    ranks = scored[:, 1::2]
    of_user, of_item = USER_NAMES.index, ITEM_NAMES.index
    pairs = (
        person[:, of_user("user_popularity")] - thing[:, of_item("popularity_all")],
        person[:, of_user("user_age")] - thing[:, of_item("item_age")],
        ranks.mean(axis=1),
        ranks.min(axis=1),
    )
    suited = affinities(model.affinities, people, users, user, item)
    features = beside([scored, thing, person, *pairs, suited], len(user))
    return Slice(model.cut_s, users, user, item, features, feature_names(model.sources))


def beside(columns: list[np.ndarray], n_rows: int) -> np.ndarray:
    """As ``np.column_stack``, in float32 from the beginning: in float64 it would take as long as the forest."""
    wide = [column.reshape(n_rows, -1) for column in columns]
    found, at = np.empty((n_rows, sum(column.shape[1] for column in wide)), np.float32), 0
    for column in wide:
        found[:, at : at + column.shape[1]] = column
        at += column.shape[1]
    return found


def of_one(
    name: str, model: Model, people: People, users: np.ndarray, n: int, barred: sp.csr_matrix | None = None
) -> Slice:
    """As ``candidates``, but of one source and popularity, ``n`` of each (at most ``N_RANKED``): what that one says."""
    lengths_of_one = {name: found} if (found := (model.by_length or lengths(model)).get(name)) else {}
    alone = replace(model, sources={name: model.sources[name]}, by_length=lengths_of_one)
    user, item, scored = proposed(alone, people, users, barred, min(n, N_RANKED))
    return Slice(model.cut_s, users, user, item, scored, scored_names((name,)))


def proposed(
    model: Model, people: People, users: np.ndarray, barred: sp.csr_matrix | None, n_each: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``quick_block`` of all users."""
    barred = people.user_items if barred is None else barred
    items = lengths(model) if model.by_length is None else model.by_length
    starts = range(0, len(users), BLOCK_USERS)
    parts = [quick_block(model, people, users[at : at + BLOCK_USERS], at, barred, items, n_each) for at in starts]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def feature_names(sources: Mapping[str, object]) -> tuple[str, ...]:
    """In the order of the columns."""
    return (*scored_names(sources), *ITEM_NAMES, *USER_NAMES, *PAIR_NAMES, *AFFINITY_NAMES)


def scored_names(sources: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{what}_{name}" for name in sources for what in ("score", "place"))


def unseen(scores: np.ndarray, owned: tuple[np.ndarray, np.ndarray], warm: np.ndarray) -> np.ndarray:
    """Minus infinity for what a user has and for what nobody had before the cut."""
    scores = scores.astype(np.float32)
    scores[owned] = -np.inf
    scores[:, ~warm] = -np.inf
    return scores


def best_columns(scores: np.ndarray, n: int) -> np.ndarray:
    """The ``n`` highest columns of each row, highest first; of equals the lower column first."""
    found = np.empty((len(scores), min(n, scores.shape[1])), np.int64)
    fill_best(np.ascontiguousarray(scores), found)
    return found


@kernel
def fill_best(scores, found):
    """Row by row one pass: most columns are below the worst of those kept so far."""
    n = found.shape[1]
    best = np.empty(n, scores.dtype)
    for row in range(len(scores)):
        size = 0
        for column in range(scores.shape[1] if n else 0):
            value = scores[row, column]
            if size == n and not value > best[n - 1]:
                continue
            place = size if size < n else n - 1
            size = min(size + 1, n)
            while place > 0 and value > best[place - 1]:
                best[place], found[row, place] = best[place - 1], found[row, place - 1]
                place -= 1
            best[place], found[row, place] = value, column
