"""What does the recipe put first for each user, and because of which of their own items?

Users are scored in blocks: every fitted source scores all items, the best of each are candidates, and the ranking model
orders them. Items the user already has never come out, but for what they bought and may buy again by the business
rules. Behind them stand new items described like what the user took, for places that are explored. Who likes nothing
so far gets the list of those like them. What memory holds is done by threads of this process, more, or on a cluster,
inside Spark's tasks.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits

from conf.settings import Settings
from jobs.kernels.histories import READ, VECTORS, histories_of
from jobs.kernels.proposals import Night, propose_block
from jobs.kernels.recipe.fresh import new_items
from jobs.kernels.recipe.reasons import NOBODY
from jobs.kernels.recipe.stored import from_row, load_model
from jobs.kernels.rules.night import rebuy_tonight
from jobs.rim.lineage import Job
from jobs.rim.memory import is_local, task_bytes, threads_here
from jobs.rim.side_by_side import in_turn
from schemas.tables import SEGMENT_LISTS

USER_BYTES = 1 << 20  # of a user whose candidates are ranked: about 1,200 of them, described
ROW_BYTES = 90  # of an interaction that is held in this process, on its way here and while it is held
VECTOR_COPIES = 3  # of a user's vectors, on their way here
PART_USERS = 32_768  # of a file


def transform(inputs: Mapping, as_of: datetime, settings: Settings) -> dict:
    """interactions, users, user_factors, segment_lists, the fitted tables, items, rules, means → candidates."""
    recipe = from_row(inputs["recipe"].to_pylist()[0])
    stored = load_model(recipe, inputs)
    rebuy = rebuy_tonight(inputs["rules"], inputs["items"], inputs["item_dictionary"], as_of)
    night = Night(recipe, stored, new_items(inputs["content_neighbors"], stored), rebuy, settings.candidates)
    needed = held_bytes(inputs, night)
    chosen = engine(needed, inputs["means"].alone_bytes, settings)
    made = by_spark if chosen["engine"] == "spark" else by_threads
    return {"candidates": made(inputs, night, settings), "measured": chosen | {"estimate_mb": needed >> 20}}


def held_bytes(inputs: Mapping, night: Night) -> int:
    """What everybody's histories and vectors take in this process."""
    widest = max(map(night.stored.width, night.stored.by_vector), default=0)
    vectors = inputs["user_factors"].num_rows * widest * np.dtype(np.float32).itemsize
    return inputs["interactions"].num_rows * ROW_BYTES + vectors * VECTOR_COPIES


def engine(needed: int, held: int, settings: Settings) -> dict[str, str]:
    """Which engine scores everybody, and why, where so many bytes of so many are needed beside the blocks."""
    wanted = settings.candidates.engine
    if wanted != "auto":
        return {"engine": wanted, "why": "candidates.engine says so"}
    if not is_local(settings.spark.master):
        return {"engine": "spark", "why": "spark.master is a cluster"}
    if needed + threads_here(settings.spark) * USER_BYTES > held:
        return {"engine": "spark", "why": f"{held >> 20:,} MiB are there"}
    return {"engine": "threads", "why": "it fits memory"}


def by_spark(inputs: Mapping, night: Night, settings: Settings):
    from jobs.kernels.proposals_spark import propose_in_spark

    tables = (inputs["means"].in_spark(name) for name in ("interactions", "users", "user_factors", "segment_lists"))
    # A number: all of settings would take the secret along to every executor.
    block_users = max(min(settings.candidates.block_users, task_bytes(settings) // USER_BYTES), 1)
    return propose_in_spark(*tables, night, block_users)


def by_threads(inputs: Mapping, night: Night, settings: Settings) -> Iterator[pa.Table]:
    """In parts, made while the ones before are written."""
    interactions, user_factors = inputs["interactions"], inputs["user_factors"]
    everybody = histories_of(
        interactions.arrow(list(READ), ["user_id"]), user_factors.arrow(list(VECTORS), ["user_id"]), night
    )
    n_threads = threads_here(settings.spark)
    room = inputs["means"].alone_bytes - held_bytes(inputs, night)
    fair = -(-everybody.n_users // n_threads)
    size = max(min(settings.candidates.block_users, room // n_threads // USER_BYTES, fair), 1)
    with threadpool_limits(1, "blas"):
        blocks = in_turn(
            lambda first: propose_block(everybody.block(first, first + size), night),
            range(0, everybody.n_users, size),
            n_threads,
        )
        while some := list(islice(blocks, max(PART_USERS // size, 1))):
            yield pa.Table.from_batches(some)
    users = inputs["users"]
    newcomers = users.filter(pc.invert(pc.is_in(users["user_id"], value_set=everybody.liking())))
    for start in range(0, newcomers.num_rows, PART_USERS):
        yield lists_for(newcomers.slice(start, PART_USERS), inputs["segment_lists"])


def lists_for(newcomers: pa.Table, lists: pa.Table) -> pa.Table:
    """The list of their kind for users who like nothing so far; none for those of a kind without a list."""
    place = pc.index_in(*(pa.array(key) for key in kinds(newcomers, lists)))
    found, place = newcomers["user_id"].filter(place.is_valid()), place.drop_null()
    items = lists["items"].combine_chunks()
    offsets = np.append(0, np.cumsum(pc.list_value_length(items).to_numpy()))
    nobody = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(np.full(offsets[-1], NOBODY, np.int32)))
    columns = {"items": items, "scores": lists["scores"], "because_of": nobody}
    taken = {name: column.take(place) for name, column in columns.items()}
    return pa.table({"user_id": found, "source": pa.repeat("segment", len(found))} | taken)


def kinds(newcomers: pa.Table, lists: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """A number for what is known of each newcomer, and of whom each list is for: equal where all of it is, null too."""
    numbers = [np.zeros(table.num_rows, np.int64) for table in (newcomers, lists)]
    for name in SEGMENT_LISTS.key:
        values = pc.unique(lists[name])
        for number, table in zip(numbers, (newcomers, lists), strict=True):
            number *= len(values) + 1
            number += pc.fill_null(pc.index_in(table[name], values), -1).to_numpy() + 1
    return tuple(numbers)


JOB = Job(
    name="candidates",
    inputs=(
        *("interactions", "users", "user_factors", "segment_lists"),
        *("recipe", "item_factors", "item_weights", "item_features", "content_neighbors", "items", "item_dictionary"),
    ),
    outputs=("candidates",),
    settings=("candidates",),
    engine="either",
    transform=transform,
    rules=("rebuy",),
    columns={"interactions": READ, "user_factors": VECTORS},
)
