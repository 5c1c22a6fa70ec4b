"""Settings, read once: ``default.toml``, then the file named by NIGHTSHELF_CONF, then NIGHTSHELF_<SECTION>__<KEY>.

Defaults stand only in ``default.toml``; types and ranges only in ``sections`` and ``connections``. Relative paths start
at the working folder.
"""

import os
import tomllib
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from pydantic_settings import SettingsError as UnparsedVariable

from conf.connections import Airflow, Alerts, Kafka, Kinesis, Warm
from conf.problems import explain, explain_variables
from conf.sections import (
    Candidates,
    Cold,
    Cooccurrence,
    Evaluate,
    Fit,
    Gate,
    Identity,
    Ingest,
    Interactions,
    Lake,
    Publish,
    Recipe,
    Redis,
    Resources,
    Serving,
    SettingsError,
    Slates,
    Spark,
    Trending,
)

CONF_DIR = Path(__file__).parent
DEFAULTS = CONF_DIR / "default.toml"
SOURCES_DIR = CONF_DIR / "sources"
PREFIX = "NIGHTSHELF_"


class Settings(BaseSettings):
    """All sections, frozen."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__")

    lake: Lake
    identity: Identity
    resources: Resources
    spark: Spark
    ingest: Ingest
    kafka: Kafka
    kinesis: Kinesis
    interactions: Interactions
    cooccurrence: Cooccurrence
    recipe: Recipe
    fit: Fit
    cold: Cold
    candidates: Candidates
    evaluate: Evaluate
    slates: Slates
    trending: Trending
    gate: Gate
    redis: Redis
    publish: Publish
    airflow: Airflow
    warm: Warm
    serving: Serving
    alerts: Alerts

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        **_: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        files = [path for path in (os.environ.get("NIGHTSHELF_CONF"),) if path]
        layers = [TomlConfigSettingsSource(settings_cls, toml_file=path) for path in (*files, DEFAULTS)]
        return (init_settings, env_settings, *layers)


def load_settings(**overrides: dict) -> Settings:
    """Read and check all settings; ``overrides`` (section=dict) win over everything.

    Raises:
        SettingsError: the file named by NIGHTSHELF_CONF is missing or no TOML, or a key or value is not allowed.
    """
    path = os.environ.get("NIGHTSHELF_CONF")
    if path and not Path(path).is_file():
        raise SettingsError(f"NIGHTSHELF_CONF = {path!r}: no such file")
    try:
        refuse_unknown_variables()
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(
            "; ".join(explain(problem, Settings, DEFAULTS.name) for problem in error.errors())
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    except UnparsedVariable as error:
        raise SettingsError(explain_variables(os.environ, PREFIX, Settings) or f"environment: {error}") from None


def refuse_unknown_variables() -> None:
    """A misspelt NIGHTSHELF_ variable would silently do nothing: refuse it, naming what is near."""
    known = {"NIGHTSHELF_CONF"} | {
        f"NIGHTSHELF_{section}__{key}".upper()
        for section, field in Settings.model_fields.items()
        for key in field.annotation.model_fields
    }
    for name in sorted(os.environ):
        if name.startswith("NIGHTSHELF_") and name not in known:
            raise SettingsError(f"environment variable {name}: no such setting; see {DEFAULTS.name} for all")
