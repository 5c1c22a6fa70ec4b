"""The honest protocol: train before a moment, test after it, rank everything, never sample, never split at random.

Warm users and items only; what a user has before the moment is left out of their list and of the truth, unless the
trial is of what is taken ``again``. A method is tuned on the last tenth of the training time and fitted again on all of
it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from jobs.kernels.metrics import judge, ndcg
from jobs.kernels.peers import Known, Method, Scorer

TUNING_SHARE = 0.1
TUNED_FOR = 10  # NDCG at
BLOCK_USERS = 512


@dataclass(frozen=True)
class Trial:
    """What is known at a cut, and what its warm users took after it: ``truth`` is ``(n_users, n_items)``, binary.

    Codes are those of the events that made it, of ``n_users`` and ``n_items``; ``warm_items`` counts items of the
    catalogue, those with an event before the cut. ``again``: what a user has stays in their list and in the truth.
    """

    known: Known
    truth: sp.csr_matrix
    warm_items: int
    again: bool = False

    @property
    def users(self) -> np.ndarray:
        """Those with any truth, rising."""
        return np.flatnonzero(np.diff(self.truth.indptr))


def trial(user: np.ndarray, item: np.ndarray, time_s: np.ndarray, cut_s: float, again: bool = False) -> Trial:
    """Split events, parallel arrays of dense codes and seconds, strictly before and from ``cut_s`` on."""
    shape = (int(user.max()) + 1, int(item.max()) + 1)
    early = time_s < cut_s
    owned = cells(user[early], item[early], shape)
    warm = (np.diff(owned.indptr) > 0)[user] & (np.bincount(item[early], minlength=shape[1]) > 0)[item] & ~early
    later = cells(user[warm], item[warm], shape)
    truth = later if again else (later - later.multiply(owned)).tocsr()
    truth.eliminate_zeros()
    warm_items = int((owned.getnnz(axis=0) > 0).sum())
    return Trial(Known(owned, item[early], time_s[early]), truth, warm_items, again)


def cells(user: np.ndarray, item: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    """1 wherever there is an event."""
    matrix = sp.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape)
    matrix.data[:] = 1
    return matrix


def lists_of(scorer: Scorer, known: Known, users: np.ndarray, n: int, again: bool = False) -> np.ndarray:
    """The ``n`` best items of each user, padded with -1: warm, new to them unless ``again``, ties by lower item."""
    cold = known.user_items.getnnz(axis=0) == 0
    blocks = [np.empty((0, n), np.int64)]
    for start in range(0, len(users), BLOCK_USERS):
        block = users[start : start + BLOCK_USERS]
        scores = np.array(scorer(block), np.float64)
        if not again:
            scores[known.user_items[block].nonzero()] = -np.inf
        scores[:, cold] = -np.inf
        blocks.append(best(scores, n))
    return np.concatenate(blocks)


def best(scores: np.ndarray, n: int) -> np.ndarray:
    """Columns of the ``n`` highest finite scores of each row, highest first, of equals the lower column; else -1."""
    width = min(n, scores.shape[1])
    threshold = -np.partition(-scores, width - 1, axis=1)[:, width - 1 : width]
    lists = np.full((len(scores), n), -1, np.int64)
    for row, (values, least) in enumerate(zip(scores, threshold, strict=True)):
        columns = np.flatnonzero((values >= least) & np.isfinite(values))
        columns = columns[np.argsort(-values[columns], kind="stable")][:n]
        lists[row, : len(columns)] = columns
    return lists


def tuned(methods: Iterable[Method], tuning: Trial) -> list[Method]:
    """Of each name the setting that is best on a trial inside the training time; of equals the first."""
    found: dict[str, tuple[float, Method]] = {}
    for method in methods:
        quality = quality_of(method, tuning)
        if method.name not in found or quality > found[method.name][0]:
            found[method.name] = (quality, method)
    return [method for _, method in found.values()]


def quality_of(method: Method, tuning: Trial) -> float:
    users = tuning.users
    lists = lists_of(method.scorer(tuning.known), tuning.known, users, TUNED_FOR, tuning.again)
    return float(ndcg(judge(lists, tuning.truth[users]), TUNED_FOR).mean()) if len(users) else 0.0


def tuning_cut(time_s: np.ndarray) -> float:
    """The moment that leaves a tenth of the events after it."""
    return float(np.quantile(time_s, 1 - TUNING_SHARE))
