"""A dozen people: what they did last, what they would have got before, and what they get now."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from jobs.reporting.nights import TOP, interactions_of
from jobs.rim.lake import Lake
from jobs.rim.lineage import Lineage
from jobs.rim.manifest import DataFile, Manifest

N_USERS = 12
N_ACTIVE = 6  # of these, people who did something on the last day: theirs are the slates that move
N_LAST = 8
SLATE_COLUMNS = ["user_id", "items", "sources", "because_of"]
HISTORY_COLUMNS = ["user_id", "item_idx", "last_time", "n_purchases"]
Titles = Callable[[int], str]


@dataclass(frozen=True)
class Place:
    """An item of a slate; ``was`` is its rank the night before, None where it was not among the first places."""

    rank: int
    title: str
    source: str
    because_of: str | None
    was: int | None


@dataclass(frozen=True)
class Example:
    """``last``: (UTC day, title, bought) of the newest items, newest first; ``before`` None: had no slate then."""

    user_id: str
    last: list[tuple[str, str, bool]]
    before: list[Place] | None
    after: list[Place]
    n_new: int


def examples(lineage: Lineage, run: Manifest, before: Manifest | None) -> list[Example]:
    """The same people for the same night, whoever asks: chosen by the hash of their pseudonym."""
    lake, history = lineage.lake, interactions_of(lineage.lake, run)
    chosen = choose(lineage, run, history)
    slates = slates_of(lake, run, chosen)
    earlier = slates_of(lake, before, chosen) if before else {}
    done = rows_of(lake, history, chosen, HISTORY_COLUMNS)
    shown = {idx for slate in (*slates.values(), *earlier.values()) for idx, _, why in slate for idx in (idx, why)}
    title = titles(lineage, shown | set(done["item_idx"].to_pylist()))
    return [example(user, done, slates[user], earlier.get(user), title) for user in chosen]


def choose(lineage: Lineage, run: Manifest, history: list[DataFile]) -> list[str]:
    """``N_ACTIVE`` of those with a slate who were active on the last day, filled up from all of them."""
    day = lineage.as_of - timedelta(days=1)
    active: set[str] = set()
    for batch in lineage.lake.iter_batches(history, ["user_id", "last_time"]):
        recent = pc.greater_equal(batch.column("last_time"), pa.scalar(day, batch.schema.field("last_time").type))
        active.update(pc.unique(batch.column("user_id").filter(recent)).to_pylist())
    everyone = [
        user
        for batch in lineage.lake.iter_batches(run.files["slates"], ["user_id"])
        for user in batch.column("user_id").to_pylist()
    ]
    ordered = sorted(set(everyone), key=lambda user: hashlib.blake2b(user.encode(), digest_size=8).digest())
    first = [user for user in ordered if user in active][:N_ACTIVE]
    return list(dict.fromkeys([*first, *ordered]))[:N_USERS]


def rows_of(lake: Lake, files: list[DataFile], users: list[str], columns: list[str]) -> pa.Table:
    """The rows of some users."""
    wanted = pa.array(users, pa.string())
    parts = [
        batch.filter(pc.is_in(batch.column("user_id"), wanted)).select(columns)
        for batch in lake.iter_batches(files, columns)
    ]
    return pa.Table.from_batches(parts) if parts else pa.table({name: [] for name in columns})


def slates_of(lake: Lake, run: Manifest, users: list[str]) -> dict[str, list[tuple[int, str, int]]]:
    """By user the first places: (item_idx, source, item_idx of the reason)."""
    found = rows_of(lake, run.files["slates"], users, SLATE_COLUMNS).to_pylist()
    return {
        row["user_id"]: list(zip(row["items"], row["sources"], row["because_of"], strict=False))[:TOP] for row in found
    }


def titles(lineage: Lineage, wanted: set[int]) -> Titles:
    """How an item is called: by its title, else its id."""
    dictionary = lineage.lake.dictionary(lineage.snapshot)
    known = dictionary.filter(pc.is_in(dictionary["item_idx"], pa.array(sorted(wanted), pa.int32())))
    items = lineage.lake.current("items", lineage.snapshot, lineage.as_of).select(["item_id", "title"])
    rows = known.join(items, "item_id").to_pylist()
    names = {row["item_idx"]: row["title"] or row["item_id"] for row in rows}
    return lambda idx: names.get(idx, f"item {idx}")


def example(user: str, done: pa.Table, slate: list, earlier: list | None, title: Titles) -> Example:
    own = [row for row in done.to_pylist() if row["user_id"] == user]
    own.sort(key=lambda row: (row["last_time"], -row["item_idx"]), reverse=True)
    last = [(f"{row['last_time']:%Y-%m-%d}", title(row["item_idx"]), row["n_purchases"] > 0) for row in own[:N_LAST]]
    ranks = {idx: rank for rank, (idx, _, _) in enumerate(earlier or (), start=1)}
    after = places(slate, ranks, title)
    before = None if earlier is None else places(earlier, {}, title)
    return Example(user, last, before, after, sum(place.was is None for place in after))


def places(slate: list[tuple[int, str, int]], ranks: dict[int, int], title: Titles) -> list[Place]:
    return [
        Place(rank, title(idx), source.replace("_", " "), title(why) if why >= 0 else None, ranks.get(idx))
        for rank, (idx, source, why) in enumerate(slate, start=1)
    ]
