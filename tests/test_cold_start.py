"""Does cold start work? Generated months, cut in two: ours against trending items, the same list for everybody.

Seen to fail: new users without lifts (+0.005, from -0.002 to 0.011), new items when plain counts stand for rates
(recall@20 0.10 against 0.16 of trending).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse as sp
from cold_start_shop import ATTRIBUTES, CUT_DAY, Month, cells, coded, decayed_people, make_month

from jobs.kernels import cold_items, cold_users, content, session
from jobs.kernels.metrics import judge, ndcg, recall
from jobs.kernels.protocol import best
from jobs.kernels.resample import compare

pytestmark = pytest.mark.slow

SEEDS = (11, 12, 13)  # the settings below were chosen on months of seeds 7 and 8
HALF_LIFE_DAYS, LENT_DAYS = 14.0, 0.5
SHRINK, CONTENT_SHARE, N_NEIGHBORS, FADE, N_LAST = 3.0, 0.1, 200, 0.8, 10
TRENDING_DAYS = (1.0, 3.0, 14.0)  # half lives: the setting's default, and ours; the best of them is found by peeking
NEW_DAYS, FEW_EVENTS = 7, 5


class Ours:
    """What a night would make of all that is known at the cut."""

    def __init__(self, month: Month):
        self.month, known = month, month.known
        person, item, age = month.person[known], month.item[known], month.age_days[known]
        self.near = content.content_neighbors(content.content_vectors(fields(month.items)), N_NEIGHBORS)
        people = decayed_people(person, item, age, HALF_LIFE_DAYS, month.shape)
        self.share = self.fresh_shares(people)
        category = coded([row["category"] for row in month.items])
        self.lifts = [cold_users.lifts(people, month.codes[name], category) for name in ATTRIBUTES]
        shape = (int(month.session.max()) + 1, month.shape[1])
        visits = decayed_people(month.session[known], item, age, HALF_LIFE_DAYS, shape)
        self.neighbors = session.session_neighbors(visits, self.near, SHRINK, CONTENT_SHARE, N_NEIGHBORS)
        self.recent = session.recent_weights(person, item, age, FADE, N_LAST, month.shape)

    def fresh_shares(self, people: sp.csr_matrix) -> np.ndarray:
        exposure = cold_items.exposure_days(self.month.created_days, CUT_DAY, HALF_LIFE_DAYS)
        rates = cold_items.item_rates(people.sum(axis=0).A1, exposure, self.near, LENT_DAYS)
        return rates / rates.sum()

    def by_segment(self, persons: np.ndarray) -> np.ndarray:
        distinct, whose = cold_users.combinations([self.month.codes[name][persons] for name in ATTRIBUTES])
        return cold_users.by_combination(self.share, self.lifts, distinct)[whose]

    def mixed(self, persons: np.ndarray, recent: sp.csr_matrix) -> np.ndarray:
        walked = (recent @ self.neighbors).toarray() * np.sqrt(self.share)
        return session.mix([(1.0, self.by_segment(persons)), (2.0, walked)])


def fields(items: list[dict]) -> dict:
    return {
        "title": content.words([row["title"] for row in items]),
        "text": content.words([row["text"] for row in items]),
        "category": content.labels([row["category"] for row in items]),
        "tags": [row["tags"] for row in items],
        "price": content.price_bands(np.array([row["price"] for row in items])),
    }


@dataclass(frozen=True)
class Case:
    """One segment in one month: scores and trending ``(n, n_items)``, what is seen and what came, both sparse."""

    ours: np.ndarray
    trending: dict[float, np.ndarray]
    seen: sp.csr_matrix
    truth: sp.csr_matrix

    def measured(self, scores: np.ndarray, available: np.ndarray) -> dict[str, np.ndarray]:
        scores = np.where(available, scores, -np.inf)
        scores[self.seen.nonzero()] = -np.inf
        judged = judge(best(scores, 20), self.truth)
        return {"recall@20": recall(judged, 20), "ndcg@10": ndcg(judged, 10)}


def cases(month: Month) -> Iterator[tuple[str, Case]]:
    ours, known = Ours(month), month.known
    seen, later = (cells(month.person[at], month.item[at], month.shape) for at in (known, ~known))
    truth = without(later, seen)
    n_before = np.bincount(month.person[known], minlength=month.shape[0])
    users = np.flatnonzero(np.diff(truth.indptr)[: month.n_users])

    def case(who: np.ndarray, scores: np.ndarray, on: np.ndarray | float = 1.0) -> Case:
        return Case(scores, trending(month, len(who)), seen[who], truth[who].multiply(on).tocsr())

    nobody = users[n_before[users] == 0]
    yield "new users", case(nobody, ours.by_segment(nobody))
    few = users[(n_before[users] >= 1) & (n_before[users] <= 3)]
    yield "1-3 events", case(few, ours.mixed(few, ours.recent[few]))
    yield "new items", case(users, ours.mixed(users, ours.recent[users]), new_ones(month, seen)[None].astype(float))
    yield "anonymous visits", visits_under_way(month, ours)


def without(later: sp.csr_matrix, seen: sp.csr_matrix) -> sp.csr_matrix:
    fresh = (later - later.multiply(seen)).tocsr()
    fresh.eliminate_zeros()
    return fresh


def trending(month: Month, n: int) -> dict[float, np.ndarray]:
    """Recency-decayed distinct people, as the job has it."""
    known = month.known
    columns = month.person[known], month.item[known], month.age_days[known]
    counts = {days: decayed_people(*columns, days, month.shape).sum(axis=0).A1 for days in TRENDING_DAYS}
    return {days: np.tile(scores, (n, 1)) for days, scores in counts.items()}


def new_ones(month: Month, seen: sp.csr_matrix) -> np.ndarray:
    """First seen within a week of the cut, or dealt with by fewer than five people and visits."""
    first = np.zeros(month.shape[1])
    np.maximum.at(first, month.item[month.known], month.age_days[month.known])
    return ((first > 0) & (first <= NEW_DAYS)) | (seen.getnnz(axis=0) < FEW_EVENTS)


def visits_under_way(month: Month, ours: Ours) -> Case:
    """Visits nobody logged in to, from the cut on: the first two items are known, the rest is to be foretold."""
    at = np.flatnonzero((month.person >= month.n_users) & ~month.known)
    at = at[np.isin(month.person[at], month.person[month.known], invert=True)]
    first = at[
        cold_users.newest_of_each(month.person[at], month.item[at], -month.age_days[at])
    ]  # the earliest, that is
    first = first[np.lexsort((-month.age_days[first], month.person[first]))]
    place = np.arange(len(first)) - np.searchsorted(month.person[first], month.person[first])
    start, rest = first[place < 2], first[place >= 2]
    who = np.unique(month.person[rest])
    recent = session.recent_weights(
        month.person[start], month.item[start], month.age_days[start], FADE, N_LAST, month.shape
    )
    truth = cells(month.person[rest], month.item[rest], month.shape)
    return Case(ours.mixed(who, recent[who]), trending(month, len(who)), recent[who], truth[who])


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> dict:
    """(segment, "ours" or a half life, measure) → a number for each user of all months."""
    found: dict = {}
    for seed in SEEDS:
        month = make_month(tmp_path_factory.mktemp("month"), events=80_000, users=5_000, seed=seed)
        for name, case in cases(month):
            for method, scores in {"ours": case.ours, **case.trending}.items():
                for measure, values in case.measured(scores, month.available).items():
                    found.setdefault((name, method, measure), []).append(values)
    return {key: np.concatenate(parts) for key, parts in found.items()}


@pytest.mark.parametrize("measure", ["recall@20", "ndcg@10"])
@pytest.mark.parametrize(
    ("segment", "n_least"), [("new users", 1_000), ("1-3 events", 200), ("new items", 300), ("anonymous visits", 1_000)]
)
def test_cold_start_beats_trending(measured, segment, n_least, measure):
    """The 95 % interval of the paired difference lies above 0, whatever half life suits trending best."""
    ours = measured[segment, "ours", measure]
    base = max((measured[segment, days, measure] for days in TRENDING_DAYS), key=np.nanmean)
    found = compare(ours, base, seed=0)
    print(f"{segment}, {measure}: {np.nanmean(ours):.4f} against {np.nanmean(base):.4f}, {found}")
    assert found.n >= n_least
    assert found.difference.low > 0
