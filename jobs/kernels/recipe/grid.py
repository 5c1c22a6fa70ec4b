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
    "als": settings(sources.fit_als, "factors", "alpha", tried=((32, 1), (64, 2), (64, 10))),
    "als_fading": settings(sources.fit_als, "factors", "alpha", "days", tried=((32, 10, 30), (32, 10, 120))),
    "ease": settings(sources.fit_ease, "ridge", tried=((100,), (400,))),
    "ease_fading": settings(sources.fit_ease, "ridge", "days", tried=((50, 30), (100, 90))),
    "together": (
        Setting(sources.fit_cosine),
        *settings(sources.fit_pairs, "score", tried=(("llr",), ("lift",))),
    ),
    "bm25": settings(sources.fit_bm25, "k1", "b", tried=((1.2, 0.2), (1.2, 0.8), (100, 0.2), (100, 0.8))),
    "walk": settings(sources.fit_walk, "beta", tried=((0.2,), (0.6,))),
    "walk_fading": settings(sources.fit_walk, "beta", "days", tried=((0.2, 7), (0.4, 30))),
    "baskets": settings(sources.fit_baskets),
}
NARROW = ("als", "als_fading", "ease", "ease_fading", "together", "bm25", "walk_fading", "baskets")
WIDE = ("als", "als_fading", "together", "bm25", "walk", "walk_fading", "baskets")  # a catalogue too large for EASE


def tried(n_items: int) -> dict[str, tuple[Setting, ...]]:
    """The part of the grid this catalogue can afford."""
    return {name: GRID[name] for name in (NARROW if n_items <= sources.EASE_MAX_ITEMS else WIDE)}


@dataclass(frozen=True)
class Tuned:
    """Of each source the setting chosen; and what was fitted with it at the tuning cuts, by share and source."""

    chosen: dict[str, Setting]
    fitted: dict[float, dict[str, object]]


def tune(events: Events, seed: int) -> Tuned:
    """The setting with the best mean NDCG over the tuning cuts; of equals the first. One fit a setting and cut."""
    grid, fits, qualities = tried(events.n_items), {}, {}
    for share in TUNING_CUTS:
        past, future = split(events, events.at(share))
        users = sample(future.users, TUNING_USERS, seed)
        for name, tries in grid.items():
            for place, setting in enumerate(tries):
                fitted = fits[share, name, place] = setting.on(past)
                judged = len(users) and len(tries) > 1
                quality = alone(fitted, past, future, users) if judged else 0.0
                qualities.setdefault((name, place), []).append(quality)
    best = {name: best_place([qualities[name, k] for k in range(len(tries))]) for name, tries in grid.items()}
    kept = {share: {name: fits[share, name, place] for name, place in best.items()} for share in TUNING_CUTS}
    return Tuned({name: grid[name][place] for name, place in best.items()}, kept)


def best_place(qualities: list[list[float]]) -> int:
    return int(np.argmax([np.mean(of_one) for of_one in qualities]))


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
