"""Which ranking is safe to ship? The richer one only where it held on later cuts than those it learned from."""

from dataclasses import dataclass

import numpy as np

from jobs.kernels.recipe.candidates import Slice
from jobs.kernels.recipe.describe import POPULARITIES
from jobs.kernels.recipe.ranker import Labeled, by_place, fit_rankers, ndcg, predict

FORMS = ("single", "blend", "model")  # from simple to rich
JUDGES = 2  # the latest cuts judge, the others teach
FEWEST_USERS = 30  # whose gain says anything
CERTAINTY = 0.10  # quantile of the mean gain that must be above 0
TOLERATED = 0.01  # share of the single's quality a blend may lose: it is insurance
N_DRAWS = 1_000


@dataclass(frozen=True)
class Choice:
    """The form that ranks, the best single column, and the mean NDCG@10 of every form on each judging cut."""

    form: str
    single: str
    judged: tuple[dict[str, float], ...]


def choose(parts: list[Labeled]) -> Choice:
    """``parts`` by rising cut; with too few of them, or of users, the safest form.

    The judged model learns from earlier cuts, and only from what was taken before the first judging cut.
    """
    early, late = parts[:-JUDGES], parts[-JUDGES:]
    if not early:
        return Choice("single", best_single(parts), ()) if parts else Choice("single", "popularity_30", ())
    single = best_single(early)
    rankers = fit_rankers(early, before_s=late[0][0].cut_s)
    judged = [{form: ndcg(*part, scores_of(form, rankers, single, part[0])) for form in FORMS} for part in late]
    form = richest_that_holds(judged)
    return Choice(form, best_single(parts), tuple({f: float(v.mean()) for f, v in one.items()} for one in judged))


def richest_that_holds(judged: list[dict[str, np.ndarray]]) -> str:
    gains = {form: np.concatenate([one[form] - one["single"] for one in judged]) for form in FORMS[1:]}
    best = max(gains, key=lambda form: gains[form].mean())
    if len(gains[best]) < FEWEST_USERS:
        return "blend"
    if low_mean(gains[best]) > 0:
        return best
    base = np.concatenate([one["single"] for one in judged]).mean()
    return "blend" if gains["blend"].mean() > -TOLERATED * base else "single"


def low_mean(gains: np.ndarray) -> float:
    """The bootstrapped mean gain that is exceeded with 90 % certainty."""
    draws = np.random.default_rng(0)
    means = [gains[draws.integers(0, len(gains), len(gains))].mean() for _ in range(N_DRAWS)]
    return float(np.quantile(means, CERTAINTY))


def best_single(parts: list[Labeled]) -> str:
    """The source or popularity with the best mean share of each cut's best, so that no cut decides alone."""
    singles = (*(name for name in parts[0][0].names if name.startswith("score_")), *POPULARITIES)
    quality = np.array([[ndcg(part, told, part.column(name)).mean() for name in singles] for part, told in parts])
    quality /= np.maximum(quality.max(axis=1, keepdims=True), 1e-12)
    return singles[int(quality.mean(axis=0).argmax())]


def scores_of(form: str, rankers: list, single: str, part: Slice) -> np.ndarray:
    """What the rows are ranked by."""
    if form == "single":
        return part.column(single)
    model = predict(rankers, part)
    return model if form == "model" else by_place(part, model) + by_place(part, part.column(single))
