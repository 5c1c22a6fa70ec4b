"""Business rules, read once: ``rules.toml`` as shipped, and over it a file of the shop's own.

Defaults stand only in ``rules.toml``; types and ranges stand only here.
"""

import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from conf.problems import explain
from conf.sections import Section, SettingsError, between
from conf.settings import CONF_DIR

SHIPPED = CONF_DIR / "rules.toml"
ANY_CATEGORY = "*"

Name = Annotated[str, Field(min_length=1)]
Place = Annotated[int, between(1, 255)]


def parse_time(value: object) -> object:
    """TOML's own times pass as they are; text is read as ISO 8601."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


Time = Annotated[AwareDatetime, BeforeValidator(parse_time), Field(description="an ISO time with its zone")]


def many(kind: type, description: str) -> type:
    """A tuple, which TOML writes as a list; what is in it is checked strictly all the same."""
    return Annotated[tuple[kind, ...], Field(strict=False, description=description)]


class Rule(Section):
    model_config = ConfigDict(strict=True)


class Diversity(Rule):
    max_per_category: Annotated[int, between(0, 255)]
    window: Place
    mmr_lambda: Annotated[float, between(0, 1)]
    similarity: Literal["category", "cosine"]


class Rebuy(Rule):
    categories: many(Name, "a list of category names, or ['*']")
    after_days: Annotated[int, between(0, 3_650)]


class Exploration(Rule):
    n_slots: Annotated[int, between(0, 20)]
    slots: many(Place, "a list of places from 1 to 255, rising")
    new_days: Annotated[int, between(1, 365)]
    temperature: Annotated[float, between(0, 10)]

    @model_validator(mode="after")
    def check_slots(self) -> Self:
        if list(self.slots) != sorted(set(self.slots)):
            raise ValueError(f"slots = {list(self.slots)}: allowed are places that rise")
        if self.n_slots > len(self.slots):
            raise ValueError(f"n_slots = {self.n_slots}: allowed is at most the {len(self.slots)} listed in slots")
        return self


class Promotion(Rule):
    """Items or a category, pinned to a place or boosted, for a while and maybe for one country."""

    items: many(Name, "a list of item ids") = ()
    category: Name | None = None
    starts: Time = Field(alias="from")
    until: Time
    slot: Annotated[int | None, between(1, 255)] = None
    boost: Annotated[float | None, between(1, 100)] = None
    country: Name | None = None

    @model_validator(mode="after")
    def check_choices(self) -> Self:
        if bool(self.items) == bool(self.category):
            raise ValueError("items and category: allowed is exactly one of the two")
        if (self.slot is None) == (self.boost is None):
            raise ValueError("slot and boost: allowed is exactly one of the two")
        if self.starts >= self.until:
            raise ValueError(f"until = {self.until.isoformat()}: allowed is a time after from")
        return self


class Rules(Rule):
    """All rules, frozen; jobs name the sections they use, and those are part of their versions."""

    diversity: Diversity
    rebuy: Rebuy
    exploration: Exploration
    promotion: many(Promotion, "[[promotion]] blocks") = ()


def load_rules(path: str | Path = SHIPPED) -> Rules:
    """Read and check the rules of ``path``; what it does not say is as shipped.

    Raises:
        SettingsError: the file cannot be read or is no TOML, or a key or value is not allowed.
    """
    try:
        return Rules(**laid_over(read_toml(SHIPPED), read_toml(Path(path))))
    except ValidationError as error:
        problems = (explain(problem, Rules, SHIPPED.name) for problem in error.errors())
        raise SettingsError(f"{path}: " + "; ".join(problems)) from None


def read_toml(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"rules {str(path)!r} cannot be read ({error.strerror}); allowed: a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None


def laid_over(below: dict, above: dict) -> dict:
    """``above``, completed section by section by ``below``; lists are replaced, not joined."""
    whole = below | above
    shared = [name for name in below if isinstance(below[name], dict) and isinstance(whole[name], dict)]
    return whole | {name: below[name] | whole[name] for name in shared}
