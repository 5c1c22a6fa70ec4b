"""The sections of the settings about what stands outside and need not be there: types and ranges."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from conf.sections import Section, between

ADDRESS = r"^[^@\s,;<>]+@[^@\s,;<>]+$"


def secret_url(*schemes: str) -> type:
    """A URL that may hold a password or be one itself, never shown; empty where there is none."""

    def check(value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not is_url(value.get_secret_value(), schemes):
            raise PydanticCustomError("string_pattern_mismatch", "has another form")
        return value

    told = f"empty, or a URL that begins with {', '.join(f'{scheme}://' for scheme in schemes)}"
    return Annotated[SecretStr, AfterValidator(check), Field(description=told)]


def is_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class Kafka(Section):
    servers: str
    timeout_s: Annotated[int, between(1, 3_600)]
    options: dict[str, SecretStr] = Field(description="a table of librdkafka's options = text")


class Kinesis(Section):
    endpoint: str
    region: str


class Airflow(Section):
    database: str = Field(
        pattern=r"^(postgresql://.+)?$",
        description="nothing, or a URL such as postgresql://user:password@host:5432/airflow",
    )


class Warm(Section):
    table: str = Field(
        pattern=r"^([A-Za-z0-9_.-]{3,255})?$", description="empty, or 3 to 255 of A to Z, a to z, 0 to 9, _, - and ."
    )
    endpoint: str
    region: str
    after_days: Annotated[int, between(1, 20_000)]
    connections: Annotated[int, between(1, 64)]
    read_timeout_ms: Annotated[int, between(1, 60_000)]
    hot_s: Annotated[int, between(0, 604_800)]


class Alerts(Section):
    webhook_url: secret_url("https", "http")
    email_to: tuple[Annotated[str, Field(pattern=ADDRESS)], ...] = Field(
        description="a list of e-mail addresses, as JSON such as '[\"ops@example.com\"]'"
    )
    email_from: Annotated[str, Field(pattern=ADDRESS, description="an e-mail address")]
    smtp_url: secret_url("smtp", "smtps")
    max_age_hours: Annotated[int, between(1, 10_000)]
    trending_max_age_hours: Annotated[int, between(1, 10_000)]
