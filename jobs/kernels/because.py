"""Which of a user's own items contributed most to each proposed item?"""

import numpy as np

from jobs.kernels.compiled import kernel

ITEMS_AT_ONCE = 65_536  # in double precision


def gram(item_factors: np.ndarray, regularization: float) -> np.ndarray:
    """YᵀY + λI, ``(factors, factors)``: the part of every user's system that all users share."""
    found = regularization * np.eye(item_factors.shape[1])
    for start in range(0, len(item_factors), ITEMS_AT_ONCE):
        wide = item_factors[start : start + ITEMS_AT_ONCE].astype(np.float64)
        found += wide.T @ wide
    return found


@kernel
def strongest_reasons(items, shared, proposed, proposed_at, own, confidence, own_at, found):
    """Into ``found``, for each proposed item, the strongest contributor among its user's own, where there are any.

    The score of item i splits into Σ_j c_j · y_iᵀ W y_j over the user's items j, with W = (YᵀCY + λI)⁻¹ (Hu, Koren,
    Volinsky 2008, eq. 7). ``items`` is Y, ``(n_items, factors)``, ``shared`` from ``gram``. The items proposed
    to user u are ``proposed[proposed_at[u] : proposed_at[u + 1]]``; theirs, and confidences of at least 1, likewise by
    ``own_at``. Ties go to the first. O(n_own · factors²) for each user.
    """
    for user in range(len(own_at) - 1):
        mine, begin, end = own[own_at[user] : own_at[user + 1]], proposed_at[user], proposed_at[user + 1]
        if len(mine) and end > begin:
            trusted = confidence[own_at[user] : own_at[user + 1]]
            history, asked = rows(items, mine), rows(items, proposed[begin:end])
            weighted = history * (trusted - 1.0).reshape(-1, 1)
            answered = np.linalg.solve(shared + np.dot(history.T, weighted), asked.T)
            terms = np.dot(history, answered)
            for row in range(end - begin):
                found[begin + row] = mine[np.argmax(terms[:, row] * trusted)]


@kernel
def rows(items, which):
    found = np.empty((len(which), items.shape[1]))
    for at in range(len(which)):
        found[at] = items[which[at]]
    return found
