"""What the night tries: sources, each with a few settings, tuned on inner cuts by what they alone would have shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from jobs.kernels.recipe import sources
from jobs.kernels.recipe.candidates import best_columns, unseen
from jobs.kernels.recipe.labels import Events, Future, sample, split
from jobs.kernels.recipe.past import Past

TUNING_CUTS = (0.6, 0.8)
TUNING_USERS = 400
TUNED_FOR = 10  # NDCG at
EASE_MAX_ITEMS = 12_000  # a dense inverse: its cost grows with the cube
BLOCK_USERS = 512


@dataclass(frozen=True)
class Setting:
    """One way to fit a source."""

    fit: Callable[..., object]
    options: Mapping[str, object] = field(default_factory=dict)

    def on(self, past: Past) -> object:
        return self.fit(past, **self.options)

    def __str__(self) -> str:
        return f"{self.fit.__name__.removeprefix('fit_')}({', '.join(f'{k}={v}' for k, v in self.options.items())})"


def settings(fit: Callable[..., object], *names: str, tried: tuple[tuple, ...] = ((),)) -> tuple[Setting, ...]:
    return tuple(Setting(fit, dict(zip(names, values, strict=True))) for values in tried)


GRID: dict[str, tuple[Setting, ...]] = {
    "als": settings(sources.fit_als, "factors", "alpha", tried=((32, 1), (32, 5), (64, 2), (64, 10))),
    "als_fading": settings(sources.fit_als, "factors", "alpha", "days", tried=((32, 10, 30), (32, 10, 120))),
    "ease": settings(sources.fit_ease, "ridge", tried=((100,), (300,), (1000,))),
    "ease_fading": settings(sources.fit_ease, "ridge", "days", tried=((50, 30), (100, 90))),
    "cosine": settings(sources.fit_cosine),
    "bm25": settings(sources.fit_bm25, "k1", "b", tried=((1.2, 0.2), (1.2, 0.8), (100, 0.2), (100, 0.8))),
    "walk": settings(sources.fit_walk, "beta", tried=((0.2,), (0.4,), (0.6,), (0.8,))),
    "walk_fading": settings(sources.fit_walk, "beta", "days", tried=((0.2, 7), (0.4, 7), (0.4, 14), (0.4, 30))),
    "walk_of_late": settings(sources.fit_walk, "beta", "days", "history", tried=((0.2, 14, "time"),)),
    "baskets": settings(sources.fit_baskets),
    "successions": settings(sources.fit_successions),
}


def tried(n_items: int) -> dict[str, tuple[Setting, ...]]:
    """The grid this catalogue can afford."""
    return {name: tries for name, tries in GRID.items() if n_items <= EASE_MAX_ITEMS or "ease" not in name}


def tune(events: Events, seed: int) -> dict[str, Setting]:
    """Of each source the setting with the best mean NDCG over the tuning cuts; of equals the first."""
    qualities: dict[tuple[str, Setting], list[float]] = {}
    for share in TUNING_CUTS:
        past, future = split(events, events.at(share))
        users = sample(future.users, TUNING_USERS, seed)
        for name, tries in tried(events.n_items).items():
            for place, setting in enumerate(tries):
                quality = alone(setting.on(past), past, future, users) if len(users) else 0.0
                qualities.setdefault((name, place), []).append(quality)
    best = {}
    for name, tries in tried(events.n_items).items():
        best[name] = tries[int(np.argmax([np.mean(qualities[name, place]) for place in range(len(tries))]))]
    return best


def alone(source, past: Past, future: Future, users: np.ndarray) -> float:
    """Mean NDCG of a source's own lists."""
    gained, discounts = [], 1 / np.log2(np.arange(2, TUNED_FOR + 2))
    for start in range(0, len(users), BLOCK_USERS):
        some = users[start : start + BLOCK_USERS]
        scores = unseen(source.score(past, some), past.user_items[some].nonzero(), past.item_users > 0)
        top = best_columns(scores, TUNED_FOR)
        hits = np.isin(some[:, None].astype(np.int64) * past.n_items + top, future.cell_key)
        gained.append((hits * discounts[: top.shape[1]]).sum(axis=1))
    ideal = discounts.cumsum()[np.minimum(future.count(users), TUNED_FOR) - 1]
    return float((np.concatenate(gained) / ideal).mean())
