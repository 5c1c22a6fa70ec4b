"""How the methods stand after rolling days: rows of table ``metrics``, day by day and pooled.

Quality (NDCG, recall, ...) is of those who came on a day; pooled, a user counts once, by the mean of their days, so
that intervals are over users. Measures of lists as a whole (coverage, novelty, Gini, churn, ...) are of a panel of
known users, the same every day: pooled they are means over the days, without an interval. Sources that rank alone are
measured by their quality over all warm users, and compared with nothing.
"""

from collections.abc import Container, Iterator, Sequence

import numpy as np
import scipy.sparse as sp

from jobs.kernels.metrics import churn, coverage, empty_rate, exposure_gini, fill, novelty, per_user
from jobs.kernels.recipe.people import DAY_S
from jobs.kernels.resample import compare, mean_interval
from jobs.kernels.rolling import LIVE, POPULAR, RECIPE, SOURCE, Day, Tested
from jobs.kernels.segments import NAMES

KS = (10, 20)
PAIRED = ("ndcg@10", "recall@20")
POOLED, ALL, NEW_ITEMS = "pooled", "all", "new_items"
N_DRAWS = 1_000

Measured = dict[tuple[str, str, str], tuple[np.ndarray, np.ndarray]]  # method, segment, measure: users and values


def standings(days: Sequence[Day], seed: int) -> list[dict]:
    """Rows by the columns of ``metrics``; none without days.

    ``all`` are the warm users; ``cold`` ones are only popularity's to serve; ``new_items`` is the warm users' truth on
    items first seen in the ``NEW_DAYS`` before the cut. ``truth_share``: the segment's share of all cells of truth.
    """
    if not days:
        return []
    rows = []
    for before, day in zip([None, *days], days, strict=False):
        rows += means(str(np.datetime64(int(day.cut_s), "s"))[:10], [day])
        rows += shown(day, before)
    return [*rows, *means(POOLED, days, seed), *pooled(rows), *differences(days, seed)]


def means(cut: str, days: Sequence[Day], seed: int | None = None) -> list[dict]:
    """Of every method, segment and measure of quality, with intervals where there is a seed; and shares of truth."""
    rows = shares(cut, days)
    for (method, segment, measure), (users, values) in measured(days).items():
        low, high = (None, None)
        if seed is not None:
            around = mean_interval(values, seed, N_DRAWS)
            low, high = around.low, around.high
        rows.append(row(cut, method, measure, segment, float(values.mean()), len(users), low=low, high=high))
    return rows


def row(
    cut: str,
    method: str,
    measure: str,
    segment: str,
    value: float,
    n_users: int,
    against: str | None = None,
    low: float | None = None,
    high: float | None = None,
) -> dict:
    named = {"cut": cut, "method": method, "against": against, "measure": measure, "segment": segment}
    return named | {"value": value, "low": low, "high": high, "n_users": n_users}


def measured(days: Sequence[Day], methods: Container[str] | None = None) -> Measured:
    """A user's mean over the days they were tested on, in each segment they were in then; users rise.

    Of these ``methods``; None: of all.
    """
    found: dict[tuple[str, str, str], list] = {}
    for day in days:
        for method, segment, users, values in of_day(day, methods):
            for measure, of_users in values.items():
                found.setdefault((method, segment, measure), []).append((users, of_users))
    return {name: by_user(*map(np.concatenate, zip(*parts, strict=True))) for name, parts in found.items()}


def of_day(day: Day, methods: Container[str] | None) -> Iterator[tuple[str, str, np.ndarray, dict[str, np.ndarray]]]:
    """Method, segment, its users and each measure's value of each of them; segments without users are left out."""
    for tested in (day.warm, day.cold):
        for method in (name for name in tested.lists if methods is None or name in methods):
            for segment, keep, values in of_segments(tested, method, day.is_new):
                if keep.any():
                    yield method, segment, tested.users[keep], {name: of[keep] for name, of in values.items()}


def of_segments(tested: Tested, method: str, is_new: np.ndarray) -> Iterator[tuple[str, np.ndarray, dict]]:
    lists = tested.lists[method]
    values = per_user(lists, tested.truth, KS)
    warm = tested.segment > 0
    yield ALL, warm, values
    if method.startswith(SOURCE):
        return
    for number, name in enumerate(NAMES):
        yield name, tested.segment == number, values
    on_new = sp.csr_matrix(tested.truth @ sp.diags(is_new.astype(np.float32)))
    on_new.eliminate_zeros()
    yield NEW_ITEMS, warm & (np.diff(on_new.indptr) > 0), per_user(lists, on_new, KS)


def by_user(users: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct users and the mean of each one's values."""
    found, at = np.unique(users, return_inverse=True)
    return found, np.bincount(at, values) / np.bincount(at)


def differences(days: Sequence[Day], seed: int) -> list[dict]:
    """The recipe's mean minus the baseline's and the live one's, of the same users on the same days."""
    rows = []
    for against in (POPULAR, LIVE):
        both = measured([day for day in days if against in day.warm.lists], (RECIPE, against))
        ours = [name for name in both if name[0] == RECIPE and name[2] in PAIRED]
        for _, segment, measure in ours:
            users, values = both[RECIPE, segment, measure]
            found = compare(values, both[against, segment, measure][1], seed).difference
            told = (RECIPE, measure, segment, found.value, len(users), against, found.low, found.high)
            rows.append(row(POOLED, *told))
    return rows


def shares(cut: str, days: Sequence[Day]) -> list[dict]:
    """How much of the truth is each segment's: of the cold users', no list made from a history can have any."""
    users, segment = (np.concatenate([getattr(day, name) for day in days]) for name in ("truth_user", "truth_segment"))
    return [
        row(cut, POPULAR, "truth_share", name, float(np.mean(segment == k)), len(np.unique(users[segment == k])))
        for k, name in enumerate(NAMES)
    ]


def shown(day: Day, before: Day | None) -> list[dict]:
    """What the panel sees; churn against the day tested before, if that was yesterday."""
    cut, known = str(np.datetime64(int(day.cut_s), "s"))[:10], day.n_train > 0
    adjacent = before is not None and day.cut_s - before.cut_s == DAY_S
    code = np.cumsum(known) - 1  # the catalogue is what was known before the cut
    rows = []
    for method, lists in day.panel.items():
        own, n_train = np.where(lists >= 0, code[lists], -1), day.n_train[known]
        values = {"empty_rate": empty_rate(own)}
        for k in KS:
            values[f"coverage@{k}"] = coverage(own, k, len(n_train))
            values[f"novelty@{k}"] = novelty(own, k, n_train)
            values[f"gini@{k}"] = exposure_gini(own, k, len(n_train))
            values[f"fill@{k}"] = fill(own, k)
            if adjacent and method in before.panel:
                values[f"churn@{k}"] = churn(before.panel[method], lists, k)
        rows += [row(cut, method, name, ALL, value, len(own)) for name, value in values.items() if value == value]
    return rows


def pooled(rows: list[dict]) -> list[dict]:
    """Means over the days of what the panel was shown."""
    found: dict[tuple[str, str], list[dict]] = {}
    for one in rows:
        if one["measure"].partition("@")[0] in ("empty_rate", "coverage", "novelty", "gini", "fill", "churn"):
            found.setdefault((one["method"], one["measure"]), []).append(one)
    return [
        row(POOLED, *name, ALL, float(np.mean([one["value"] for one in parts])), parts[0]["n_users"])
        for name, parts in found.items()
    ]
