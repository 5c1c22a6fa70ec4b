"""``python -m deploy.costs``: what so many users take of Redis and DynamoDB, and what that costs a month.

USERS=1000000 COLD=0.8 in the environment: how many, and which share of them the warm store holds. Sizes are measured
ones (docs/publish.md); prices are parameters that nobody asks a vendor for: check them before you rely on any.
"""

import os
import sys
from dataclasses import dataclass

GIB, GB = 2**30, 10**9
NIGHTS = 30  # a month
ROW_BYTES = 566  # of a warm row: 504 the value, 32 the user, 8 the tag, 6 the end, 16 the names
INDEX_BYTES = 100  # DynamoDB adds to each row it stores
REDIS_BYTES = 742  # a user with one list takes, all in all
HEADROOM = 1.25  # of Redis' memory


@dataclass(frozen=True)
class Prices:
    """US dollars, us-east-1, on demand, as of the end of 2024."""

    write: float = 0.625 / 10**6  # a row of up to 1,024 bytes
    read: float = 0.125 / 10**6  # strongly consistent, as serving reads
    stored_gb: float = 0.25  # a month
    redis_gib: float = 12.0  # a month of a managed node's memory, its reserve not counted


@dataclass(frozen=True)
class Plan:
    """Who is to be served, and how."""

    users: int
    cold: float = 0.0  # share in the warm store
    keep: int = 3  # publish.keep
    ttl_days: int = 30  # publish.ttl_days
    copies: int = 2  # of Redis: a master and a replica
    reads: int = 10**6  # of the warm store, a month

    @property
    def redis_gib(self) -> float:
        """Of one copy: a generation more than is kept, while it is loaded."""
        return self.users * (1 - self.cold) * REDIS_BYTES * (self.keep + 1) * HEADROOM / GIB

    @property
    def writes(self) -> float:
        """A month."""
        return NIGHTS * self.users * self.cold * -(-ROW_BYTES // 1024)

    @property
    def stored_gb(self) -> float:
        """Rows of every night until they end."""
        return self.users * self.cold * self.ttl_days * (ROW_BYTES + INDEX_BYTES) / GB

    def monthly(self, prices: Prices) -> dict[str, float]:
        """Dollars, by what they are for."""
        reads = self.reads if self.cold else 0
        return {
            "Redis": self.copies * self.redis_gib * prices.redis_gib,
            "warm writes": self.writes * prices.write,
            "warm storage": self.stored_gb * prices.stored_gb,
            "warm reads": reads * prices.read,
        }


def table(plans: list[Plan], prices: Prices) -> list[str]:
    """Rows of a Markdown table, a column a plan."""
    rows = {
        "users": [f"{plan.users:,}" for plan in plans],
        "of them in the warm store": [f"{plan.cold:.0%}" for plan in plans],
        "Redis, each copy": [f"{plan.redis_gib:,.1f} GiB" for plan in plans],
        "warm rows written a month": [f"{plan.writes / 1e6:,.0f} million" for plan in plans],
        "warm rows stored": [f"{plan.stored_gb:,.1f} GB" for plan in plans],
    }
    costs = [plan.monthly(prices) for plan in plans]
    rows |= {f"{name}, $ a month": [f"{cost[name]:,.0f}" for cost in costs] for name in costs[0]}
    rows["all of these, $ a month"] = [f"{sum(cost.values()):,.0f}" for cost in costs]
    lines = [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    return [lines[0], "|---" * (len(plans) + 1) + "|", *lines[1:]]


def main() -> int:
    users, cold = int(os.environ.get("USERS", 0)), float(os.environ.get("COLD", 0.8))
    counts = [users] if users else [1_000_000, 10_000_000]
    print(*table([Plan(n, share) for n in counts for share in (0.0, cold)], Prices()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
