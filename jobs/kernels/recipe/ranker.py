"""The light ranking model over candidates: a few small LightGBM rankers whose standardised outputs are averaged."""

from collections.abc import Iterable

import numpy as np

from jobs.kernels.compiled import kernel
from jobs.kernels.grouping import begins_of, compiled_for, settle
from jobs.kernels.recipe.block_kernels import LAST_CODE
from jobs.kernels.recipe.block_topk import entries_of
from jobs.kernels.recipe.candidates import Slice
from jobs.kernels.recipe.forest import Forest, read_forest
from jobs.kernels.recipe.labels import Labels

Labeled = tuple[Slice, Labels]
ROUNDS = 100
NEGATIVES = 40  # rows a user trains with beside what they took
ORDER_SHIFT = 10.0
OPTIONS = {
    "objective": "lambdarank",
    "learning_rate": 0.06,
    "num_leaves": 7,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5,
    "lambdarank_truncation_level": 20,
    "label_gain": [0, 1],
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}
MONOTONE = {"seed": 7, "monotone": True}  # never falls with a source's score, never rises with its place
MEMBERS = ({"seed": 1}, MONOTONE, {"seed": 3, "lambdarank_truncation_level": 30})


def fit_rankers(parts: Iterable[Labeled], before_s: float = np.inf, members: Iterable[dict] = MEMBERS) -> list[Forest]:
    """One model for each member; only what was taken before ``before_s`` counts as taken. None where nothing was."""
    import lightgbm as lgb

    parts = list(parts)
    rows, taken, sizes = training_rows(parts, before_s)
    forests = []
    for own in members if len(rows) else ():
        options = OPTIONS | {name: value for name, value in own.items() if name != "monotone"}
        if own.get("monotone"):
            options["monotone_constraints"] = directions(parts[0][0].names)
        data = lgb.Dataset(rows, taken, group=sizes, params={"verbose": -1})
        forests.append(read_forest(lgb.train(options, data, ROUNDS).model_to_string()))
    return forests


def directions(names: Iterable[str]) -> list[int]:
    """1 for a source's score, -1 for its place, 0 for all else."""
    return [1 if name.startswith("score_") else -1 if name.startswith("place_") else 0 for name in names]


def training_rows(parts: Iterable[Labeled], before_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and rows of each user; users who took none of their candidates teach nothing."""
    chance, rows, labels, sizes = np.random.default_rng(0), [], [], []
    for part, told in parts:
        taken = told.taken & (told.first_s < before_s)
        n_users = len(part.users)
        any_taken = np.bincount(part.user, taken, n_users) > 0
        share = NEGATIVES / np.maximum(np.bincount(part.user, minlength=n_users), 1)
        drawn = ~told.taken & (chance.random(len(taken)) < share[part.user])
        keep = any_taken[part.user] & (taken | drawn)
        rows.append(part.features[keep])
        labels.append(taken[keep].astype(np.int8))
        counts = np.bincount(part.user[keep], minlength=n_users)
        sizes.append(counts[counts > 0])
    return np.concatenate(rows), np.concatenate(labels), np.concatenate(sizes)


def predict(rankers: list[Forest], part: Slice) -> np.ndarray:
    """A score for each row: the rankers' outputs, standardised within the user, added."""
    if not len(part.user):
        return np.empty(0)
    return sum(standardised(ranker.predict(part.features), part.user) for ranker in rankers)


def standardised(scores: np.ndarray, user: np.ndarray) -> np.ndarray:
    n = np.maximum(np.bincount(user), 1)
    mean = np.bincount(user, scores) / n
    variance = np.maximum(np.bincount(user, scores**2) / n - mean**2, 0)
    return (scores - mean[user]) / (np.sqrt(variance[user]) + 1e-9)


def order(part: Slice, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows by user, score descending, item ascending; and the 0-based place within the user of each in that order."""
    rows, begins = np.arange(len(scores)), begins_of(part.user, len(part.users))
    places = rows - np.repeat(begins[:-1], np.diff(begins))
    narrow = scores.astype(np.float32)
    if (narrow == scores).all():  # what a source says; rows are by item, so that their places stand for items
        take_down(entries_of(narrow, places), begins, rows)
        return rows, places
    _, item, backwards = compiled_for(part.user, part.item, -scores)
    settle(rows, begins, item, backwards, 0, len(part.users))
    return rows, places


@kernel
def take_down(entries, begins, rows):
    """Each user's rows by falling entries, whose codes are places."""
    for user in range(len(begins) - 1):
        begin, mine = begins[user], entries[begins[user] : begins[user + 1]]
        mine.sort()
        for place in range(len(mine)):
            rows[begin + place] = begin + LAST_CODE - (mine[len(mine) - 1 - place] & LAST_CODE)


def by_place(part: Slice, scores: np.ndarray) -> np.ndarray:
    """1 / (10 + place): what orders of different origin have in common."""
    rows, places = order(part, scores)
    found = np.empty(len(rows))
    found[rows] = 1 / (ORDER_SHIFT + places)
    return found


def ndcg(part: Slice, told: Labels, scores: np.ndarray, k: int = 10) -> np.ndarray:
    """Of each user; what no source proposed counts as missed."""
    rows, places = order(part, scores)
    first = places < k
    discounts = 1 / np.log2(np.arange(2, k + 2))
    gained = np.bincount(part.user[rows[first]], told.taken[rows[first]] * discounts[places[first]], len(part.users))
    return gained / discounts.cumsum()[np.minimum(told.n_relevant, k) - 1]
