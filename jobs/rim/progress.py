"""How far a load is: a line that is written over on a terminal, elsewhere a line now and then."""

import sys
import threading
import time
from typing import TextIO

EVERY_S, EVERY_S_ON_TERMINAL = 10.0, 0.2
WIDTH = 24


class Progress:
    """Counts keys of ``total`` (0: not known), for all threads of a load."""

    def __init__(self, what: str, total: int, out: TextIO | None = None):
        self.what, self.total, self.out = what, total, out or sys.stderr
        self.terminal = self.out.isatty()
        self.n, self.began, self.lock = 0, time.monotonic(), threading.Lock()
        self.told = self.began

    def add(self, n: int) -> None:
        with self.lock:
            self.n += n
            now = time.monotonic()
            if now - self.told >= (EVERY_S_ON_TERMINAL if self.terminal else EVERY_S):
                self.told = now
                print(self.line(now - self.began), end="" if self.terminal else "\n", file=self.out, flush=True)

    def line(self, passed_s: float) -> str:
        rate = f"{self.what}: {self.n:,} keys, {self.n / max(passed_s, 1e-9):,.0f}/s"
        if not self.total:
            return f"\r{rate}" if self.terminal else rate
        share = min(1.0, self.n / self.total)
        if not self.terminal:
            return f"{rate}, {share:.0%}"
        filled = round(share * WIDTH)
        return f"\r[{'#' * filled}{' ' * (WIDTH - filled)}] {share:4.0%} {rate}"

    def close(self) -> None:
        """Leave the terminal's line."""
        if self.terminal and self.told > self.began:
            print(file=self.out, flush=True)
