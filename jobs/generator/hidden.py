"""What nobody but a test may know: each person's truly best items, and the vectors behind them."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from jobs.generator.catalogue import Catalogue
from jobs.generator.people import People
from jobs.generator.plan import Plan

BEST = 20
MOST_PEOPLE = 20_000  # whose tastes are written down; beyond, a sample
BLOCK = 500


def tastes(plan: Plan, catalogue: Catalogue, people: People) -> Iterator[pa.Table]:
    """user_id, item_id, rank (1 is best): the 20 best items on sale at the end, by personal taste alone.

    Popularity, trends and novelty play no part. Ties go to the lower item_id. The bot has no taste.
    """
    on_sale = np.flatnonzero(catalogue.on_sale(plan.end_ms - 1))
    who = sample(plan, people)
    for at in range(0, len(who), BLOCK):
        block = who[at : at + BLOCK]
        best = _best(people.vectors[block] @ catalogue.vectors[on_sale].T)
        rank = np.tile(np.arange(1, best.shape[1] + 1, dtype=np.int32), len(block))
        columns = {
            "user_id": texts(people.ids[np.repeat(block, best.shape[1])]),
            "item_id": texts(catalogue.ids[on_sale[best.ravel()]]),
            "rank": rank,
        }
        yield pa.table(columns)


def _best(affinity: np.ndarray) -> np.ndarray:
    """Positions of the highest values of each row, best first; of equals the lower position first."""
    keep = min(BEST, affinity.shape[1])
    top = np.sort(np.argpartition(-affinity, keep - 1, axis=1)[:, :keep], axis=1)
    order = np.argsort(-np.take_along_axis(affinity, top, axis=1), axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1)


def vectors(plan: Plan, catalogue: Catalogue, people: People) -> dict[str, pa.Table]:
    """The hidden vectors by file name; their inner product is how well an item suits a person."""
    who = sample(plan, people)
    users = {"user_id": texts(people.ids[who]), "vector": _lists(people.vectors[who])}
    items = {"item_id": texts(catalogue.ids), "vector": _lists(catalogue.vectors)}
    return {"user_vectors": pa.table(users), "item_vectors": pa.table(items)}


def sample(plan: Plan, people: People) -> np.ndarray:
    """Everybody, or 20,000 of them; never the bot."""
    who = np.delete(np.arange(people.n), people.bot)
    if len(who) > MOST_PEOPLE:
        who = np.sort(plan.rng(7).choice(who, MOST_PEOPLE, replace=False))
    return who


def texts(characters: np.ndarray) -> pa.Array:
    """Bytes of one width as an Arrow array of strings."""
    return pa.array(characters).cast(pa.string())


def _lists(matrix: np.ndarray) -> pa.Array:
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(matrix).ravel()))
