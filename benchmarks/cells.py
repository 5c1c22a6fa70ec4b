"""The random matrix that kernels are compared on."""

import numpy as np
import scipy.sparse as sp


def matrix(n_users: int, n_items: int, n_cells: int) -> sp.csr_matrix:
    """Binary, ``(n_users, n_items)``."""
    random = np.random.default_rng(0)
    activity = random.lognormal(0, 1.2, n_users)
    activity = np.maximum(1, activity / activity.sum() * n_cells).astype(int)
    popularity = np.cumsum(1 / np.arange(1, n_items + 1) ** 0.8)
    user = np.repeat(np.arange(n_users), activity)
    item = np.searchsorted(popularity / popularity[-1], random.random(len(user))).clip(0, n_items - 1)
    found = sp.csr_matrix((np.ones(len(user), np.float32), (user, item)), (n_users, n_items))
    found.data[:] = 1
    return found
