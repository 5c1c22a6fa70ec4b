"""Which ranking is safe to ship? The richer one only where it held on later cuts than those it learned from."""

from dataclasses import dataclass

import numpy as np

from jobs.kernels.recipe.candidates import Slice
from jobs.kernels.recipe.describe import POPULARITIES
from jobs.kernels.recipe.labels import from_afar
from jobs.kernels.recipe.model import N_RANKED
from jobs.kernels.recipe.ranker import MONOTONE, Labeled, by_place, fit_rankers, ndcg, predict

FORMS = ("single", "blend", "model")  # from simple to rich; "fused" where there is too little to choose from
LEARNED = FORMS[1:]
JUDGES = 2  # the latest cuts judge, the others teach
FAR = ((0, 2), (1, 3))  # a cut, and the cut from which on what was taken counts, to see it from afar
SINGLE_SHARE = 0.5  # of the single's places beside the model's in a blend
UNLEARNED = "popularity_30"
RANK_CONSTANT = 20.0  # of reciprocal rank fusion
LATE = 1_000.0  # what popularity adds to a fusion is less than any place in a source adds
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
    """``parts`` by rising cut; with too few of them, or of users, what is simple.

    The judged model learns from earlier cuts, and only from what was taken before the first judging cut. The judges are
    the latest cuts, and the last of the earlier ones seen from afar.
    """
    if len(parts) <= JUDGES:
        return Choice("fused", UNLEARNED, ())
    early, late = parts[:-JUDGES], parts[-JUDGES:]
    single = best_single(with_far_views(early))
    rankers = fit_rankers(with_far_views(early), before_s=late[0][0].cut_s, members=(MONOTONE,))
    if not rankers:
        return Choice("fused", UNLEARNED, ())
    judges = [*late, from_afar(*early[-1], late[1][0].cut_s)]
    judged = [{form: ndcg(*part, scores_of(form, rankers, single, part[0])) for form in FORMS} for part in judges]
    means = tuple({form: float(values.mean()) for form, values in one.items()} for one in judged)
    return Choice(richest_that_holds(judged), best_single(with_far_views(parts)), means)


def with_far_views(parts: list[Labeled]) -> list[Labeled]:
    """And the first cuts seen from afar: what is recent must not seem to last."""
    far = [(parts[near], parts[start]) for near, start in FAR if start < len(parts)]
    return [*parts, *(from_afar(*near, start[0].cut_s) for near, start in far)]


def richest_that_holds(judged: list[dict[str, np.ndarray]]) -> str:
    gains = {form: np.concatenate([one[form] - one["single"] for one in judged]) for form in FORMS[1:]}
    best = max(gains, key=lambda form: gains[form].mean())
    if len(gains[best]) < FEWEST_USERS:
        return "blend"
    if low_mean(gains[best]) > 0:
        return best
    base = judged[0]["single"].mean()
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
    if form == "fused":
        return fused(part)
    if form == "single":
        return part.column(single)
    model = predict(rankers, part)
    if form == "model":
        return model
    return by_place(part, model) + SINGLE_SHARE * by_place(part, part.column(single))


def fused(part: Slice) -> np.ndarray:
    """Reciprocal rank fusion of the sources (Cormack, Clarke, Büttcher 2009); of equals the more popular first."""
    places = [np.exp2(part.column(name)) - 1 for name in part.names if name.startswith("place_")]
    shares = sum(np.where(place < N_RANKED, 1 / (RANK_CONSTANT + 1 + place), 0) for place in places)
    return shares + 1 / (LATE * (2 + np.exp2(part.column("popularity_rank_30"))))
