"""When to refuse requests: not for one stall, but while requests wait too long and it does not get better. Pure.

A queue that a stall left behind is soon worked off; refusing what waits in it would only turn late answers into none.
A queue that stands means that more is asked than can be answered, and it stands for as long as nothing is refused.
(CoDel's reasoning: Nichols and Jacobson, "Controlling Queue Delay", 2012.)
"""

GRACE_S = 0.2  # how long a queue may be too long
CALM = 0.2  # of the limit: a request that waited for less shows that the queue is gone


class Shedding:
    """``limit_s`` is how long a request may wait."""

    def __init__(self, limit_s: float):
        self.limit_s = limit_s
        self.on = False
        self._since: float | None = None

    def late(self, waited_s: float, now: float) -> bool:
        """Whether to refuse a request that waited so long, or would; ``now`` never goes back."""
        if waited_s < CALM * self.limit_s:
            self.on, self._since = False, None
        elif waited_s > self.limit_s:
            if self._since is None:
                self._since = now
            self.on = self.on or now - self._since >= GRACE_S
            return self.on
        return False
