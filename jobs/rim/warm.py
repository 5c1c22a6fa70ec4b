"""The warm store at publish: whose slates go there instead of into Redis, written and read back before the switch.

Rows carry their generation's tag, so a publisher that dies, is overtaken or comes again leaves nothing anybody could
mix up: rows that no release names are never asked for, and end by themselves.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np

from conf.settings import Settings
from jobs.kernels.lately import Lately
from jobs.rim.errors import TemporaryError
from jobs.rim.lake import Lake
from jobs.rim.manifest import iso
from jobs.rim.parcels import Life, UserRows
from jobs.rim.progress import Progress
from jobs.rim.shelf import Generation
from jobs.rim.shipment import batched
from jobs.rim.side_by_side import Shared, side_by_side
from jobs.rim.slate_files import Part, SlateFiles
from jobs.rim.warm_part import SECONDS_A_DAY, WarmPart, wrong_of
from jobs.rim.warm_table import READ_TOGETHER, WRITTEN_TOGETHER, WarmTable
from schemas.keys import Keys, tag_of
from schemas.release import Published
from schemas.warm import row_of

PACKED_TOGETHER = 20 * WRITTEN_TOGETHER
LIFE = Life(1, 1)  # of keys that are never sent: their values are taken


class GoOn(NamedTuple):
    """Of the publisher: called often, what it raises stops the work; and where lines go."""

    beat: Callable[[], None]
    say: Callable[[str], None]


class WarmStore:
    """The warm store for one command; what it wrote once it does not write again for a further Redis."""

    def __init__(self, settings: Settings, lake: Lake, keys: Keys):
        self.settings, self.publish, self.lake, self.keys = settings.warm, settings.publish, lake, keys
        self.table = WarmTable(settings.warm, settings.publish.timeout_ms / 1000)
        self.done: dict[str, WarmPart] = {}
        self.checked = False

    @classmethod
    def of(cls, settings: Settings, lake: Lake, keys: Keys) -> "WarmStore | None":
        return cls(settings, lake, keys) if settings.warm.table else None

    def check(self, say: Callable[[str], None]) -> None:
        """Look at the table, the first time. Raises as ``WarmTable.check``."""
        if not self.checked and (warning := self.table.check()):
            say(warning)
        self.checked = True

    def lately(self, generation: Generation) -> Lately | None:
        """Whom Redis keeps: who had an interaction within ``warm.after_days`` before the generation's ``as_of``.

        None, so everybody, where the lake does not have the interactions any more that the slates were made of.
        """
        slates = generation.origin.runs["slates"].manifest(self.lake)
        moment = datetime.fromisoformat(generation.as_of)
        found = self.lake.manifest("interactions", moment, slates.inputs.get("interactions", ""))
        if found is None:
            return None
        batches = self.lake.iter_batches(found.files["interactions"], ["user_id", "last_time"])
        return Lately.since(batches, moment - timedelta(days=self.settings.after_days))

    def fill(self, name: str, cold: SlateFiles, n_rows: int, before: Published | None, go_on: GoOn) -> WarmPart:
        """Write the rows of a generation and read a sample back, unless those of ``before`` are there for long.

        Raises:
            UsageError: DynamoDB refuses for good.
            TemporaryError: it cannot take the rows now, or does not give back what was written.
        """
        load = Load(self.table, cold, self.keys, name, n_rows, self.publish.verify_sample)
        before = before or self.done.get(name)
        if before and before.n_warm == n_rows and not wrong_of(before, self.publish.ttl_days):
            load.run(self.settings.connections, go_on.beat, ends_s=None)
            if not load.lacks():
                go_on.say(f"{name}: its {n_rows:,} rows are in the warm store already, until {before.warm_until}")
                return WarmPart(n_rows, before.warm_until)
        self.done[name] = self.write(load, go_on)
        return self.done[name]

    def write(self, load: "Load", go_on: GoOn) -> WarmPart:
        ends_s = int(time.time()) + self.publish.ttl_days * SECONDS_A_DAY
        load.run(self.settings.connections, go_on.beat, ends_s)
        if lacking := load.lacks():
            raise TemporaryError(f"{load.name}: {lacking} in the warm store; nothing was switched")
        until = iso(datetime.fromtimestamp(ends_s, UTC))
        go_on.say(f"{load.name}: {load.n_rows:,} rows in the warm store until {until}, {len(load.sample):,} read back")
        return WarmPart(load.n_rows, until)


class Load:
    """The cold rows of one generation on their way, or looked at; each k-th is remembered, to be compared."""

    def __init__(self, table: WarmTable, cold: SlateFiles, keys: Keys, name: str, n_rows: int, n_sample: int):
        self.table, self.cold, self.keys, self.name, self.n_rows = table, cold, keys, name, n_rows
        self.tag = tag_of(name)
        self.every = max(1, n_rows // n_sample)
        self.lock = threading.Lock()

    def run(self, n_threads: int, beat: Callable[[], None], ends_s: int | None) -> None:
        """Pack all rows, and write them unless ``ends_s`` is None."""
        self.n, self.sample = 0, {}
        with closing(Progress(f"{self.name} into the warm store", self.n_rows)) as progress:

            def work(parts: Shared) -> None:
                for part in parts:
                    for rows in self.packed(part):
                        self.remember(rows)
                        for some in batched(rows if ends_s else (), WRITTEN_TOGETHER):
                            parts.go_on()
                            self.table.put([row_of(user, self.tag, value, ends_s) for user, value in some])
                            progress.add(len(some))

            side_by_side(self.cold.parts(), work, n_threads, beat)

    def packed(self, part: Part) -> Iterator[list[tuple[str, bytes]]]:
        """Users and packed values of a part, some hundreds together."""
        for batch in self.cold.batches(part):
            users = UserRows(batch, self.keys, self.tag)
            for first in range(0, len(users), PACKED_TOGETHER):
                rows = np.arange(first, min(first + PACKED_TOGETHER, len(users)))
                parcel = users.parcel(rows, LIFE)
                values = values_of(users.answers[: parcel.n_answer].tobytes())
                yield list(zip(batch["user_id"].slice(first, len(rows)).to_pylist(), values, strict=True))

    def remember(self, rows: list[tuple[str, bytes]]) -> None:
        with self.lock:
            self.sample |= dict(rows[-self.n % self.every :: self.every])
            self.n += len(rows)

    def lacks(self) -> str:
        """What is not as it should be, in words; empty when all is."""
        if self.n != self.n_rows:
            return f"{self.n_rows:,} rows are due, {self.n:,} were found in the lake and are"
        users = list(self.sample)
        found: dict[str, bytes] = {}
        for first in range(0, len(users), READ_TOGETHER):
            found |= self.table.values(users[first : first + READ_TOGETHER], self.tag)
        wrong = sum(found.get(user) != value for user, value in self.sample.items())
        return f"{wrong:,} of {len(users):,} rows read back are missing or other than written" if wrong else ""


def values_of(answers: bytes) -> Iterator[bytes]:
    """The values out of what a GET of each key would answer."""
    at = 0
    while at < len(answers):
        line = answers.index(b"\r\n", at)
        begin, at = line + 2, line + 4 + int(answers[at + 1 : line])
        yield answers[begin : at - 2]
