"""Our lists beside every single method's, on the same users and truth, with paired intervals."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jobs.kernels.metrics import per_user
from jobs.kernels.peers import Method, grid
from jobs.kernels.protocol import Trial, lists_of, trial, tuned, tuning_cut
from jobs.kernels.resample import Comparison, compare, mean_interval

N_LISTED = 20
KS = (10, 20)
SEED = 7
OURS = "nightshelf"
PAIRED = "ndcg@10"


class Entry(NamedTuple):
    """One method (None: ours), its measures of each user, and the share of the warm catalogue its lists show."""

    name: str
    method: Method | None
    measures: dict[str, np.ndarray]
    coverage: float


def compete(
    user: np.ndarray, item: np.ndarray, time_s: np.ndarray, cut_s: float, users: np.ndarray, lists: np.ndarray
) -> list[Entry]:
    """Ours first, then every peer, tuned and fitted by the protocol; ``lists`` are ours of ``users``, 20 items each."""
    outer, early = trial(user, item, time_s, cut_s), time_s < cut_s
    inner = trial(user[early], item[early], time_s[early], tuning_cut(time_s[early]))
    ours = lists[np.searchsorted(users, outer.users)]
    entries = [entry(OURS, None, ours, outer)]
    for method in tuned(grid(outer.warm_items), inner):
        entries.append(entry(method.name, method, of_method(method, outer), outer))
    return entries


def of_method(method: Method, outer: Trial) -> np.ndarray:
    return lists_of(method.scorer(outer.known), outer.known, outer.users, N_LISTED, outer.again)


def described(method: Method) -> str:
    return ", ".join(f"{name} {value}" for name, value in method.setting.items() if value is not None)


def entry(name: str, method: Method | None, lists: np.ndarray, outer: Trial) -> Entry:
    truth = outer.truth[outer.users]
    return Entry(name, method, per_user(lists, truth, KS), shown(lists, outer.warm_items))


def shown(lists: np.ndarray, warm_items: int) -> float:
    """Distinct items in the first ten places over the items there are before the cut."""
    first = lists[:, :10]
    return len(np.unique(first[first >= 0])) / warm_items


def table(entries: list[Entry]) -> Iterator[str]:
    """Lines: each method with its means, and ours over its by NDCG@10 with the paired 95 % interval."""
    ours, best = entries[0], best_single(entries)
    n_users = len(ours.measures[PAIRED])
    yield f"{n_users:,} users with something new to them after the cut; intervals are paired, 95 %"
    yield f"{'':<22}{PAIRED:>9}{'95 %':>14}{'recall@20':>11}{'hit@10':>8}{'coverage@10':>13}   ours / this"
    for one in entries:
        against = "" if one is ours else ratio(compare(ours.measures[PAIRED], one.measures[PAIRED], SEED))
        yield row(one, against)
    yield f"best single method: {best.name} ({described(best) or 'no settings'})"


def best_single(entries: list[Entry]) -> Method:
    """The peer with the highest NDCG@10; of equals the first."""
    return max(entries[1:], key=lambda one: one.measures[PAIRED].mean()).method


def row(one: Entry, against: str) -> str:
    around = mean_interval(one.measures[PAIRED], SEED)
    means = [one.measures[name].mean() for name in (PAIRED, "recall@20", "hit@10")]
    interval = f"{around.low:.3f}-{around.high:.3f}"
    numbers = f"{means[0]:>9.4f}{interval:>14}{means[1]:>11.4f}{means[2]:>8.3f}{one.coverage:>13.3f}"
    return f"{one.name:<22}{numbers}   {against}".rstrip()


def ratio(found: Comparison) -> str:
    """Without an interval where a draw of users has nothing to divide by."""
    if np.isnan(found.ratio.high):
        return f"{found.ratio.value:.2f}"
    return f"{found.ratio.value:.2f} ({found.ratio.low:.2f}-{found.ratio.high:.2f})"
