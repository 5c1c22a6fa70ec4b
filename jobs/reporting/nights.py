"""What the slates of one night are like as a whole, and how far they moved from the night before."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.kernels.metrics import checked, coverage, exposure_gini, novelty
from jobs.kernels.statistics import first_places, moved
from jobs.rim.lake import Lake
from jobs.rim.manifest import DataFile, Manifest

TOP = 10  # places a person sees at first
COLUMNS = ["user_id", "items", "sources", "because_of"]


@dataclass(frozen=True)
class Slates:
    """``users`` and their first ``TOP`` items ``(n_users, TOP)``, -1 where there are fewer; lengths of whole slates;
    over all places, how many each source filled and how many have a reason."""

    users: pa.Array
    top: np.ndarray
    lengths: np.ndarray
    places: dict[str, int]
    n_explained: int


@dataclass(frozen=True)
class Night:
    """One row of the report's history; a measure of nothing is NaN, ``churn`` without a night before it None."""

    as_of: str
    gate: str
    n_users: int
    length: float
    shares: dict[str, float]
    explained: float
    coverage: float
    gini: float
    novelty: float
    churn: float | None


def read_slates(lake: Lake, run: Manifest) -> Slates:
    """Read in bounded memory but for the first places.

    Raises:
        FileNotFoundError: its files were removed from the lake.
        ValueError: they are no slates: no Parquet, or an item twice in a list.
    """
    users, tops, lengths, places, explained = [], [], [], {}, 0
    for batch in lake.iter_batches(run.files["slates"], COLUMNS):
        users.append(batch.column("user_id"))
        tops.append(first_places(batch.column("items"), TOP))
        lengths.append(pc.list_value_length(batch.column("items")).to_numpy())
        for found in pc.value_counts(batch.column("sources").flatten()).to_pylist():
            places[found["values"]] = places.get(found["values"], 0) + found["counts"]
        explained += pc.sum(pc.greater_equal(batch.column("because_of").flatten(), 0)).as_py() or 0
    return Slates(
        pa.concat_arrays(users) if users else pa.array([], pa.string()),
        checked(np.concatenate(tops) if tops else np.zeros((0, TOP), np.int64)),
        np.concatenate(lengths) if lengths else np.zeros(0, np.int64),
        places,
        explained,
    )


def describe(lake: Lake, run: Manifest, gate: str, slates: Slates, before: Slates | None, n_items: int) -> Night:
    """A row of the history; ``n_items`` is the size of the item dictionary then."""
    n_items = max(n_items, int(slates.top.max(initial=-1)) + 1)
    n_places = sum(slates.places.values())
    known = interactions_per_item(lake, run, n_items)
    return Night(
        as_of=run.as_of,
        gate=gate,
        n_users=len(slates.users),
        length=float(slates.lengths.mean()) if len(slates.lengths) else np.nan,
        shares={source: n / n_places for source, n in slates.places.items()},
        explained=slates.n_explained / n_places if n_places else np.nan,
        coverage=coverage(slates.top, TOP, n_items),
        gini=exposure_gini(slates.top, TOP, n_items),
        novelty=novelty(slates.top, TOP, known) if known.any() else np.nan,
        churn=None if before is None else moved((before.users, before.top), (slates.users, slates.top), TOP),
    )


def interactions_per_item(lake: Lake, run: Manifest, n_items: int) -> np.ndarray:
    """How many users dealt with each item, as the night that made the slates knew it."""
    counts = np.zeros(n_items, np.int64)
    for batch in lake.iter_batches(interactions_of(lake, run), ["item_idx"]):
        counts += np.bincount(batch.column("item_idx").to_numpy(), minlength=n_items)[:n_items]
    return counts


def interactions_of(lake: Lake, run: Manifest) -> list[DataFile]:
    """The files of the interactions that a run of slates read."""
    made = lake.manifest("interactions", datetime.fromisoformat(run.as_of), run.inputs.get("interactions", ""))
    return made.files["interactions"] if made else []
