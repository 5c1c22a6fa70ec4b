"""Who buys in the generated shop and what it sells, by arrays; equal arguments give equal rows."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from schemas.arrow import arrow_schema
from schemas.tables import ITEMS, USERS

COUNTRIES = ("DE", "FR", "IT", "ES", "PL", "NL")
AGE_BANDS = ("18-29", "30-39", "40-49", "50-59", "60-69")
SHAPES = ("lamp", "rug", "chair", "mug", "kettle", "shirt", "robe", "candle", "vase", "basket", "mirror", "blanket")
COLORS = ("amber", "olive", "slate", "ivory", "rust", "navy", "moss", "pearl", "coral", "sand")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DIGITS = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint8).reshape(256, 2)


def mixed(numbers: np.ndarray) -> np.ndarray:
    """uint64, distinct for distinct uint64 (the finalizer of splitmix64)."""
    found = numbers * np.uint64(0x9E3779B97F4A7C15)
    found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))


def hex_ids(*words: np.ndarray) -> pa.Array:
    """16 hex digits of each word, side by side; ``words`` are parallel arrays of uint64."""
    digits = DIGITS[np.stack(words, axis=1).view(np.uint8)].reshape(len(words[0]), -1)
    offsets = np.arange(len(digits) + 1, dtype=np.int32) * digits.shape[1]
    return pa.StringArray.from_buffers(len(digits), pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(digits)))


def user_ids(n_users: int, seed: int) -> pa.Array:
    """32 hex digits each, as pseudonyms have them."""
    numbers = np.arange(n_users, dtype=np.uint64)
    return hex_ids(mixed(numbers + np.uint64(seed << 40)), mixed(numbers + np.uint64(seed << 40 | 1 << 39)))


def users(ids: pa.Array) -> pa.Table:
    """The table users; country and age by position."""
    number = np.arange(len(ids))
    known = {
        "user_id": ids,
        "valid_from": pa.repeat(pa.scalar(EPOCH, pa.timestamp("us", tz="UTC")), len(ids)),
        "country": named(COUNTRIES, number),
        "age_band": named(AGE_BANDS, number // len(COUNTRIES)),
    }
    return filled(known, arrow_schema(USERS))


def catalogue(n_items: int, n_kinds: int, seed: int) -> pa.Table:
    """The table items; of each item its kind is its number modulo ``n_kinds``. One in a hundred is not to be had."""
    random, number = np.random.default_rng((seed, n_items)), np.arange(n_items)
    kind = number % n_kinds
    shape, color = random.permutation(n_kinds)[kind] % len(SHAPES), random.integers(0, len(COLORS), n_items)
    title = [f"{COLORS[c]} {SHAPES[s]} {k} no {i}" for c, s, k, i in zip(color, shape, kind, number, strict=True)]
    known = {
        "item_id": pa.array([f"i{i:07d}" for i in number]),
        "valid_from": pa.repeat(pa.scalar(EPOCH, pa.timestamp("us", tz="UTC")), n_items),
        "title": pa.array(title),
        "category": pa.array([f"kind {k}" for k in kind]),
        "price": pa.array(np.round(random.lognormal(2 + kind % 7 / 4, 0.5), 2)),
        "available": pa.array(random.random(n_items) >= 0.01),
    }
    return filled(known, arrow_schema(ITEMS))


def filled(columns: dict[str, pa.Array], schema: pa.Schema) -> pa.Table:
    """Null where there is no column."""
    n = len(next(iter(columns.values())))
    return pa.table([columns[f.name] if f.name in columns else pa.nulls(n, f.type) for f in schema], schema.names)


def named(names: tuple[str, ...], number: np.ndarray) -> pa.Array:
    """Text by number, modulo the names there are; as a dictionary, which costs a byte each."""
    return pa.DictionaryArray.from_arrays(pa.array((number % len(names)).astype(np.int8)), pa.array(names))
