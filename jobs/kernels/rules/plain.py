"""Slates of many users under rules that only leave items out, in compiled loops: what ``apply_rules`` gives."""

from dataclasses import dataclass

import numpy as np

from jobs.kernels.compiled import kernel
from jobs.kernels.recipe.block_topk import entries_of


@dataclass(frozen=True)
class Proposed:
    """Candidates of some users, whose entries begin at ``begins`` ``(n_users + 1,)``; sources by code."""

    begins: np.ndarray
    items: np.ndarray
    scores: np.ndarray
    sources: np.ndarray
    because: np.ndarray


@dataclass(frozen=True)
class Owned:
    """What users dealt with, the newest first: of user k the rows from ``begins[k]``; bool, whether it comes back."""

    begins: np.ndarray
    items: np.ndarray
    returns: np.ndarray


def plain_slates(
    proposed: Proposed, who: np.ndarray, owned: Owned, available: np.ndarray, n: int, n_seen: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positions of the entries shown, user by user, in rank order, and how many each user has; seen items and how many.

    ``who`` of a user is theirs in ``owned``, -1 for who did nothing so far; bool ``available`` by item_idx.
    """
    keys = -entries_of(proposed.scores, proposed.items)  # rising: the best first, of equals the lower item
    n_items = max(len(available), proposed.items.max(initial=-1) + 1, owned.items.max(initial=-1) + 1)
    shown = np.zeros(n_items, bool)
    shown[: len(available)] = available
    room = np.where(who >= 0, np.diff(owned.begins, append=owned.begins[-1])[who], 0)
    at = np.append(0, np.minimum(room, n_seen).cumsum())
    chosen, count = np.zeros((len(who), n), np.int64), np.zeros(len(who), np.int64)
    seen, n_own = np.zeros(at[-1], np.int32), np.zeros(len(who), np.int64)
    mark = np.full(n_items, -1, np.int32)
    inputs = (proposed.begins, proposed.items, keys, who, owned.begins, owned.items, owned.returns)
    fill(*inputs, shown, mark, n_seen, at, chosen, count, seen, n_own)
    in_slate, in_seen = (np.arange(n) < count[:, None]), np.arange(at[-1]) - np.repeat(at[:-1], np.diff(at))
    return chosen[in_slate], count, seen[in_seen < np.repeat(n_own, np.diff(at))], n_own


@kernel
def fill(begins, items, keys, who, own_begins, own, returns, shown, mark, n_seen, at, chosen, count, seen, n_own):
    """Each user's ``chosen`` entries and ``seen`` items; ``mark`` says whose list an item may not get into any more."""
    for user in range(len(who)):
        if who[user] >= 0:
            for row in range(own_begins[who[user]], own_begins[who[user] + 1]):
                if not returns[row]:
                    mark[own[row]] = user
                    if n_own[user] < n_seen:
                        seen[at[user] + n_own[user]] = own[row]
                        n_own[user] += 1
        first = begins[user]
        order = np.argsort(keys[first : begins[user + 1]], kind="mergesort")
        for place in range(len(order)):
            item = items[first + order[place]]
            if count[user] < chosen.shape[1] and shown[item] and mark[item] != user:
                chosen[user, count[user]] = first + order[place]
                count[user] += 1
                mark[item] = user
