"""When to stop asking a Redis: it fails, or it is so slow that waiting for it takes most of a worker's time.

A slow Redis is worse than none: reads of 14 ms never time out at 15 ms, and a worker does 70 of them a second.
"""

import threading
import time
from collections.abc import Callable

FAILURES_TO_OPEN = 3
BUSY = 0.5  # share of the time that waiting for slow reads may take
WINDOW_S = 0.05


class Breaker:
    """Reads of over ``slow_s`` in the mean are slow. Open at first; only ``probed``, in the background, closes it."""

    def __init__(self, slow_s: float, clock: Callable[[], float] = time.monotonic):
        self.slow_s, self.clock = slow_s, clock
        self.open, self.why, self.times_opened = True, "not asked yet", 0
        self._failures, self._slow = 0, False
        self._lock = threading.Lock()
        self._begin(clock())

    def _begin(self, now: float) -> None:
        self._since, self._waited, self._reads = now, 0.0, 0

    def answered(self, seconds: float) -> None:
        """A request's read took ``seconds``."""
        self._failures = 0
        self._wait(seconds)

    def failed(self, seconds: float, why: str) -> None:
        """A request's read failed after ``seconds``."""
        with self._lock:
            self._failures += 1
            if self._failures >= FAILURES_TO_OPEN:
                self._trip(why, slow=False)
        self._wait(seconds)

    def probed(self, seconds: float) -> None:
        """The background was answered: close, unless reads were too slow and still are."""
        with self._lock:
            if self.open and not (self._slow and seconds > self.slow_s):
                self._failures = 0
                self._begin(self.clock())
                self.open, self._slow, self.why = False, False, ""

    def _wait(self, seconds: float) -> None:
        """Count; at the end of each window judge it. Two threads may lose a count to each other: no matter."""
        self._waited += seconds
        self._reads += 1
        now = self.clock()
        span = now - self._since
        if span < WINDOW_S:
            return
        mean, busy = self._waited / self._reads, self._waited / span
        self._begin(now)
        if mean > self.slow_s and busy > BUSY:
            with self._lock:
                self._trip(f"slow: {mean * 1000:.1f} ms a read", slow=True)

    def _trip(self, why: str, slow: bool) -> None:
        if not self.open:
            self.open, self.why, self._slow = True, why, slow
            self.times_opened += 1
