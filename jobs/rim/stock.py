"""Loads one generation: into Redis, and, where there is a warm store, users not seen for long into that instead."""

from collections.abc import Callable

from jobs.rim.history import History
from jobs.rim.redis_writer import Loaded, Writer
from jobs.rim.shelf import Generation
from jobs.rim.slate_files import SlateFiles
from jobs.rim.warm import GoOn, WarmStore
from jobs.rim.warm_part import WarmPart
from schemas.keys import tag_of
from schemas.release import Published, Release


class Stock:
    """What one publisher has loaded; ``say`` gets a line for each generation."""

    def __init__(self, writer: Writer, warm: WarmStore | None, history: History | None, say: Callable[[str], None]):
        self.writer, self.warm, self.history, self.say = writer, warm, history, say
        self.loaded: dict[str, Loaded] = {}

    def load(self, generation: Generation, known: Release | None) -> Published:
        """Load and read back a generation; ``known`` is the release that was live last.

        Raises as ``Writer.load`` and ``WarmStore.fill``.
        """
        if self.history and generation.origin:
            self.history.remember(generation.origin)
        name, entries = generation.name, generation.entries()
        lately = None
        if self.warm and generation.origin and isinstance(entries, SlateFiles):
            self.warm.check(self.say)
            lately = self.warm.lately(generation)
            if lately is None:
                gone = "the interactions behind it are gone from the lake: all its users go into Redis"
                self.say(f"warning: {generation.surface}: {name}: {gone}")
        hot = entries if lately is None else entries.only(lately.holds)
        loaded = self.loaded[name] = self.writer.load(name, hot)
        self.say(f"{generation.surface}: {name}: {loaded.n_keys:,} keys, {loaded.n_bytes:,} bytes, read back")
        part = WarmPart()
        if lately is not None and (n_cold := entries.n_rows - loaded.n_keys):
            cold = entries.only(lambda user_ids: ~lately.holds(user_ids))
            before = known.named(name) if known else None
            go_on = GoOn(self.writer.heartbeat, lambda line: self.say(f"{generation.surface}: {line}"))
            part = self.warm.fill(name, cold, n_cold, before, go_on)
        return Published(
            base=name,
            tag=tag_of(name),
            delta=None,
            as_of=generation.as_of,
            generated_at=generation.generated_at,
            n_keys=loaded.n_keys,
            dictionary=generation.dictionary,
            **part._asdict(),
        )

    def recheck(self, name: str) -> None:
        """Read a sample of a generation back once more. Raises as ``Writer.recheck``."""
        self.writer.recheck(name, self.loaded[name])
