"""The best items of a block of users under a factor model."""

import numpy as np
import scipy.sparse as sp


def top_items(
    user_vectors: np.ndarray, item_factors: np.ndarray, seen: sp.csr_matrix, n: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each of ``(n_users, factors)`` the ``n`` best rows of ``(n_items, factors)`` by inner product, seen ones out.

    ``seen`` is ``(n_users, n_items)``. Ties: score descending, then row ascending. Fewer than ``n`` only when fewer
    unseen items exist: the kernel's padding never leaves this function.
    """
    n_items = item_factors.shape[0]
    best = ask(user_vectors, item_factors, seen, min(n + 1, n_items))  # one more shows a tie across the cut
    tied = [k for k, (_, scores) in enumerate(best) if len(scores) > n and scores[n] == scores[n - 1]]
    if tied:  # which of equals the kernel kept is its own affair: rank all of them
        for k, whole in zip(tied, ask(user_vectors[tied], item_factors, seen[tied], n_items), strict=True):
            best[k] = whole
    return [rows[:n] for rows, _ in best], [scores[:n] for _, scores in best]


def ask(user_vectors: np.ndarray, item_factors: np.ndarray, seen: sp.csr_matrix, n: int) -> list[tuple]:
    """The kernel's answer in our order, without its padding: rows and scores of each user."""
    from implicit.cpu.topk import topk

    rows, scores = topk(item_factors, user_vectors, n, filter_query_items=seen, num_threads=1)
    return [in_order(r[s > UNSEEN_ABOVE], s[s > UNSEEN_ABOVE]) for r, s in zip(rows, scores, strict=True)]


UNSEEN_ABOVE = -1e30  # the kernel marks what it filtered with the lowest float32


def in_order(rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((rows, -scores))
    return rows[order], scores[order]
