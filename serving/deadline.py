"""How long a request may still take: made when it arrives, handed down every hop, asked before each wait."""

import time

FLOOR_S = 0.001  # with less left a read is not begun: it could only waste what the answer itself needs


class Deadline:
    """A moment of the monotonic clock, ``at``."""

    __slots__ = ("at",)

    def __init__(self, at: float):
        self.at = at

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        """Seconds left; below 0 once it has passed."""
        return self.at - time.monotonic()

    @property
    def passed(self) -> bool:
        return self.left() <= 0
