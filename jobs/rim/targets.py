"""Where a release goes: the Redis that serving reads, and any further ones, each on its own."""

from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from conf.settings import Settings
from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.redis_client import redis_trouble


def targets(settings: Settings) -> list[Settings]:
    """The settings of each target, ``redis.url`` first."""
    urls = dict.fromkeys((settings.redis.url, *settings.publish.targets))
    return [settings.model_copy(update={"redis": settings.redis.model_copy(update={"url": url})}) for url in urls]


def place(url: str) -> str:
    """A URL without user and password, to be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def each_target(
    settings: Settings, act: Callable[[Settings, Callable[[str], None]], None], say: Callable[[str], None] = print
) -> None:
    """Do something to each target; ``act`` gets its settings and what to say lines by. One that fails stops no other.

    Raises:
        UsageError: a target refused for good.
        TemporaryError: a target could not be reached or failed; all that did are named.
    """
    every = targets(settings)
    failed: list[Exception] = []
    for own in every:
        where = place(own.redis.url)
        try:
            with redis_trouble(where):
                act(own, say if len(every) == 1 else lambda line, where=where: say(f"{where}: {line}"))
        except (TemporaryError, UsageError) as error:
            failed.append(error)
            if len(every) > 1:
                say(f"{where}: failed: {error}")
    if failed:
        kind = TemporaryError if any(isinstance(error, TemporaryError) for error in failed) else UsageError
        raise kind(str(failed[0]) if len(every) == 1 else told(failed, len(every)))


def told(failed: list[Exception], n_targets: int) -> str:
    return f"{len(failed)} of {n_targets} targets failed: {'; '.join(map(str, failed))}"
