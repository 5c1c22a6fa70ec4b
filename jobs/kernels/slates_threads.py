"""Slates by threads of this process: files of candidates one after another, beside what everybody dealt with."""

from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.grouping import begins_of, user_order
from jobs.kernels.rules.context import User
from jobs.kernels.rules.night import last_purchases
from jobs.kernels.rules.plain import Owned, Proposed, plain_slates
from jobs.kernels.rules.rebuy import days_since, due
from jobs.kernels.rules.slate import Night, slate_of, to_batch
from jobs.kernels.surroundings import coded
from jobs.kernels.text_codes import TextCodes
from schemas.tables import SLATES, SOURCES

OWNED = ("user_id", "item_idx", "last_time", "last_purchase_time")
BY_NAME = np.argsort(np.argsort(SOURCES)).astype(np.int64)  # place of each source among their names
ALL_SOURCES = pa.array(SOURCES)


class Merger:
    """Makes slates out of files of candidates; of several threads at once. The rows of a user stand in one file."""

    def __init__(self, interactions: pa.Table, users: pa.Table, night: Night):
        """``interactions`` has the columns ``OWNED``; of ``users`` the countries count, where rules ask for them."""
        self.night, self.codes, self.lock = night, TextCodes(), Lock()
        user = self.codes.of(interactions["user_id"])
        self.n_owners = self.codes.size
        item = interactions["item_idx"].to_numpy()
        last_us = interactions["last_time"].cast(pa.int64()).to_numpy()
        order = user_order(user, -item, -last_us.astype(np.float64), self.n_owners)
        rows = slice(None) if order is None else order
        self.bought_days = days_since(last_purchases(interactions)[rows], night.as_of)
        self.owned = Owned(begins_of(user, self.n_owners), item[rows], self.come_back(item[rows]))
        place = np.array([], np.int32) if night.plain else self.codes.of(users["user_id"])
        self.country = dict(zip(place.tolist(), [] if night.plain else users["country"].to_pylist(), strict=True))
        self.done = np.zeros(self.codes.size, bool)

    def come_back(self, items: np.ndarray) -> np.ndarray:
        rules = self.night.rules
        if rules.comes_back is None:
            return np.zeros(len(items), bool)
        return due(items, self.bought_days, rules.comes_back, rules.rules.rebuy.after_days)

    def merge(self, candidates: pa.Table) -> pa.Table:
        """The slates of the users in one file of candidates.

        Raises:
            ValueError: one of them was in another file, too.
        """
        users, proposed = by_user(candidates)
        who = self.enter(users)
        if self.night.plain:
            return self.in_one(users, proposed, np.where(who < self.n_owners, who, -1))
        rows = [self.one(user_id, k, who[k], proposed) for k, user_id in enumerate(users.to_pylist())]
        return pa.Table.from_batches([to_batch([row for row in rows if len(row[1])])])

    def enter(self, users: pa.Array) -> np.ndarray:
        """The codes of users nobody asked for yet."""
        with self.lock:
            known = self.codes.size
            who = self.codes.of(pa.chunked_array([users]))
            old = who[who < len(self.done)]
            if self.done[old].any() or ((who >= len(self.done)) & (who < known)).any():
                raise ValueError("candidates: rows of one user stand in two files")
            self.done[old] = True
        return who

    def in_one(self, users: pa.Array, proposed: Proposed, who: np.ndarray) -> pa.Table:
        rules, n_seen = self.night.rules, self.night.n_seen
        chosen, count, seen, n_own = plain_slates(proposed, who, self.owned, rules.available, rules.n, n_seen)
        sources = ALL_SOURCES.take(pa.array(proposed.sources[chosen]))
        columns = (proposed.items[chosen], proposed.scores[chosen], sources, proposed.because[chosen])
        lists = [lists_of(count, column) for column in (*columns, np.ones(len(chosen), np.float32))]
        rows = pa.table([users, *lists, lists_of(n_own, seen)], SLATES.names)
        return rows.filter(pa.array(count > 0))

    def one(self, user_id: str, k: int, code: int, proposed: Proposed) -> tuple:
        """The row of the k-th user of a file, by the rules for one."""
        entries = slice(proposed.begins[k], proposed.begins[k + 1])
        items, scores = proposed.items[entries], proposed.scores[entries].astype(np.float64)
        country = self.country.get(int(code))
        if code < self.n_owners:
            own = slice(self.owned.begins[code], self.owned.begins[code + 1])
            user = User(user_id, self.owned.items[own], self.bought_days[own], country=country)
        else:
            user = User(user_id, country=country)
        candidates = items, scores, proposed.sources[entries], proposed.because[entries]
        return slate_of(candidates, user, self.night)


def by_user(candidates: pa.Table) -> tuple[pa.Array, Proposed]:
    """Each user once, and their candidates: those of one source behind another, by the sources' names."""
    codes = TextCodes()
    user = codes.of(candidates["user_id"])
    names, code = coded(candidates["source"])
    source = np.array([*map(SOURCES.index, names), -1], np.int8)[code]
    key = user.astype(np.int64) * len(SOURCES) + BY_NAME[source]
    if (key[1:] < key[:-1]).any():
        order = np.argsort(key, kind="stable")
        user, source, candidates = user[order], source[order], candidates.take(pa.array(order))
    length = pc.list_value_length(candidates["items"]).to_numpy()
    begins = np.append(0, length.cumsum())[begins_of(user, codes.size)]
    items, scores, because = (
        pc.list_flatten(candidates[name]).to_numpy() for name in ("items", "scores", "because_of")
    )
    return codes.texts(), Proposed(begins, items, scores, np.repeat(source, length), because)


def lists_of(length: np.ndarray, values) -> pa.ListArray:
    offsets = np.append(0, length.cumsum())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
