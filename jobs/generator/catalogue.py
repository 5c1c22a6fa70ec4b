"""The items of the generated shop: what they are called, what they are like, when they came and when they were out."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jobs.generator.plan import Plan
from jobs.generator.rows import MS_DAY
from jobs.generator.words import CATEGORIES, COLOURS, STYLES, words

INTERESTS, STYLE_DIMS = 12, 8  # a hidden vector is what one cares about, then how it should look
MAX_GROUPS = len(CATEGORIES) * len(STYLES)
ITEMS_PER_GROUP = 6  # at least, on average: a group of one item says nothing about taste
SHARE_NEW, SHARE_OUT, SHARE_TRENDING = 0.12, 0.04, 0.05


@dataclass(frozen=True)
class Catalogue:
    """Items in order of creation; arrays of length n_items unless said otherwise. Times are ms since 1970 UTC."""

    group: np.ndarray  # position in group_names
    group_names: list  # (category, style) of each group
    group_vectors: np.ndarray  # (n_groups, 20) float32
    vectors: np.ndarray  # (n_items, 20) float32
    popularity: np.ndarray  # base weight of being looked at, whatever one's taste
    price: np.ndarray
    created: np.ndarray
    out_from: np.ndarray  # out of stock from this midnight on (far future: never)
    out_until: np.ndarray
    peak: np.ndarray  # when its trend is highest
    swing: np.ndarray  # how many times its base it gains there; 0 for most
    fade: np.ndarray  # ms in which a trend falls to 1/e
    ordinal: np.ndarray  # position within its group, for a title of its own

    @property
    def n(self) -> int:
        return len(self.group)

    @cached_property
    def ids(self) -> np.ndarray:
        return names("i", self.n, 5)

    @cached_property
    def titles(self) -> list[str]:
        return [_title(*self.group_names[g], k) for g, k in zip(self.group, self.ordinal, strict=True)]

    def on_sale(self, moment: int) -> np.ndarray:
        """Which items exist and are in stock at that moment."""
        return (self.created <= moment) & ~((self.out_from <= moment) & (moment < self.out_until))


def names(letter: str, n: int, digits: int) -> np.ndarray:
    """``n`` ids such as i00042, all of one width, as bytes."""
    width = max(digits, len(str(n - 1)))
    return np.char.add(letter.encode(), np.char.zfill(np.arange(n).astype(f"S{width}"), width))


def build(plan: Plan) -> Catalogue:
    rng = plan.rng(1)
    group_names, group_vectors = _groups(rng, plan.items)
    n, n_groups = plan.items, len(group_names)
    # The first item of each group is there from the beginning and never sells out: no group is ever empty.
    group = np.concatenate([np.arange(n_groups), rng.integers(0, n_groups, n - n_groups)])
    typical = np.array([CATEGORIES[category][0] for category, _ in group_names])[group]
    created = _created(rng, plan, n, n_groups)
    out_from, out_until = _stock(rng, plan, created, n_groups)
    peak, swing, fade = _trends(rng, plan, n)
    spread = np.concatenate([np.full(INTERESTS, 0.06), np.full(STYLE_DIMS, 0.35)])
    return Catalogue(
        group=group,
        group_names=group_names,
        group_vectors=group_vectors,
        vectors=(group_vectors[group] + spread * rng.standard_normal((n, len(spread)))).astype(np.float32),
        popularity=rng.lognormal(0, 0.7, n),
        price=np.maximum(0.99, np.round(typical * rng.lognormal(0, 0.45, n))) - 0.01,
        created=created,
        out_from=out_from,
        out_until=out_until,
        peak=peak,
        swing=swing,
        fade=fade,
        ordinal=_ordinals(rng, group, n_groups),
    )


def _groups(rng, n_items: int) -> tuple[list, np.ndarray]:
    categories, styles = list(CATEGORIES), list(STYLES)
    chosen = rng.permutation(MAX_GROUPS)[: min(MAX_GROUPS, max(3, n_items // ITEMS_PER_GROUP))]
    cares = np.zeros((len(categories), INTERESTS))
    cares[np.arange(len(categories)), rng.permutation(len(categories)) % INTERESTS] = 1
    cares[np.arange(len(categories)), rng.integers(0, INTERESTS, len(categories))] += 0.3
    looks = rng.standard_normal((len(styles), STYLE_DIMS)) * 0.8
    category, style = np.divmod(chosen, len(styles))
    own = rng.standard_normal((len(chosen), STYLE_DIMS)) * 0.5
    vectors = np.hstack([cares[category], looks[style] + own]).astype(np.float32)
    return [(categories[c], styles[s]) for c, s in zip(category, style, strict=True)], vectors


def _created(rng, plan: Plan, n: int, n_first: int) -> np.ndarray:
    n_new = min(round(n * SHARE_NEW), n - n_first)
    before = plan.start_ms - rng.integers(0, 720 * MS_DAY, n - n_new)
    during = plan.start_ms + rng.integers(0, plan.days * MS_DAY, n_new)
    before[:n_first] -= 720 * MS_DAY
    created = np.concatenate([before, during]) // 60_000 * 60_000
    return np.concatenate([created[:n_first], np.sort(created[n_first:])])


def _stock(rng, plan: Plan, created: np.ndarray, n_first: int) -> tuple[np.ndarray, np.ndarray]:
    never = np.iinfo(np.int64).max
    out_from, out_until = np.full(len(created), never), np.full(len(created), never)
    out = np.flatnonzero(rng.random(len(created)) < SHARE_OUT)
    out = out[(out >= n_first) & (created[out] < plan.start_ms)]
    day = rng.integers(0, plan.days, len(out))
    out_from[out] = plan.start_ms + day * MS_DAY
    back = rng.random(len(out)) < 0.3
    out_until[out[back]] = out_from[out[back]] + rng.integers(2, 9, back.sum()) * MS_DAY
    return out_from, out_until


def _trends(rng, plan: Plan, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    peak = plan.start_ms + rng.integers(0, plan.days * MS_DAY, n)
    swing = np.where(rng.random(n) < SHARE_TRENDING, rng.uniform(4, 15, n), 0.0)
    return peak, swing, rng.uniform(0.7, 3.0, n) * MS_DAY


def _ordinals(rng, group: np.ndarray, n_groups: int) -> np.ndarray:
    """Each item's position in a shuffled list of its group's titles, in rounds of as many as the words allow."""
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group, minlength=n_groups)
    place = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    shuffles = np.stack([rng.permutation(TITLES_PER_GROUP) for _ in range(n_groups)])
    turn, position = np.divmod(place, TITLES_PER_GROUP)
    ordinals = np.empty(len(group), np.int64)
    ordinals[order] = turn * TITLES_PER_GROUP + shuffles[group[order], position]
    return ordinals


TITLES_PER_GROUP = 6 * 6 * 7  # adjectives, materials, nouns


def _title(category: str, style: str, ordinal: int) -> str:
    turn, rest = divmod(int(ordinal), TITLES_PER_GROUP)
    adjective, material, noun = parts(category, style, rest)
    title = f"{adjective} {material} {noun}"
    if turn:
        mark, colour = divmod(turn - 1, len(COLOURS))
        title += f" in {COLOURS[colour]}" + (f" No. {mark + 1}" if mark else "")
    return title


def parts(category: str, style: str, ordinal: int) -> tuple[str, str, str]:
    """The adjective, material and noun of a title."""
    rest, noun = divmod(int(ordinal) % TITLES_PER_GROUP, 7)
    adjective, material = divmod(rest, 6)
    _, materials, nouns, _ = CATEGORIES[category]
    return words(STYLES[style][0])[adjective], words(materials)[material], nouns.split(",")[noun]
