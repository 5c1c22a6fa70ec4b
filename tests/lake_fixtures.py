"""A small lake with real files, built from literal rows: a base row and what differs from it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from conf.settings import Settings, load_settings
from jobs.kernels.recipe.describe import ITEM_NAMES
from jobs.rim.lake import Lake, hour_key
from jobs.rim.manifest import Batch, DataFile, iso
from schemas.arrow import arrow_schema
from schemas.tables import SCHEMA_VERSION, TABLES

DAY = datetime(2026, 1, 10, tzinfo=UTC)  # the day all base rows are about
NIGHT = DAY + timedelta(days=1)  # the as_of that has seen all of it
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WEIGHTS = (
    {"kind": "view", "value": None, "weight_micro": 1_000_000},
    {"kind": "purchase", "value": None, "weight_micro": 4_000_000},
    {"kind": "return", "value": None, "weight_micro": -4_000_000},
)
BASE = {
    "events": {
        "event_time": DAY + timedelta(hours=12),
        "kind": "view",
        "user_id": "u1",
        "key_version": 1,
        "item_id": "a",
        "source": "shop",
        "ingested_at": NIGHT,
    },
    "items": {"item_id": "a", "valid_from": EPOCH, "available": True},
    "users": {"user_id": "u1", "valid_from": EPOCH},
    "interactions": {
        "user_id": "u1",
        "item_idx": 0,
        "weight_micro": 1_000_000,
        "total_micro": 1_000_000,
        "n_events": 1,
        "n_purchases": 0,
        "first_time": DAY,
        "last_time": DAY,
    },
    "item_neighbors": {
        "item_idx": 0,
        "kind": "viewed_together",
        "rank": 1,
        "neighbor_idx": 1,
        "n_pair": 2,
        "lift": 1.0,
        "llr": 1.0,
        "score": 0.5,
    },
    "slates": {
        "user_id": "u1",
        "items": [1],
        "scores": [0.5],
        "sources": ["als"],
        "because_of": [0],
        "propensities": [1.0],
        "seen": [0],
    },
    "candidates": {"user_id": "u1", "source": "als", "items": [1], "scores": [0.5], "because_of": [0]},
    "item_dictionary": {"item_id": "a", "item_idx": 0},
    "trending": {"segment": "all", "rank": 1, "item_idx": 0, "score": 1.0, "n_users": 1},
    "event_weights": {"source": "shop", "kind": "view", "value": None, "weight_micro": 1_000_000},
    "recipe": {
        "name": "recipe",
        "description": "ranked by fused; cosine()",
        "settings": '{"cosine": {"fit": "fit_cosine", "options": {}}}',
        "form": "fused",
        "single": "popularity_30",
        "rankers": [],
    },
    "user_factors": {"user_id": "u1", "source": "als", "vector": [1.0, 0.0]},
    "item_factors": {"item_idx": 0, "source": "als", "vector": [1.0, 0.0]},
    "item_weights": {"item_idx": 0, "source": "cosine", "others": [1], "weights": [0.5]},
    "item_features": {"item_idx": 0, "vector": [0.0] * len(ITEM_NAMES), "known_until": DAY},
    "probes": {"user_id": "u1", "items": [0], "last_us": [0], "withheld": [1]},
    "content_neighbors": {"item_idx": 1, "others": [0], "weights": [0.5]},
    "segment_lists": {"country": "FR", "items": [0], "scores": [1.0]},
    "metrics": {
        "cut": "pooled",
        "method": "recipe",
        "against": None,
        "measure": "ndcg@10",
        "segment": "all",
        "value": 0.1,
        "n_users": 100,
    },
}


def at(hours: float = 0, days: float = 0) -> datetime:
    """A moment counted from midnight of ``DAY``."""
    return DAY + timedelta(days=days, hours=hours)


def rows(table: str, *overrides: dict) -> pa.Table:
    """One row for each override on the table's base row; columns named by neither are null."""
    names = TABLES[table].names
    filled = [dict.fromkeys(names) | BASE[table] | override for override in overrides]
    for number, row in enumerate(filled if table == "events" else ()):
        row["event_id"] = row["event_id"] or f"e{number}"
        row["batch_id"] = row["batch_id"] or "b1"
    return pa.Table.from_pylist(filled, arrow_schema(TABLES[table]))


def backwards(table: pa.Table) -> pa.Table:
    """The same rows, the last first."""
    return table.take(list(reversed(range(table.num_rows))))


def dictionary(*item_ids: str) -> pa.Table:
    """The items in index order."""
    return rows("item_dictionary", *({"item_id": name, "item_idx": k} for k, name in enumerate(item_ids)))


def lake_settings(folder: Path, **sections: dict) -> Settings:
    """Settings of a lake below a folder, with everything else small."""
    small = {
        "lake": {"uri": str(folder / "lake"), "min_free_mb": 0},
        "identity": {"secret": "a secret of the tests"},
        "resources": {"memory_gb": 3},
        "spark": {"master": "local[2]", "shuffle_partitions": 2},
    }
    return load_settings(**{name: small.get(name, {}) | sections.get(name, {}) for name in {*small, *sections}})


def small_lake(folder: Path, events=(), items=(), users=(), weights=WEIGHTS, source: str = "shop") -> Lake:
    """A lake at ``folder/lake`` with one batch of these overrides."""
    lake = Lake.open(lake_settings(folder).lake)
    assert add_batch(lake, events, items, users, weights, source)
    return lake


def add_batch(lake: Lake, events=(), items=(), users=(), weights=WEIGHTS, source: str = "shop") -> bool:
    """Commit the next batch; False when its number was taken meanwhile."""
    return lake.commit_batch(next_batch(lake, events, items, users, weights, source))


def next_batch(lake: Lake, events=(), items=(), users=(), weights=WEIGHTS, source: str = "shop") -> Batch:
    """Write a batch's files, uncommitted. New items enter the dictionary in sorted order, after those it holds."""
    number = lake.snapshot() + 1
    batch_id = f"b{number}"
    marked = [{"event_id": f"{batch_id}-{k}", "batch_id": batch_id} | event for k, event in enumerate(events)]
    tables = {"events": rows("events", *marked), "items": rows("items", *items), "users": rows("users", *users)}
    known = lake.dictionary(number - 1)["item_id"].to_pylist()
    mentioned = {i for t in ("events", "items") for i in tables[t]["item_id"].to_pylist() if i is not None}
    fresh = sorted(mentioned - set(known))
    tables["item_dictionary"] = dictionary(*known, *fresh).slice(len(known))
    files = {t: [write(lake, t, batch_id, content)] for t, content in tables.items() if content.num_rows}
    return Batch(
        number=number,
        batch_id=batch_id,
        source=source,
        created_at=iso(NIGHT),
        first_hour=iso(DAY),
        end_hour=iso(NIGHT),
        schema_version=SCHEMA_VERSION,
        code_version="tests",
        key_version=1,
        n_items=len(known) + len(fresh),
        inputs=[],
        accounts={"weights": list(weights)},
        files=files,
    )


def write(lake: Lake, table: str, batch_id: str, content: pa.Table) -> DataFile:
    """One file of a batch, with its hours when it holds events."""
    file = lake.write(f"{table}/{batch_id}.parquet", table, content)
    if table != "events":
        return file
    hours: dict[str, int] = {}
    for moment in content["event_time"].to_pylist():
        hours[hour_key(moment)] = hours.get(hour_key(moment), 0) + 1
    return replace(file, hours=hours)
