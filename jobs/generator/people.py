"""The people of the generated shop: who they are, since when, how often they come, and what they secretly like."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jobs.generator.catalogue import INTERESTS, STYLE_DIMS, Catalogue, names
from jobs.generator.plan import Plan
from jobs.generator.rows import MS_DAY, draw
from jobs.generator.words import COUNTRIES, DEVICES, GENDERS, OCCUPATIONS

FAVOURITES = 6  # groups of items a person comes back to
SHARE_NEW = 0.25  # of the people join during the range
CARE, LOOK = 9.0, 0.9  # how sharply interests and looks divide people; higher is easier to learn
BLOCK = 20_000  # people whose tastes are worked out at a time


@dataclass(frozen=True)
class People:
    """People in order of joining; arrays of length n_users unless said otherwise."""

    joined: np.ndarray  # ms since 1970 UTC
    country: np.ndarray  # position in COUNTRIES, and so on
    age: np.ndarray
    gender: np.ndarray
    occupation: np.ndarray
    device: np.ndarray  # the usual one
    cumulative: np.ndarray  # running sum of activity: those who have joined by a moment are its beginning
    vectors: np.ndarray  # (n_users, 20) float32
    favourites: np.ndarray  # (n_users, 6) int16, groups, best first
    chances: np.ndarray  # (n_users, 6) float32, running sum of their probabilities
    best: np.ndarray  # affinity of the best group
    bot: int  # one of them is a machine

    @property
    def n(self) -> int:
        return len(self.joined)

    @cached_property
    def ids(self) -> np.ndarray:
        return names("u", self.n, 6)

    def present(self, moment: int) -> int:
        """How many had joined by then: they are the first ones."""
        return int(np.searchsorted(self.joined, moment, side="right"))


def build(plan: Plan, catalogue: Catalogue) -> People:
    rng = plan.rng(2)
    n = plan.users
    joined = _joined(rng, plan)
    share, gender_share = np.array([s for s, _ in COUNTRIES.values()]), np.array(list(GENDERS.values()))
    country = rng.choice(len(share), n, p=share / share.sum()).astype(np.int8)
    gender = rng.choice(len(gender_share), n, p=gender_share / gender_share.sum()).astype(np.int8)
    age = np.clip(np.round(rng.gamma(7, 5.6, n)), 16, 90).astype(np.int16)
    occupation = rng.integers(0, len(OCCUPATIONS) - 1, n).astype(np.int8)
    occupation[age >= 66] = len(OCCUPATIONS) - 1
    occupation[(age < 23) & (rng.random(n) < 0.7)] = 0
    vectors = _tastes(rng, country, age, gender, occupation)
    favourites, chances, best = _favourites(vectors, catalogue)
    bot = int(rng.integers(0, np.searchsorted(joined, plan.start_ms)))
    activity = rng.lognormal(0, 1.0, n)
    activity[bot] = 0  # it comes by its own door
    return People(
        joined=joined,
        country=country,
        age=age,
        gender=gender,
        occupation=occupation,
        device=_usual_device(rng, age),
        cumulative=np.cumsum(activity),
        vectors=vectors,
        favourites=favourites,
        chances=chances,
        best=best,
        bot=bot,
    )


def _joined(rng, plan: Plan) -> np.ndarray:
    n_new = round(plan.users * SHARE_NEW)
    before = plan.start_ms - 60_000 - rng.integers(0, 540 * MS_DAY, plan.users - n_new)
    during = plan.start_ms + rng.integers(0, plan.days * MS_DAY, n_new)
    return np.sort(np.concatenate([before, during]) // 60_000 * 60_000)


def _tastes(rng, country, age, gender, occupation) -> np.ndarray:
    """A sharp mixture of interests, leaning to what one's like prefer, and a preference of looks."""
    n = len(age)
    leaning = 0.5 * rng.standard_normal((len(COUNTRIES), INTERESTS))[country]
    leaning += 0.9 * rng.standard_normal((8, INTERESTS))[np.minimum(age // 10 - 1, 7)]
    leaning += 0.9 * rng.standard_normal((len(GENDERS), INTERESTS))[gender]
    leaning += 0.7 * rng.standard_normal((len(OCCUPATIONS), INTERESTS))[occupation]
    logits = leaning + 1.3 * rng.standard_normal((n, INTERESTS))
    mix = np.exp(logits - logits.max(axis=1, keepdims=True))
    mix /= mix.sum(axis=1, keepdims=True)
    looks = rng.standard_normal((n, STYLE_DIMS))
    return np.hstack([CARE * mix, LOOK * looks]).astype(np.float32)


def _favourites(vectors: np.ndarray, catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    keep = min(FAVOURITES, len(catalogue.group_vectors))
    favourites, chances, best = [], [], []
    for at in range(0, len(vectors), BLOCK):
        affinity = vectors[at : at + BLOCK] @ catalogue.group_vectors.T
        top = np.argsort(-affinity, axis=1, kind="stable")[:, :keep]
        score = np.take_along_axis(affinity, top, axis=1)
        weight = np.exp(0.7 * (score - score[:, :1]))
        favourites.append(top.astype(np.int16))
        chances.append(np.cumsum(weight / weight.sum(axis=1, keepdims=True), axis=1).astype(np.float32))
        best.append(score[:, 0])
    return np.concatenate(favourites), np.concatenate(chances), np.concatenate(best)


def _usual_device(rng, age: np.ndarray) -> np.ndarray:
    """The old sit at a desk more often."""
    device = draw(rng, np.cumsum(list(DEVICES.values())), 0, np.ones(len(age)))
    desk = (age > 55) & (rng.random(len(age)) < 0.5)
    return np.where(desk, list(DEVICES).index("desktop"), device).astype(np.int8)
