"""Which of a user's own items contributed most to each proposed item?"""

import numpy as np


def gram(item_factors: np.ndarray, regularization: float) -> np.ndarray:
    """YᵀY + λI, ``(factors, factors)``: the part of every user's system that all users share."""
    wide = item_factors.astype(np.float64)
    return wide.T @ wide + regularization * np.eye(item_factors.shape[1])


def strongest_reasons(
    proposed: np.ndarray, history: np.ndarray, confidence: np.ndarray, shared: np.ndarray
) -> np.ndarray:
    """Position in ``history`` of the strongest contributor to each proposed item, ``(n_proposed,)``.

    The score of item i splits into Σ_j c_j · y_iᵀ W y_j over the user's items j, with W = (YᵀCY + λI)⁻¹ (Hu, Koren,
    Volinsky 2008, eq. 7). ``proposed`` is ``(n_proposed, factors)``, ``history`` ``(n_history, factors)``,
    ``confidence`` ``(n_history,)``, ``shared`` from ``gram``. Ties go to the first.
    """
    own = shared + (history.T * (confidence - 1.0)) @ history
    weighted = np.linalg.solve(own, (history * confidence[:, None]).T)
    return np.argmax(proposed @ weighted, axis=1)
