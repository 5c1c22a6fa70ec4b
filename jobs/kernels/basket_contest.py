"""The next basket: our lists for shops that re-buy beside simple ones, where what people have stays in lists and truth.

Truth is every warm item a user took after the cut. Beside it the stricter one of the literature (Li et al. 2023, A Next
Basket Recommendation Reality Check): the next basket alone, what a user took on their first day after the cut.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from jobs.kernels.contest import OURS, PAIRED, SEED, described, of_method, ratio
from jobs.kernels.metrics import judge, ndcg, per_user
from jobs.kernels.peers import DAY_S, Method, Scorer, popularity
from jobs.kernels.protocol import Trial, cells, trial, tuned, tuning_cut
from jobs.kernels.recipe.habits import baskets_of
from jobs.kernels.recipe.past import Past
from jobs.kernels.resample import compare, mean_interval

KS = (10, 20)
POPULAR_DAYS = 30
FILLING = 1e-9  # of popularity beside an own count: it orders equals and fills up
FADING = (*({"days": days} for days in (14, 30, 90, 180)), *({"baskets": n} for n in (1, 2, 3, 6)))


class BasketEntry(NamedTuple):
    """One method: measures of each user, their NDCG@10 by the next basket alone, owned items' share of ten places."""

    name: str
    setting: str
    measures: dict[str, np.ndarray]
    by_basket: np.ndarray
    owned: float


def compete_again(
    user: np.ndarray, item: np.ndarray, time_s: np.ndarray, cut_s: float, asked: np.ndarray, lists: np.ndarray,
    best: Method,
) -> list[BasketEntry]:  # fmt: skip
    """Ours first, then personal frequency, recent popularity and ``best``, the best single method for new items.

    ``lists`` are ours of ``asked``, 20 items each. All are tuned by the protocol on what is taken again too, except
    ``best``, which comes tuned.
    """
    early = time_s < cut_s
    outer = basket_trial(user, item, time_s, cut_s)
    inner = basket_trial(user[early], item[early], time_s[early], tuning_cut(time_s[early]))
    methods = tuned(simple(), inner)
    methods += [best] if best.fit is not popularity else []
    baskets = next_baskets(user, item, time_s, cut_s, outer.truth)
    ours = lists[np.searchsorted(asked, outer.users)]
    return [entry(OURS, "", ours, outer, baskets)] + [
        entry(method.name, described(method), of_method(method, outer), outer, baskets) for method in methods
    ]


def basket_trial(user: np.ndarray, item: np.ndarray, time_s: np.ndarray, cut_s: float) -> Trial:
    """As ``trial``, of what is taken again too; ``known`` is a ``Past``, which tells more than ``Known``."""
    found, early = trial(user, item, time_s, cut_s, again=True), time_s < cut_s
    return replace(found, known=Past(user[early], item[early], time_s[early], *found.truth.shape))


def next_baskets(
    user: np.ndarray, item: np.ndarray, time_s: np.ndarray, cut_s: float, truth: sp.csr_matrix
) -> sp.csr_matrix:
    """The part of ``truth`` that users took on their first UTC day with any of it."""
    late = np.flatnonzero((time_s >= cut_s) & (np.asarray(truth[user, item]).ravel() > 0))
    day = time_s[late] // DAY_S
    first = np.full(truth.shape[0], np.inf)
    np.minimum.at(first, user[late], day)
    kept = late[day == first[user[late]]]
    return cells(user[kept], item[kept], truth.shape)


def simple() -> list[Method]:
    """Each with its settings; the first of a name wins where equal."""
    methods = [Method("own frequency", frequency)]
    methods += [Method("own frequency, fading", frequency, setting) for setting in FADING]
    return methods + [Method("popularity, recent", popularity, {"days": days}) for days in (3, 7, 30, 90)]


def frequency(known: Past, days: float | None = None, baskets: float | None = None) -> Scorer:
    """Baskets of a user with the item, filled up by recent popularity (GP-TopFreq of Li et al. 2023).

    With ``days`` a basket's weight halves by its age, with ``baskets`` by how many came after it (as in TIFU-KNN, Hu
    et al. 2020).
    """
    found = baskets_of(known)
    weight = np.ones(len(found.cell))
    if days is not None:
        weight = np.exp2(-(found.today - found.day) / days)
    if baskets is not None:
        weight = np.exp2(-found.age / baskets)
    counts = np.bincount(found.cell, weight, len(known.cell_key))
    own = sp.csr_matrix((counts, (known.cell_user, known.cell_item)), (known.n_users, known.n_items))
    popular = popularity(known, POPULAR_DAYS)(np.zeros(1, int))
    return lambda users: own[users].toarray() + FILLING * popular / popular.max()


def entry(name: str, setting: str, lists: np.ndarray, outer: Trial, baskets: sp.csr_matrix) -> BasketEntry:
    users = outer.users
    first = lists[:, :10]
    owned = judge(first, outer.known.user_items[users]).hits.sum() / max((first >= 0).sum(), 1)
    by_basket = ndcg(judge(lists, baskets[users]), 10)
    return BasketEntry(name, setting, per_user(lists, outer.truth[users], KS), by_basket, float(owned))


def table_again(entries: list[BasketEntry]) -> Iterator[str]:
    """Lines: each method with its means, and ours over its by NDCG@10 with the paired 95 % interval."""
    ours = entries[0]
    yield f"next basket: {len(ours.by_basket):,} users; what they have stays in lists and truth"
    yield f"{'':<22}{PAIRED:>9}{'95 %':>14}{'recall@20':>11}{'hit@10':>8}{'owned@10':>10}{'day 1':>9}   ours / this"
    for one in entries:
        against = "" if one is ours else ratio(compare(ours.measures[PAIRED], one.measures[PAIRED], SEED))
        yield row(one, against)


def row(one: BasketEntry, against: str) -> str:
    around = mean_interval(one.measures[PAIRED], SEED)
    recall, hit = (one.measures[name].mean() for name in ("recall@20", "hit@10"))
    numbers = f"{around.value:>9.4f}{f'{around.low:.3f}-{around.high:.3f}':>14}{recall:>11.4f}{hit:>8.3f}"
    return f"{one.name:<22}{numbers}{one.owned:>10.3f}{one.by_basket.mean():>9.4f}   {against}".rstrip()
