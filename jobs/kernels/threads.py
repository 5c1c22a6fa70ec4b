"""How many threads compiled loops share their work out to: one number a process, set before anything is computed."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

PARTS_A_THREAD = 16  # what a part costs varies: threads take the next one when they are done
_wanted = 2


def use_threads(n: int) -> None:
    """From now on; results are the same for any number."""
    global _wanted
    _wanted = n


def n_parts() -> int:
    return PARTS_A_THREAD * _wanted


def in_threads(work: Callable, *parts: Iterable) -> list:
    """``work`` of each part, in their order; ``work`` leaves the interpreter's lock most of the time."""
    with ThreadPoolExecutor(_wanted) as pool:
        return list(pool.map(work, *parts))
