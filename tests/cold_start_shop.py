"""A generated month, cut in two: what is known at the cut, and what people of each kind of coldness took after it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from jobs.generate import generate
from jobs.generator.plan import Plan
from jobs.kernels.cold_users import newest_of_each
from schemas.tables import KINDS, NO_SIGN_OF_LIKING

DAY_S = 86_400.0
CUT_DAY = 22
LIKING = frozenset(KINDS) - set(NO_SIGN_OF_LIKING)
ATTRIBUTES = ("country", "age_band", "gender", "occupation", "device")


@dataclass(frozen=True)
class Month:
    """Events that speak for an item, in order of time; a person is a user, or a visit nobody logged in to.

    Persons 0 to ``n_users`` - 1 are the users. ``codes`` has an array ``(n_persons,)`` for each attribute, -1 unknown.
    """

    person: np.ndarray
    item: np.ndarray
    session: np.ndarray
    age_days: np.ndarray  # before the cut; at or below 0 after it
    n_users: int
    codes: dict[str, np.ndarray]
    items: list[dict]  # those created before the cut, as known then
    created_days: np.ndarray  # before the cut

    @property
    def available(self) -> np.ndarray:
        return np.array([row["available"] for row in self.items])

    @property
    def known(self) -> np.ndarray:
        return self.age_days > 0

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.codes["country"]), len(self.items)


def make_month(folder: Path, events: int, users: int, seed: int, cut_day: float = CUT_DAY) -> Month:
    plan = Plan(folder, events=events, users=users, seed=seed)
    generate(plan)
    return read_month(folder, plan.start_ms / 1000 + cut_day * DAY_S)


def read_month(folder: Path, cut_s: float) -> Month:
    users, items, events = (objects(folder / f"{name}.jsonl") for name in ("users", "items", "events"))
    catalogue = {row["item_id"]: row for row in items if seconds(row["valid_from"]) < cut_s}  # the newest row stays
    events = liked(events, catalogue)
    names = sorted(row["user_id"] for row in users)
    owner = owners(events)
    session = np.array([event["session_id"] for event in events])
    person = np.array(
        [event.get("user_id") or owner.get(event["session_id"]) or event["session_id"] for event in events]
    )
    names += sorted(set(person) - set(names))
    position = {name: k for k, name in enumerate(names)}
    person = np.array([position[name] for name in person])
    item_position = {name: k for k, name in enumerate(sorted(catalogue))}
    return Month(
        person=person,
        item=np.array([item_position[event["item_id"]] for event in events]),
        session=np.unique(session, return_inverse=True)[1],
        age_days=np.array([(cut_s - seconds(event["event_time"])) / DAY_S for event in events]),
        n_users=len(users),
        codes=codes_of({row["user_id"]: row for row in users}, names, person, events),
        items=[catalogue[name] for name in item_position],
        created_days=np.array([(cut_s - seconds(catalogue[name]["created_at"])) / DAY_S for name in item_position]),
    )


def objects(path: Path) -> list[dict]:
    """The lines that are JSON; a generated month has a few that are not."""
    found = []
    for line in path.read_bytes().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def liked(events: list[dict], catalogue: dict) -> list[dict]:
    """Each sound event that speaks for its item, once, in order of time."""
    by_id = {
        event["event_id"]: event
        for event in events
        if event.get("kind") in LIKING
        and event.get("item_id") in catalogue
        and event.get("quantity", 1) > 0
        and "T25" not in event["event_time"]
    }
    return sorted(by_id.values(), key=lambda event: (event["event_time"], event["event_id"]))


def owners(events: list[dict]) -> dict[str, str]:
    """The user of each visit that somebody logged in to."""
    return {event["session_id"]: event["user_id"] for event in events if "user_id" in event}


def codes_of(users: dict, names: list[str], person: np.ndarray, events: list[dict]) -> dict[str, np.ndarray]:
    """What a shop knows of a person when they come: their account, and where and on what their first visit is."""
    first = {}
    for who, event in zip(person.tolist(), events, strict=True):
        first.setdefault(who, event)
    told = [{**first.get(k, {}), **users.get(name, {})} for k, name in enumerate(names)]
    for row in told:
        row["age_band"] = f"{row['age'] // 10}0s" if "age" in row else None
    return {name: coded([row.get(name) for row in told]) for name in ATTRIBUTES}


def coded(values: list) -> np.ndarray:
    position = {value: k for k, value in enumerate(sorted({value for value in values if value is not None}))}
    return np.array([position.get(value, -1) for value in values])


def seconds(text: str) -> float:
    return np.datetime64(text.removesuffix("Z")).astype("datetime64[ms]").astype(int) / 1000


def cells(row: np.ndarray, item: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    matrix = sp.csr_matrix((np.ones(len(row)), (row, item)), shape)
    matrix.data[:] = 1
    return matrix


def decayed_people(
    person: np.ndarray, item: np.ndarray, age_days: np.ndarray, half_life_days: float, shape: tuple[int, int]
) -> sp.csr_matrix:
    """``(n_persons, n_items)``: 0.5^(age / half life) of each person's newest event with each item.

    ``person``, ``item`` and ``age_days`` have an entry an event. However often a person returns they count once.
    """
    newest = newest_of_each(person, item, age_days)
    return sp.csr_matrix((0.5 ** (age_days[newest] / half_life_days), (person[newest], item[newest])), shape)
