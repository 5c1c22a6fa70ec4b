"""Packed lists of items out of compiled loops: byte for byte what plain Python makes of the same rows."""

from itertools import groupby

import numpy as np
import pytest

from jobs.kernels.item_values import AT_ONCE, CONTENT, Alike, Found, item_values
from schemas.codec import MAX_ITEMS, NONE, pack_list
from schemas.tables import SOURCES

VIEWED, BOUGHT = SOURCES.index("viewed_together"), SOURCES.index("bought_together")


def found_of(rows: list[tuple]) -> Found:
    """Rows of item, neighbor, score and source, by item."""
    item, neighbor, score, source = (np.array(column) for column in zip(*rows, strict=True))
    items, begins = np.unique(item, return_index=True)
    return Found(items, np.append(begins, len(rows)), neighbor.astype(np.int32), score, source)


def alike_of(lists: dict[int, list[tuple]]) -> Alike:
    flat = [pair for pairs in lists.values() for pair in pairs]
    begins = np.cumsum([0, *map(len, lists.values())])
    other, weight = (np.array([pair[at] for pair in flat], kind) for at, kind in ((0, np.int32), (1, np.float32)))
    return Alike(np.array(list(lists), np.int32), begins, other, weight)


def plainly(rows: list[tuple], lists: dict[int, list[tuple]]) -> dict[int, bytes]:
    """The oracle: what the docstrings say, item by item."""
    values, by_item = {}, {item: list(some) for item, some in groupby(rows, key=lambda row: row[0])}
    for item in dict.fromkeys([*by_item, *lists]):
        best: dict[int, tuple[float, str]] = {}
        for _, neighbor, score, source in by_item.get(item, []):
            if neighbor != item and len(best) < MAX_ITEMS:
                best.setdefault(neighbor, (score, SOURCES[source]))
        fresh = [(other, np.float32(weight)) for other, weight in lists.get(item, ()) if other not in (*best, item)]
        fresh = [(other, float(weight)) for other, weight in fresh[: MAX_ITEMS - len(best)]]
        least = min((score for score, _ in best.values()), default=np.inf)
        for other, weight in fresh:
            moved = least - 1 + (weight - fresh[0][1])
            scaled = weight * min(1.0, least / 2 / fresh[0][1])
            best[other] = (moved if least <= 0 else scaled, "content")
        scores, sources = zip(*best.values(), strict=True) if best else ((), ())
        values[item] = pack_list(list(best), scores, sources, [NONE] * len(best))
    return values


@pytest.mark.parametrize("seed", range(8))
def test_values_are_those_of_plain_python(seed):
    """Items met with themselves, with one another twice, with none; scores around 0; lists beyond what fits."""
    random = np.random.default_rng(seed)
    most, n_rows = [(300, 2_000), (70_000, 3_000), (2**31 - 2, 50), (9, 200)][seed % 4]
    lowest = -1.0 if seed % 2 else 0.5
    items = np.sort(random.integers(0, 12, n_rows))
    rows = [
        (
            int(item),
            int(random.integers(0, most + 1)),
            float(random.uniform(lowest, 3)),
            random.choice([VIEWED, BOUGHT]),
        )
        for item in items
    ]
    lists = {
        int(item): [(int(random.integers(0, most + 1)), 1 / (2 + rank)) for rank in range(random.integers(0, 300))]
        for item in random.permutation(20)[:12]
    }
    lists = {item: list(dict(pairs).items()) for item, pairs in lists.items()}
    assert dict(item_values(found_of(rows), alike_of(lists))) == plainly(rows, lists)


def test_many_items_come_in_the_order_of_what_was_found_then_of_what_is_alike():
    rows = [(item, item + 1, 1.0, VIEWED) for item in range(0, 2 * AT_ONCE + 10, 2)]
    lists = {item: [(item + 2, 0.5)] for item in (5, 3, 4)}
    made = list(item_values(found_of(rows), alike_of(lists)))
    assert [item for item, _ in made] == [*range(0, 2 * AT_ONCE + 10, 2), 5, 3]
    assert dict(made) == plainly(rows, lists)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ((1, 2, np.nan, VIEWED), "a score is not finite"),
        ((1, 2, 1e39, BOUGHT), "beyond float32"),
        ((1, -2, 1.0, BOUGHT), "item index -2"),
    ],
)
def test_what_cannot_be_packed_is_refused_in_the_words_of_the_plain_way(row, why):
    rows = [(0, 3, 1.0, VIEWED), row]
    with pytest.raises(ValueError, match=why):
        list(item_values(found_of(rows), alike_of({})))


def test_nothing_is_nothing():
    nothing = np.zeros(0, np.int32)
    found = Found(nothing, np.zeros(1, np.int64), nothing, np.zeros(0), nothing)
    assert list(item_values(found, alike_of({}))) == []
    assert dict(item_values(found, alike_of({7: []}))) == {7: pack_list([], [], [], [])}
    assert SOURCES[CONTENT] == "content"
