"""What the API answers, field by field; the JSON and its description derive from these classes.

They are made twenty to a request, so they are neither frozen nor slotted: both make them slower to build or to write.
"""

from dataclasses import dataclass

PROBLEM_TYPE = "application/problem+json"  # RFC 9457


@dataclass
class BecauseOf:
    """The person's own interaction that explains an item."""

    item_id: str
    title: str | None


@dataclass
class Item:
    """One recommended item; ``rank`` counts from 1."""

    rank: int
    item_id: str
    title: str | None
    category: str | None
    score: float
    source: str  # what proposed it: one of schemas.tables.SOURCES, or catalogue where only that was left
    because_of: BecauseOf | None


@dataclass
class PublicAnswer:
    """A list that is the same for everybody: cacheable, so nothing in it depends on the moment of the request."""

    recommendation_id: str
    generation: str | None  # of the surface asked; null while it was never published
    generations: dict[str, str]  # surface -> generation of each list that gave an item
    generated_at: str | None
    tier: str  # the rung that gave the first item: one of schemas.tables.TIERS
    arm: str
    degraded: bool
    items: list[Item]


@dataclass
class PersonalAnswer:
    """One person's list; never cached."""

    recommendation_id: str
    generation: str | None
    generations: dict[str, str]
    generated_at: str | None
    age_s: int | None
    tier: str
    arm: str
    degraded: bool
    items: list[Item]


@dataclass
class Problem:
    """An error as RFC 9457 has it."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
