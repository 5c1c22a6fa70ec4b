"""What a soak stands on: its folder, its environment, and a shop's days cut into what a night of history had brought
and what lands hour by hour.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import orjson

from deploy.embedded import house, java
from deploy.embedded.command import nightshelf
from deploy.embedded.problems import Problem

HISTORY_DAYS, EVENTS_A_DAY, USERS, ITEMS = 5, 1_000, 300, 150
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NAMESPACE = "ns-soak"
SMALL = {  # what a soak is about is not how well the lists rank
    "RECIPE__MAX_EVENTS": "1000",
    "EVALUATE__DAYS": "1",
    "CANDIDATES__ENGINE": "spark",  # so few would be ranked without any, and its JVM and workers are to be killed, too
    "SPARK__SHUFFLE_PARTITIONS": "2",
    "PUBLISH__LEASE_S": "10",  # a killed publisher's lease must run out before the next may publish
    "IDENTITY__SECRET": "the same for both runs of a soak",
}

# As whoever exports an hour's files would: they land before the hour is ingested, once. Then this checkout's command.
COMMAND = """\
#!/bin/sh
if [ "$1" = ingest ] && [ "$2" = --interval ]; then
    for file in "{deliveries}/${{3%%:*}}"/*; do
        [ ! -e "$file" ] || ln "$file" "$NIGHTSHELF_INGEST__LANDING/" 2>/dev/null || :
    done
fi
exec "{python}" -m jobs.cli "$@"
"""


@dataclass(frozen=True)
class Ground:
    """How long the soak is, and where it happens; ``end`` is the midnight after its last hour."""

    folder: Path
    hours: int
    kills: int
    seed: int
    end: datetime

    @classmethod
    def of_environment(cls) -> "Ground":
        """SOAK_HOURS, SOAK_KILLS, SEED and SOAK_FOLDER.

        Raises:
            Problem: one is not what it may be.
        """
        folder = Path(os.environ.get("SOAK_FOLDER") or house.STATE / "soak").absolute()
        hours, kills, seed = number("SOAK_HOURS", 72, 1), number("SOAK_KILLS", 30, 0), number("SEED", 1, 0)
        return cls(folder, hours, kills, seed, datetime.fromisoformat("2026-01-31T00:00:00+00:00"))

    @property
    def intervals(self) -> list[datetime]:
        """The beginning of each hour."""
        return [self.end - (self.hours - k) * HOUR for k in range(self.hours)]

    @property
    def nights(self) -> list[datetime]:
        """The end of each day that has an hour of the soak."""
        days = -(-self.hours // 24)
        return [self.end - (days - 1 - k) * DAY for k in range(days)]

    @property
    def history(self) -> Path:
        """What is ingested as one batch before the first hour."""
        return self.folder / "history"

    @property
    def deliveries(self) -> Path:
        """A folder for each hour, named as in ``2026-01-30T18``: what lands for it."""
        return self.folder / "deliveries"

    def asked(self) -> dict[str, str]:
        """The environment from which ``of_environment`` makes this one."""
        asked = {"SOAK_HOURS": self.hours, "SOAK_KILLS": self.kills, "SEED": self.seed, "SOAK_FOLDER": self.folder}
        return {name: str(value) for name, value in asked.items()}

    def environment(self, lake: Path) -> dict[str, str]:
        """The environment of commands on one of the two lakes."""
        (lake / "landing").mkdir(parents=True, exist_ok=True)
        env = house.environment(lake, NAMESPACE) | {f"NIGHTSHELF_{name}": value for name, value in SMALL.items()}
        env |= {"JAVA_HOME": java.find_java_home(), "TMPDIR": str(self.folder / "tmp")}
        env |= {"NIGHTSHELF_REDIS__URL": f"unix://{self.folder / 'redis.sock'}"}
        return env | {"PATH": os.pathsep.join([str(self.folder / "bin"), env["PATH"]])}


def number(name: str, default: int, least: int) -> int:
    """A whole number out of the environment."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < least:
        raise Problem(f"{name} = {text!r}: allowed are whole numbers from {least}")
    return int(text)


def lay(ground: Ground) -> None:
    """A fresh folder with the command, the generated shop, its history and its deliveries."""
    shutil.rmtree(ground.folder, ignore_errors=True)
    for name in ("bin", "logs", "tmp", "history"):
        (ground.folder / name).mkdir(parents=True)
    command = ground.folder / "bin" / "nightshelf"
    command.write_text(COMMAND.format(deliveries=ground.deliveries, python=sys.executable))
    command.chmod(0o755)
    shop, days = ground.folder / "shop", len(ground.nights) + HISTORY_DAYS
    size = ["--events", days * EVENTS_A_DAY, "--users", USERS, "--items", ITEMS, "--days", days, "--seed", ground.seed]
    until = ["--end", (ground.end).date().isoformat()]
    nightshelf(["generate", "--out", str(shop), *map(str, size), *until], ground.environment(ground.folder / "calm"))
    for name in ("items.jsonl", "users.jsonl"):
        shutil.copy(shop / name, ground.history)
    deliver(ground, (shop / "events.jsonl").read_bytes().splitlines(keepends=True))


def deliver(ground: Ground, lines: list[bytes]) -> None:
    """Lines in the order they were exported, each into the history or the delivery of its hour."""
    found: dict[datetime | None, list[bytes]] = {}
    for moment, line in zip(arrivals(lines, ground.end), lines, strict=True):
        found.setdefault(moment if moment and moment >= ground.intervals[0] else None, []).append(line)
    for hour, part in found.items():
        name = f"{hour:%Y-%m-%dT%H}" if hour else ""
        folder = ground.deliveries / name if hour else ground.history
        folder.mkdir(parents=True, exist_ok=True)
        (folder / (f"events-{name}.jsonl" if hour else "events.jsonl")).write_bytes(b"".join(part))


def arrivals(lines: list[bytes], end: datetime) -> Iterator[datetime | None]:
    """The hour in which each line was exported: that of the newest time seen so far, so that late lines come late."""
    latest = None
    for line in lines:
        moment = time_of(line)
        if moment and moment < end:
            latest = max(latest or moment, moment)
        yield latest and latest.replace(minute=0, second=0, microsecond=0)


def time_of(line: bytes) -> datetime | None:
    """When the event happened; None for a line that is broken there."""
    try:
        return datetime.fromisoformat(orjson.loads(line)["event_time"])
    except (ValueError, KeyError, TypeError):
        return None
