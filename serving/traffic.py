"""All workers' counters as one looks at them: answers and latencies by surface, tiers, what was refused and failed."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import inf
from typing import Any, NamedTuple

from schemas.tables import SURFACES
from serving.metrics import NONE

WINDOW_S = 60.0
LEAST_S = 1.0  # a shorter time tells nothing
QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
Buckets = Mapping[float, float]  # upper end in seconds -> answers up to it


class Counts(NamedTuple):
    """What was counted by ``at`` (monotonic seconds), and what is now."""

    at: float
    answers: Mapping[tuple[str, str], float]  # surface, status
    buckets: Mapping[tuple[str, str, float], float]  # surface, tier, upper end
    shed: float
    gauges: Mapping[str, float]
    epochs: Mapping[int, int]  # epoch -> workers that answer from it


def counted(families: Iterable, clock=time.monotonic) -> Counts:
    """Read what ``Metrics.families`` gives."""
    answers, buckets, gauges, epochs = Counter(), Counter(), Counter(), Counter()
    for name, labels, value, *_ in (sample for family in families for sample in family.samples):
        match name.removeprefix("nightshelf_"):
            case "requests_total":
                answers[labels["surface"], labels["status"]] += value
            case "request_seconds_bucket":
                buckets[labels["surface"], labels["tier"], float(labels["le"])] += value
            case "epoch":
                epochs[int(value)] += 1
            case other:
                gauges[other] += value if not labels else 0
    return Counts(clock(), answers, buckets, gauges["shed_total"], gauges, epochs)


def between(before: Counts | None, after: Counts) -> dict[str, Any]:
    """What happened from ``before``, or from the start of the service, to ``after``; latencies are estimates."""
    answers, buckets = Counter(after.answers), Counter(after.buckets)
    if before is not None:
        answers.subtract(before.answers)
        buckets.subtract(before.buckets)
    statuses = Counter()
    for (_, status), n in answers.items():
        statuses[status] += int(n)
    shed = after.shed - (before.shed if before else 0)
    return {
        "seconds": None if before is None else round(after.at - before.at, 1),
        "surfaces": {surface: of_surface(surface, answers, buckets) for surface in SURFACES},
        "tiers": tiers(buckets),
        "statuses": {status: n for status, n in sorted(statuses.items()) if n},
        "failed": sum(n for status, n in statuses.items() if status == "500"),
        "shed": int(shed),
    }


def of_surface(surface: str, answers: Mapping, buckets: Mapping) -> dict[str, Any]:
    merged: Counter[float] = Counter()
    for (name, _, end), n in buckets.items():
        if name == surface:
            merged[end] += n
    times = {name: in_ms(quantile(merged, share)) for name, share in QUANTILES.items()}
    return {"answers": int(sum(n for (name, _), n in answers.items() if name == surface)), **times}


def tiers(buckets: Mapping) -> dict[str, int]:
    """Lists by the rung that gave their first item, the most frequent first."""
    found = Counter({tier: 0 for _, tier, _ in buckets if tier != NONE})
    for (_, tier, end), n in buckets.items():
        if end == inf and tier != NONE:
            found[tier] += int(n)
    return {tier: n for tier, n in found.most_common() if n}


def quantile(buckets: Buckets, share: float) -> float | None:
    """Seconds, by a straight line within the bucket, as Prometheus does; the last finite end for what is beyond it.

    None where there is nothing.
    """
    ends = [0.0, *sorted(buckets)]
    wanted = share * buckets.get(inf, 0)
    if not wanted:
        return None
    for low, high in pairwise(ends):
        below, upto = buckets.get(low, 0), buckets[high]
        if upto >= wanted:
            return low if high == inf else low + (high - low) * (wanted - below) / (upto - below)
    return None


def in_ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 2)


class Recent:
    """Remembers what was counted whenever somebody looked, for the last minute; nobody looks: nothing is spent."""

    def __init__(self) -> None:
        self._held: deque[Counts] = deque()

    def before(self, now: Counts) -> Counts | None:
        """The oldest of the last minute, None without one; remembers ``now``."""
        while self._held and now.at - self._held[0].at > WINDOW_S:
            self._held.popleft()
        oldest = self._held[0] if self._held and now.at - self._held[0].at >= LEAST_S else None
        self._held.append(now)
        return oldest
