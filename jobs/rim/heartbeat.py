"""A sign of life from a step that has nothing to say for long: how long it has worked and what memory it holds."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobs.rim.memory import descendants, held_bytes

EVERY_S = 60.0


@contextmanager
def heartbeat(what: str, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Say every ``EVERY_S`` that ``what`` is at work; nothing at all where it takes less."""
    ended, began = threading.Event(), time.monotonic()

    def beat() -> None:
        while not ended.wait(EVERY_S):
            (say or told)(f"{what}: working, {time.monotonic() - began:.0f} s, {held()}")

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def told(line: str) -> None:
    print(line, flush=True)


def held() -> str:
    """The memory of this process and all below it."""
    return f"{sum(map(held_bytes, [os.getpid(), *descendants(os.getpid())])) / 2**30:.1f} GiB"
