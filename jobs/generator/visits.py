"""Who comes when: visits to the shop and the looks within them."""

from dataclasses import dataclass

import numpy as np

from jobs.generator.people import People
from jobs.generator.plan import BY_HOUR, Chunk
from jobs.generator.rows import MS_HOUR, draw
from jobs.generator.words import COUNTRIES, DEVICES

LOOKS = 4.5  # mean of a visit
MAX_LOOKS = 40
DWELL_MS, LEAST_DWELL_MS, MOST_DWELL_MS = 38_000, 8_000, 900_000
ANONYMOUS, LATE_LOGIN = 0.22, 0.16  # of visits: never logged in, logged in on the way
CHECKOUT = 0.5  # of logged-in visits with a cart go to the till
USUAL_DEVICE = 0.8
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Visits:
    """Visits in no order; arrays of length n. Times are ms since 1970 UTC."""

    user: np.ndarray
    start: np.ndarray
    end: np.ndarray
    login: np.ndarray  # 0: logged in from the start; NEVER: not at all
    checkout: np.ndarray  # whether it would pay for what is in the cart
    country: np.ndarray
    device: np.ndarray

    # Its looks, visit after visit.
    visit: np.ndarray  # position of the visit
    first: np.ndarray  # whether it is the visit's first
    at: np.ndarray  # when it begins
    dwell: np.ndarray  # ms


def arrive(rng, people: People, chunk: Chunk, n: int, end_ms: int) -> Visits:
    """About ``n`` visits that start in the chunk; those still going on at ``end_ms`` hurry to be done by then."""
    user, start = _callers(rng, people, chunk, n)
    n = len(user)
    n_looks = np.minimum(rng.geometric(1 / LOOKS, n), MAX_LOOKS)
    visit = np.repeat(np.arange(n), n_looks)
    dwell = np.minimum(LEAST_DWELL_MS + rng.exponential(DWELL_MS, len(visit)), MOST_DWELL_MS)
    starts = np.cumsum(n_looks) - n_looks
    elapsed = np.cumsum(dwell) - dwell
    elapsed -= elapsed[starts][visit]
    length = np.add.reduceat(dwell, starts) + 60_000 if n else np.empty(0)
    hurry = np.minimum(1.0, (end_ms - 1 - start) / np.maximum(length, 1))
    first = np.zeros(len(visit), bool)
    first[starts] = True
    login, checkout = _login(rng, start, length * hurry)
    return Visits(
        user=user,
        start=start,
        end=start + (length * hurry).astype(np.int64),
        login=login,
        checkout=checkout,
        country=people.country[user],
        device=_device(rng, people, user),
        visit=visit,
        first=first,
        at=start[visit] + (elapsed * hurry[visit]).astype(np.int64),
        dwell=dwell * hurry[visit],
    )


def _callers(rng, people: People, chunk: Chunk, n: int) -> tuple[np.ndarray, np.ndarray]:
    """People by activity, at a time of the chunk that suits the hour where they live."""
    ahead = np.array([hours for _, hours in COUNTRIES.values()])
    share = np.array([share for share, _ in COUNTRIES.values()])
    likely = (BY_HOUR[(chunk.hours[:, None] + ahead) % 24] * share).sum() / len(chunk.hours) / share.sum()
    n_asked = int(n / likely * 1.05) + 20
    reachable = people.cumulative[people.present(chunk.start_ms) - 1]
    user = draw(rng, people.cumulative, 0, np.full(n_asked, reachable))
    start = rng.integers(chunk.start_ms, chunk.end_ms, n_asked)
    local_hour = (start // MS_HOUR + ahead[people.country[user]]) % 24
    comes = rng.random(n_asked) < BY_HOUR[local_hour]
    return user[comes], start[comes]


def _login(rng, start: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kind = rng.random(len(start))
    anonymous, late = kind < ANONYMOUS, (kind >= ANONYMOUS) & (kind < ANONYMOUS + LATE_LOGIN)
    login = np.where(late, start + (length * rng.random(len(start))).astype(np.int64), 0)
    # The till asks for a log-in, so nobody buys anonymously.
    return np.where(anonymous, NEVER, login), ~anonymous & (rng.random(len(start)) < CHECKOUT)


def _device(rng, people: People, user: np.ndarray) -> np.ndarray:
    other = draw(rng, np.cumsum(list(DEVICES.values())), 0, np.ones(len(user)))
    return np.where(rng.random(len(user)) < USUAL_DEVICE, people.device[user], other).astype(np.int8)
