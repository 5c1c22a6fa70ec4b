"""Which of a user's own items contributed most to each proposed item?"""

import numpy as np


def gram(item_factors: np.ndarray, regularization: float) -> np.ndarray:
    """YᵀY + λI, ``(factors, factors)``: the part of every user's system that all users share."""
    wide = item_factors.astype(np.float64)
    return wide.T @ wide + regularization * np.eye(item_factors.shape[1])


def solved(item_factors: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Y(YᵀY + λI)⁻¹, ``(n_items, factors)``: worked out once, it spares whoever has few items a system of their own."""
    return np.linalg.solve(shared, item_factors.astype(np.float64).T).T


def strongest_reasons(
    proposed: np.ndarray,
    history: np.ndarray,
    confidence: np.ndarray,
    shared: np.ndarray,
    history_solved: np.ndarray | None = None,
) -> np.ndarray:
    """Position in ``history`` of the strongest contributor to each proposed item, ``(n_proposed,)``.

    The score of item i splits into Σ_j c_j · y_iᵀ W y_j over the user's items j, with W = (YᵀCY + λI)⁻¹ (Hu, Koren,
    Volinsky 2008, eq. 7). ``proposed`` is ``(n_proposed, factors)``, ``history`` ``(n_history, factors)``,
    ``confidence`` ``(n_history,)``, ``shared`` from ``gram``. With the history's rows of ``solved`` a history shorter
    than a vector is solved for in its own size (Woodbury). Ties go to the first.
    """
    n, factors = history.shape
    if history_solved is not None and n < factors:
        mixed = np.eye(n) + (confidence - 1.0)[:, None] * (history_solved @ history.T)
        return np.argmax((proposed @ history_solved.T) @ np.linalg.solve(mixed, np.diag(confidence)), axis=1)
    own = shared + (history.T * (confidence - 1.0)) @ history
    weighted = np.linalg.solve(own, (history * confidence[:, None]).T)
    return np.argmax(proposed @ weighted, axis=1)
