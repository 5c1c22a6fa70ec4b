"""What the API takes and answers, field by field; the OpenAPI document derives from these classes.

The text in ``Annotated`` is the field's description there. Answers are not made of instances of these, twenty a request
would cost too much (see serving.assembly); the tests hold every answer to the document.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from schemas.release import Release

PROBLEM_TYPE = "application/problem+json"  # RFC 9457
Tier = Literal["personal", "neighbors", "segment_trending", "global_trending", "copy"]  # schemas.tables.TIERS


class Absent:
    """Marks a field that is not there unless asked for."""


@dataclass
class BecauseOf:
    """The person's own interaction that explains an item."""

    item_id: str
    title: str | None


@dataclass
class Item:
    """One recommended item."""

    rank: Annotated[int, "counts from 1"]
    item_id: str
    title: str | None
    category: str | None
    score: float
    source: Annotated[str, "what proposed it: a source of the recipe, promotion, or catalogue where only that was left"]
    because_of: BecauseOf | None


@dataclass
class ToldRung:
    """What became of one rung's items."""

    tier: Tier
    surface: str
    generation: str | None
    n_items: Annotated[int, "length of its list"]
    gave: Annotated[int, "items of it in the answer"]
    dropped: Annotated[dict[str, int], "reason -> items; what an already full answer did not look at is in none"]


@dataclass
class Explain:
    """How an answer came about."""

    context: Annotated[dict[str, str], "country, device and time as given"]
    segments: Annotated[list[str], "trending segments of the lower rungs, in order; a release may not have all"]
    rungs: Annotated[list[ToldRung], "the rungs that were asked, in order"]
    from_catalogue: Annotated[int, "items filled up from the catalogue, newest first, when all rungs were too short"]
    promoted: Annotated[list[str], "item ids in promoted places"]


@dataclass
class PublicAnswer:
    """A list that is the same for everybody: cacheable, so nothing in it depends on the moment of the request."""

    recommendation_id: Annotated[str, "signed; events that name it tell which list they answer"]
    generation: Annotated[str | None, "of the surface asked; null while it was never published"]
    generations: Annotated[dict[str, str], "other surface -> generation that gave an item"]
    generated_at: str | None
    tier: Annotated[Tier, "the rung that gave the first item"]
    arm: str
    degraded: Annotated[bool, "answered from copies, seen items unchecked"]
    items: list[Item]
    explain: Annotated[Explain, Absent] = None


@dataclass
class PersonalAnswer:
    """One person's list; never cached."""

    recommendation_id: Annotated[str, "signed; events that name it tell which list they answer"]
    generation: Annotated[str | None, "of the surface asked; null while it was never published"]
    generations: Annotated[dict[str, str], "other surface -> generation that gave an item"]
    generated_at: str | None
    age_s: Annotated[int | None, "seconds since generated_at"]
    tier: Annotated[Tier, "the rung that gave the first item"]
    arm: str
    degraded: Annotated[bool, "answered from copies, seen items unchecked"]
    items: list[Item]
    explain: Annotated[Explain, Absent] = None


@dataclass
class UserSubject:
    """Whom a look-up of a batch is for."""

    user_id: str


@dataclass
class ItemSubject:
    """The item a look-up of a batch is about; ``surface`` is similar where it is not given."""

    item_id: str
    surface: Annotated[Literal["similar", "bought_together"], Absent] = "similar"


@dataclass
class BatchRequest:
    """Look-ups that share their options, which are those of the single look-ups."""

    subjects: list[UserSubject | ItemSubject]


@dataclass
class BatchAnswer:
    """An answer for each subject, in order."""

    answers: list[PersonalAnswer | PublicAnswer]


@dataclass(frozen=True, kw_only=True)
class ReleaseInfo(Release):
    """The release, and what stands beside it."""

    degraded: bool
    availability: Annotated[int, "number of the last change of availability, 0 for none"]
    promotions: Annotated[int, "number of the last change of promotions, 0 for none"]


@dataclass
class Alive:
    """The process answers."""

    status: Literal["alive"]


@dataclass
class Ready:
    """Some rung can answer, with Redis or without."""

    status: Literal["ready"]
    epoch: int
    degraded: bool


@dataclass
class Problem:
    """An error as RFC 9457 has it."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
