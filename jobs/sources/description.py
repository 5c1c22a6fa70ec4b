"""A source description: the shape of one TOML file of ``conf/sources``, typed, frozen and strictly checked."""

import re
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from jobs.rim.lineage import content_hash
from jobs.sources.layout import Layout, Part, Pattern, Ref, Reference, Stream
from schemas.tables import KINDS

Kind = Literal[KINDS]
MICRO = 1_000_000
DEFAULT_WEIGHTS = {
    "view": 1,
    "click": 1,
    "add_to_cart": 3,
    "purchase": 5,
    "return": -5,
    "rating": 1,
    "like": 4,
    "dislike": -4,
}


class EventColumns(Part):
    """Our columns, each from one of theirs."""

    event_id: Ref | None = None
    event_time: Ref
    user_id: Ref | None = None
    session_id: Ref | None = None
    item_id: Ref | None = None
    basket_id: Ref | None = None
    query: Ref | None = None
    value: Ref | None = None
    quantity: Ref | None = None
    price: Ref | None = None
    country: Ref | None = None
    device: Ref | None = None


class KindRule(Part):
    """Rows whose ``column`` matches ``pattern`` are of ``kind``."""

    column: str
    pattern: Pattern
    kind: Kind


class EventKind(Part):
    """``constant``, or ``column`` with ``map`` (theirs = ours; default: equal), or ``rules`` with ``default``."""

    constant: Kind | None = None
    column: str | None = None
    map: dict[str, Kind] = Field(default_factory=dict)
    rules: tuple[KindRule, ...] = ()
    default: Kind | None = None

    @model_validator(mode="after")
    def one_way(self):
        if sum(way is not None for way in (self.constant, self.column, self.default)) != 1:
            raise ValueError("give exactly one of constant, column, or default (with rules)")
        if (self.map and self.column is None) or (self.rules and self.default is None):
            raise ValueError("map goes with column, rules go with default")
        return self


class BadRule(Part):
    """Rows of these kinds are refused when ``column`` matches ``when``, or does not match ``unless``."""

    reason: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    column: str
    when: Pattern | None = None
    unless: Pattern | None = None
    kinds: tuple[Kind, ...] = ()

    @model_validator(mode="after")
    def one_way(self):
        if (self.when is None) == (self.unless is None):
            raise ValueError("give exactly one of when and unless")
        return self


class Events(Layout):
    """Events: files, a stream, or both with the same rows.

    ``keep_unknown``: whether fields no column is made of are kept beside the event, as JSON; by default those of JSON
    lines and of streams are.
    """

    files: tuple[str, ...] = Field(default=(), min_length=1)
    stream: Stream | None = None
    keep_unknown: bool | tuple[str, ...] | None = None
    columns: EventColumns
    kind: EventKind
    make_positive: tuple[Kind, ...] = ()
    item_pattern: Pattern | None = None
    anonymous_session: Ref | None = None
    bad: tuple[BadRule, ...] = ()

    @model_validator(mode="after")
    def some_way_in(self):
        if not self.files and self.stream is None:
            raise ValueError("give files, a stream, or both")
        return self

    @property
    def references(self) -> dict[str, Reference]:
        """Our column → theirs, the given ones."""
        return {name: ref for name, ref in self.columns if ref is not None}

    @cached_property
    def used(self) -> list[str]:
        """Their columns this description reads, in order of first mention."""
        names = [ref.column for ref in self.references.values()]
        names += [rule.column for rule in (*self.kind.rules, *self.bad)]
        names += [self.kind.column] if self.kind.column else []
        names += [self.anonymous_session.column] if self.anonymous_session else []
        return list(dict.fromkeys(names))

    @cached_property
    def ids(self) -> dict[str, tuple[str, Reference]]:
        """Their columns that identify people, visits or orders → the domain of the pseudonym, and what reads them."""
        given = [("session", self.anonymous_session)]
        given += [(domain, getattr(self.columns, f"{domain}_id")) for domain in ("session", "basket", "user")]
        return {ref.column: (domain, ref) for domain, ref in given if ref is not None}


class ItemColumns(Part):
    item_id: Ref
    valid_from: Ref | None = None
    title: Ref | None = None
    category: Ref | None = None
    tags: Ref | None = None
    text: Ref | None = None
    price: Ref | None = None
    created_at: Ref | None = None
    available: Ref | None = None


class Items(Layout):
    """Files of items. Tags: a list, a text cut at ``tag_separator``, or the ``tag_columns`` that hold 1."""

    columns: ItemColumns
    tag_separator: str = Field(default="|", min_length=1)
    tag_columns: tuple[str, ...] = ()
    category_from_tags: bool = False


class ItemsFromEvents(Part):
    """Items told by the event rows themselves: the most frequent title, the median price."""

    title: str | None = None
    price: str | None = None


class UserColumns(Part):
    user_id: Ref
    valid_from: Ref | None = None
    country: Ref | None = None
    age: Ref | None = None
    age_band: Ref | None = None
    gender: Ref | None = None
    occupation: Ref | None = None


class Users(Layout):
    """Files of users."""

    columns: UserColumns


class Weights(Part):
    """What one event says of interest, in millionths; ``rating_value`` is by the very value of a rating."""

    kinds: dict[Kind, int] = Field(default_factory=dict)
    rating_value: dict[str, int] = Field(default_factory=dict)

    @field_validator("rating_value")
    @classmethod
    def numbers(cls, weights: dict[str, int]) -> dict[str, int]:
        for value in weights:
            if not re.fullmatch(r"-?\d+(\.\d+)?", value):
                raise ValueError(f'{value!r} is no number; allowed: ratings such as "4" or "3.5"')
        return weights


class Description(Part):
    """All of one source."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    about: str = ""
    default_market: str | None = None
    events: tuple[Events, ...] = Field(min_length=1)
    items: Items | None = None
    items_from_events: ItemsFromEvents | None = None
    users: Users | None = None
    weights: Weights = Weights()

    @model_validator(mode="after")
    def one_catalogue(self):
        if self.items and self.items_from_events:
            raise ValueError("give items or items_from_events, not both")
        return self

    @property
    def told_columns(self) -> list[str]:
        """Columns of the event rows that tell of items."""
        told = self.items_from_events
        return [name for name in (told.title, told.price) if name] if told else []

    @property
    def content_hash(self) -> str:
        """Changes with what the description says, not with its comments."""
        return content_hash(self.model_dump(mode="json"))

    def event_weights(self) -> list[dict]:
        """Rows of the event_weights table, without the source."""
        kinds = {kind: weight * MICRO for kind, weight in DEFAULT_WEIGHTS.items()} | self.weights.kinds
        rows = [{"kind": kind, "value": None, "weight_micro": weight} for kind, weight in sorted(kinds.items())]
        ratings = sorted((float(value), weight) for value, weight in self.weights.rating_value.items())
        return rows + [{"kind": "rating", "value": value, "weight_micro": weight} for value, weight in ratings]
