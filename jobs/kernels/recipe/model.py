"""What was fitted at a cut: every chosen source, the items described, and the popular ones."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jobs.kernels.recipe.affinities import Affinities
from jobs.kernels.recipe.block_topk import ByLength, by_length
from jobs.kernels.recipe.describe import describe_items
from jobs.kernels.recipe.past import Past
from jobs.kernels.recipe.sources import ByFactors

N_CANDIDATES = 100  # of each source
N_RANKED = 200  # places of a source whose rank is a feature; beyond, it is FAR
FAR = 8.0  # about log2 of 1 + N_RANKED
POPULAR_DAYS = (3, 30, None)  # half-lives of the popularities that propose


@dataclass(frozen=True)
class Model:
    """All that was fitted at a cut, for scoring anybody: item tables are ``(n_items, …)``."""

    cut_s: float
    sources: Mapping[str, object]
    items: np.ndarray
    popular: tuple[np.ndarray, ...]  # item codes, most popular first
    warm: np.ndarray  # bool: somebody took it before the cut
    affinities: Affinities
    by_length: Mapping[str, ByLength] | None = None  # of each source by factors, where users come block by block


def fit_model(
    chosen: Mapping[str, object], past: Past, cut_s: float, fitted: Mapping[str, object] | None = None
) -> Model:
    """Every chosen source (name to setting), fitted unless it is in ``fitted`` already, and the items described."""
    sources = {name: (fitted or {}).get(name) or setting.on(past) for name, setting in chosen.items()}
    warm = past.item_users > 0
    popular = tuple(most_popular(past.popularity(days), warm) for days in POPULAR_DAYS)
    return Model(cut_s, sources, describe_items(past), popular, warm, past.affinities)


def lengths(model: Model) -> dict[str, ByLength]:
    """The warm items of each source by factors, by length: the same for all users."""
    return {
        name: by_length(source.items, model.warm)
        for name, source in model.sources.items()
        if isinstance(source, ByFactors)
    }


def most_popular(popularity: np.ndarray, warm: np.ndarray) -> np.ndarray:
    """Enough warm items, the most popular first, that most users find ``N_CANDIDATES`` new ones among them."""
    first = np.argsort(-popularity, kind="stable")[: 5 * N_CANDIDATES]
    return first[warm[first]]
