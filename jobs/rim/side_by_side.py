"""Work shared out among threads, while the thread that waits for them keeps its lease."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

BEAT_S = 0.5
Item, Made = TypeVar("Item"), TypeVar("Made")


class Stopped(RuntimeError):
    """Another thread failed; what it raised is what is told."""


class Shared:
    """An iterable that threads take from, each item once; taking raises ``Stopped`` when one of them has failed."""

    def __init__(self, items: Iterable):
        self.source, self.lock, self.stop = iter(items), threading.Lock(), threading.Event()

    def __iter__(self) -> Iterator:
        while True:
            self.go_on()
            with self.lock:
                try:
                    item = next(self.source)
                except StopIteration:
                    return
            yield item

    def go_on(self) -> None:
        if self.stop.is_set():
            raise Stopped


def side_by_side(
    items: Iterable, work: Callable[[Shared], None], n_threads: int, heartbeat: Callable[[], None]
) -> None:
    """``work`` in each thread, over what it takes of ``items``; ``heartbeat`` by the caller's, twice a second.

    Raises:
        Whatever ``work`` or ``heartbeat`` raises first; the other threads end at their next item.
    """
    shared = Shared(items)
    with ThreadPoolExecutor(n_threads, thread_name_prefix="load") as pool:
        heartbeat()
        waiting = {pool.submit(work, shared) for _ in range(n_threads)}
        try:
            while waiting:
                done, waiting = wait(waiting, BEAT_S, FIRST_EXCEPTION)
                for one in done:
                    one.result()
                heartbeat()
        except BaseException:
            shared.stop.set()
            raise


def in_turn(work: Callable[[Item], Made], items: Iterable[Item], n_threads: int) -> Iterator[Made]:
    """What ``work`` makes of each item, in their order; at most twice as many are made ahead as there are threads."""
    with ThreadPoolExecutor(n_threads) as pool:
        waiting: deque = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
