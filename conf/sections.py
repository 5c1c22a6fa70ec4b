"""The sections of the settings: types and ranges stand only here and, of what we connect to, in ``connections``."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

REDIS_URL = r"^((rediss?|unix)://|sentinel://[^/]+/[^/?#]+$|rediss?\+cluster://[^/]+$)"


class SettingsError(ValueError):
    """A setting is unknown, missing or out of range; the message names key, value and what is allowed."""


def between(low: float, high: float) -> Field:
    return Field(ge=low, le=high)


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Lake(Section):
    uri: str = Field(min_length=1)
    s3_endpoint: str
    s3_region: str
    min_free_mb: Annotated[int, between(0, 1_000_000)]
    garbage_hours: Annotated[int, between(1, 8_760)]
    keep_days: Annotated[int, between(7, 20_000)]


class Identity(Section):
    secret: SecretStr | None = None  # no default anywhere: from the environment, else from secret_file
    secret_file: str
    key_version: Annotated[int, between(1, 127)]

    def secret_bytes(self) -> bytes:
        """The secret behind the pseudonyms.

        Raises:
            SettingsError: neither NIGHTSHELF_IDENTITY__SECRET nor ``identity.secret_file`` holds 16 bytes or more.
        """
        if self.secret is not None:
            value = self.secret.get_secret_value().encode()
        else:
            try:
                value = Path(self.secret_file).read_bytes().strip()
            except OSError as error:
                raise SettingsError(
                    f"no secret: identity.secret_file = {self.secret_file!r} cannot be read ({error.strerror}); set "
                    "NIGHTSHELF_IDENTITY__SECRET or write 16 bytes or more to that file"
                ) from None
        if len(value) < 16:
            raise SettingsError(f"the secret has {len(value)} bytes; allowed: 16 or more")
        return value


class Resources(Section):
    memory_gb: Annotated[float, between(1, 10_000)]
    end_with_parent: bool


class Spark(Section):
    master: str
    quick_below_events: Annotated[int, between(0, 1_000_000_000)]
    shuffle_partitions: Annotated[int, between(1, 100_000)]
    s3a_jars: str
    options: dict[Annotated[str, Field(pattern=r"^spark\.")], str] = Field(description="a table of spark.… = text")


class Ingest(Section):
    landing: str
    source: str
    chunk_rows: Annotated[int, between(1_000, 100_000_000)]
    late_hours: Annotated[int, between(1, 20_000)]
    max_messages: Annotated[int, between(1_000, 1_000_000_000)]


class Interactions(Section):
    engine: Literal["auto", "compiled", "spark"] = Field(exclude=True)  # out of every hash: the rows are equal
    window_days: Annotated[int, between(1, 20_000)]
    half_life_days: Annotated[int, between(1, 20_000)]
    max_per_user_item_day: Annotated[int, between(1, 1_000)]
    max_per_user_day: Annotated[int, between(1, 1_000_000)]


class Cooccurrence(Section):
    n_neighbors: Annotated[int, between(1, 1_000)]
    min_pair: Annotated[int, between(1, 1_000)]
    max_items: Annotated[int, between(2, 10_000)]
    score: Literal["cosine", "lift", "llr"]
    max_local_rows: Annotated[int, between(0, 1_000_000_000)]
    shrink: Annotated[float, between(0, 1_000)]


class Recipe(Section):
    every_days: Annotated[int, between(1, 90)]
    max_events: Annotated[int, between(1_000, 1_000_000_000)]
    seed: Annotated[int, between(0, 2**31 - 1)]


class Fit(Section):
    probe_share: Annotated[float, between(0, 0.2)]
    min_probes: Annotated[int, between(0, 100_000)]
    engine: Literal["auto", "implicit", "folded", "mllib"]


class Cold(Section):
    max_people: Annotated[int, between(0, 1_000)]
    n_items: Annotated[int, between(10, 1_000)]


class Candidates(Section):
    engine: Literal["auto", "threads", "spark"] = Field(exclude=True)  # out of every hash: the rows are equal
    n_items: Annotated[int, between(20, 1_000)]
    n_new: Annotated[int, between(0, 1_000)]
    block_users: Annotated[int, between(16, 100_000)]
    explain: bool


class Evaluate(Section):
    days: Annotated[int, between(1, 90)]
    max_users: Annotated[int, between(10, 1_000_000)]


class Slates(Section):
    engine: Literal["auto", "threads", "spark"] = Field(exclude=True)  # out of every hash: the rows are equal
    n_items: Annotated[int, between(10, 255)]
    n_seen: Annotated[int, between(0, 5_000)]
    rules_file: str = Field(exclude=True)  # out of every hash of settings: what it says counts, not where it stands


class Trending(Section):
    window_hours: Annotated[int, between(1, 20_000)]
    half_life_hours: Annotated[int, between(1, 20_000)]
    n_items: Annotated[int, between(10, 255)]
    segments: tuple[Literal["category", "country", "device", "age_band", "daypart"], ...]
    min_users: Annotated[int, between(1, 1_000_000)]
    max_person_items: Annotated[int, between(1, 1_000_000)]
    max_strangers: Annotated[int, between(1, 1_000_000)]


class Gate(Section):
    min_user_coverage: Annotated[float, between(0, 1)]
    min_item_coverage: Annotated[float, between(0, 1)]
    min_fill: Annotated[float, between(0, 1)]
    min_order: Annotated[float, between(0.5, 1)]
    max_level: Annotated[float, between(0, 1)]
    max_resent: Annotated[float, between(0, 1)]
    max_churn: Annotated[float, between(0, 1)]
    sample_rows: Annotated[int, between(100, 1_000_000)]


class Redis(Section):
    url: str = Field(
        pattern=REDIS_URL,
        description="text that begins with redis://, rediss://, unix://, or reads sentinel://hosts/service or "
        "redis+cluster://hosts",
    )
    namespace: str = Field(
        pattern=r"^[a-z][a-z0-9_-]{0,31}$",
        description="1 to 32 of the characters a to z, 0 to 9, _ and -, the first a letter",
    )
    replica_urls: tuple[Annotated[str, Field(pattern=r"^(redis|rediss|unix)://")], ...]
    connect_timeout_ms: Annotated[int, between(1, 60_000)]
    read_timeout_ms: Annotated[int, between(1, 60_000)]


class Publish(Section):
    targets: tuple[Annotated[str, Field(pattern=REDIS_URL)], ...] = Field(
        description="a list of URLs such as redis.url may be, as JSON such as '[\"redis://host\"]'"
    )
    ttl_days: Annotated[int, between(1, 365)]
    keep: Annotated[int, between(2, 20)]
    replicas: Annotated[int, between(0, 100)]
    verify_sample: Annotated[int, between(1, 1_000_000)]
    pipeline_keys: Annotated[int, between(10, 100_000)]
    connections: Annotated[int, between(1, 16)]
    timeout_ms: Annotated[int, between(100, 600_000)]
    lease_s: Annotated[int, between(5, 3_600)]


class Serving(Section):
    host: str
    port: Annotated[int, between(1, 65_535)]
    workers: Annotated[int, between(1, 64)]
    default_n: Annotated[int, between(1, 100)]
    max_n: Annotated[int, between(1, 255)]
    poll_ms: Annotated[int, between(50, 500)]
    deadline_ms: Annotated[int, between(5, 60_000)]
    queue_ms: Annotated[int, between(1, 60_000)]
    drain_s: Annotated[int, between(0, 600)]
    cache_dir: str
    max_per_category: Annotated[int, between(0, 255)]
    console: Literal["local", "on", "off"]
    stale_after_hours: Annotated[int, between(1, 10_000)]
    example_users: tuple[str, ...] = Field(
        max_length=20, description="a list of at most 20 ids, as JSON such as '[\"u1\"]'"
    )

    @property
    def shows_console(self) -> bool:
        """Whether /console is there; ``local`` goes by the address listened on, not by who asks."""
        return self.console == "on" or (self.console == "local" and is_loopback(self.host))


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name: it may be anywhere
        return False
