"""What is on sale in one stretch of time, and how people pick from it."""

from dataclasses import dataclass

import numpy as np

from jobs.generator.catalogue import Catalogue
from jobs.generator.people import People
from jobs.generator.plan import Chunk
from jobs.generator.rows import MS_DAY, draw

FRONT_PAGE = 0.14  # of looks are at what the shop shows everybody
STAY = 0.6  # of looks stay with the kind of thing looked at before
CHOOSY = 0.85  # of picks take the one of two that suits better
NOVELTY, NOVELTY_DAYS = 1.5, 4  # new items gain this many times their base, fading


@dataclass(frozen=True)
class Shelf:
    """Running sums of item weights: in catalogue order, and group by group."""

    everything: np.ndarray
    order: np.ndarray  # item at each position of by_group
    by_group: np.ndarray
    low: np.ndarray  # sum before each group
    high: np.ndarray  # sum after it


def stock(catalogue: Catalogue, chunk: Chunk) -> Shelf:
    """Items weighted by popularity, trend and novelty in the middle of the chunk; those not on sale weigh nothing."""
    middle = (chunk.start_ms + chunk.end_ms) // 2
    trend = 1 + catalogue.swing * np.exp(-np.abs(middle - catalogue.peak) / catalogue.fade)
    age_days = np.maximum(0, chunk.start_ms - catalogue.created) / MS_DAY
    novelty = 1 + NOVELTY * np.exp(-age_days / NOVELTY_DAYS)
    weight = catalogue.popularity * trend * novelty * catalogue.on_sale(chunk.start_ms)
    order = np.argsort(catalogue.group, kind="stable")
    by_group = np.cumsum(weight[order])
    ends = np.cumsum(np.bincount(catalogue.group, minlength=len(catalogue.group_names)))
    high = by_group[ends - 1]
    return Shelf(np.cumsum(weight), order, by_group, np.concatenate([[0], high[:-1]]), high)


def pick(rng, shelf: Shelf, catalogue: Catalogue, people: People, user: np.ndarray, first: np.ndarray):
    """The item of each look, how well it suits, and one passed over for it, given the looker and what begins a visit.

    Looks of one visit follow each other. Suits is the affinity below that of the person's best group, mostly negative.
    """
    group = _groups(rng, people, user, first)
    low, high = shelf.low[group], shelf.high[group]
    one, other = (shelf.order[draw(rng, shelf.by_group, low, high)] for _ in range(2))
    taste = people.vectors[user]
    likes_one, likes_other = (np.einsum("ij,ij->i", taste, catalogue.vectors[item]) for item in (one, other))
    swap = (likes_other > likes_one) == (rng.random(len(user)) < CHOOSY)
    item, passed_over = np.where(swap, (other, one), (one, other)).astype(np.int32)
    likes = np.where(swap, likes_other, likes_one)
    shown = np.flatnonzero(rng.random(len(user)) < FRONT_PAGE)
    item[shown] = draw(rng, shelf.everything, 0, np.full(len(shown), shelf.everything[-1]))
    likes[shown] = np.einsum("ij,ij->i", taste[shown], catalogue.vectors[item[shown]])
    return item, likes - people.best[user], passed_over


def _groups(rng, people: People, user: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The group of each look: one of the person's favourites, kept until the mind wanders."""
    turn = first | (rng.random(len(user)) >= STAY)
    at = np.maximum.accumulate(np.where(turn, np.arange(len(user)), 0))
    point = rng.random(len(user), dtype=np.float32)[at]
    choice = (point[:, None] >= people.chances[user][:, :-1]).sum(axis=1)
    return people.favourites[user, choice]
