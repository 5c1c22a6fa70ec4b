"""Rows of numbers become what is written: an Arrow table, or the bytes of JSON lines. Both say the same."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.generator.catalogue import Catalogue, parts
from jobs.generator.funnel import QUERIES_PER_ITEM
from jobs.generator.people import People
from jobs.generator.plan import Plan
from jobs.generator.rows import KIND, MS_HOUR, Rows
from jobs.generator.trouble import BREAKAGES
from jobs.generator.words import COUNTRIES, DEVICES
from schemas.tables import KINDS

PRICED = [KIND[name] for name in ("add_to_cart", "purchase", "return")]
BROKEN = {name: 1 + at for at, name in enumerate(BREAKAGES)}
BAD_DATE = np.frombuffer(b"2026-02-30T25:61:00.000Z", np.uint8)
CUT_AT = 60  # characters left of an unreadable line
HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint16)
QUANTITIES = range(-9, 10)
STARS = range(6)


class Encoder:
    """Knows the names of everything in one world. In Parquet a bad date and an unreadable row's columns are null."""

    def __init__(self, plan: Plan, catalogue: Catalogue, people: People):
        keys = plan.rng(6).integers(0, 2**63, 3, dtype=np.uint64)
        self._event_key, self._session_key, self._basket_key = keys
        self._price = catalogue.price
        self._hours = _hours(plan)
        self._first_hour = plan.start_ms // MS_HOUR
        self._values = {
            "kind": [*KINDS, "teleport"],
            "user": [name.decode() for name in people.ids],
            "item": [name.decode() for name in catalogue.ids],
            "query": _queries(catalogue),
            "stars": [float(stars) for stars in STARS],
            "price": [round(float(price), 2) for price in catalogue.price],
            "country": list(COUNTRIES),
            "device": list(DEVICES),
        }
        self._pieces: dict[str, pa.Array] = {}

    def table(self, rows: Rows) -> pa.Table:
        """One row each, in the columns of the event contract."""
        lost = rows["broken"] == BROKEN["unreadable"]
        dateless = lost | (rows["broken"] == BROKEN["bad_date"])
        item = np.where(lost, -1, rows["item"])
        columns = {
            "event_id": _strings(_hex(rows["number"], self._event_key)),
            "event_time": pa.array(rows["time"] * 1000, pa.timestamp("us", tz="UTC"), mask=dateless),
            "kind": self._names("kind", np.where(lost, -1, rows["kind"])),
            "user_id": self._names("user", np.where(lost, -1, rows["user"])),
            "session_id": _strings(_hex(rows["session"], self._session_key), lost),
            "item_id": self._names("item", item),
            "basket_id": _strings(_hex(rows["basket"], self._basket_key), lost | (rows["basket"] < 0)),
            "query": self._names("query", np.where(lost, -1, rows["query"])),
            "value": pa.array(rows["stars"].astype(np.float64), mask=lost | (rows["stars"] < 0)),
            "quantity": pa.array(rows["quantity"].astype(np.int32), mask=lost | (rows["quantity"] == 0)),
            "price": pa.array(np.round(self._price[item], 2), mask=~_priced(rows) | (item < 0)),
            "country": self._names("country", np.where(lost, -1, rows["country"])),
            "device": self._names("device", np.where(lost, -1, rows["device"])),
        }
        return pa.table(columns)

    def lines(self, rows: Rows) -> memoryview:
        """The rows as JSON lines; null fields are left out."""
        head = _matrix(
            '{"event_id":"', _hex(rows["number"], self._event_key), '","event_time":"', self._times(rows), '"'
        )
        basket = _matrix(',"basket_id":"', _hex(rows["basket"], self._basket_key), '"')
        pieces = [
            _strings(head),
            self._piece("kind", "kind", rows["kind"]),
            self._piece("user_id", "user", rows["user"]),
            _strings(_matrix(',"session_id":"', _hex(rows["session"], self._session_key), '"')),
            self._piece("item_id", "item", rows["item"]),
            _strings(basket, rows["basket"] < 0),
            self._piece("query", "query", rows["query"]),
            self._piece("value", "stars", rows["stars"]),
            self._quantity(rows["quantity"]),
            self._piece("price", "price", np.where(_priced(rows), rows["item"], -1)),
            self._piece("country", "country", rows["country"]),
            self._piece("device", "device", rows["device"]),
        ]
        options = {"null_handling": "replace", "null_replacement": ""}
        lines = pc.binary_join_element_wise(*pieces, "}\n", "", **options)
        return _bytes(_cut(lines, rows["broken"] == BROKEN["unreadable"]))

    def _names(self, column: str, index: np.ndarray) -> pa.Array:
        return _looked_up(self._memo(column, self._values[column]), index)

    def _piece(self, field: str, column: str, index: np.ndarray) -> pa.Array:
        texts = [_field(field, value) for value in self._values[column]] if field not in self._pieces else []
        return _looked_up(self._memo(field, texts), index)

    def _quantity(self, quantity: np.ndarray) -> pa.Array:
        texts = [_field("quantity", n) for n in QUANTITIES]
        return _looked_up(self._memo("quantity", texts), np.where(quantity == 0, -1, quantity - QUANTITIES[0]))

    def _memo(self, key: str, values: list) -> pa.Array:
        if key not in self._pieces:
            self._pieces[key] = pa.array(values)
        return self._pieces[key]

    def _times(self, rows: Rows) -> np.ndarray:
        """(n, 24) characters such as 2026-01-31T09:05:00.250Z."""
        hour, rest = np.divmod(rows["time"], MS_HOUR)
        seconds, ms = np.divmod(rest, 1000)
        text = _matrix(self._hours[hour - self._first_hour], _SECONDS[seconds], _MILLIS[ms], "Z")
        text[rows["broken"] == BROKEN["bad_date"]] = BAD_DATE
        return text


def _queries(catalogue: Catalogue) -> list[str]:
    """What somebody who wants the item types, three ways each."""
    queries = []
    for group, ordinal in zip(catalogue.group, catalogue.ordinal, strict=True):
        adjective, material, noun = (part.lower() for part in parts(*catalogue.group_names[group], ordinal))
        queries += [noun, f"{material} {noun}", f"{adjective} {noun}"]
    assert len(queries) == QUERIES_PER_ITEM * catalogue.n
    return queries


def _priced(rows: Rows) -> np.ndarray:
    return np.isin(rows["kind"], PRICED) & (rows["item"] >= 0)


def _field(name: str, value) -> str:
    return f',"{name}":"{value}"' if isinstance(value, str) else f',"{name}":{value}'


def _looked_up(values: pa.Array, index: np.ndarray) -> pa.Array:
    """``values`` at ``index``; null where the index is negative."""
    return values.take(pa.array(index, mask=index < 0))


def _hex(numbers: np.ndarray, key: np.uint64) -> np.ndarray:
    """(n, 16) hex digits that look like chance, different for different numbers (splitmix64 is a bijection)."""
    z = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return HEX[z.view(np.uint8)].view(np.uint8).reshape(-1, 16)


def _matrix(*parts) -> np.ndarray:
    """Texts and (n, width) characters side by side."""
    n = max(len(part) for part in parts if not isinstance(part, str))
    blocks = [np.frombuffer(part.encode(), np.uint8)[None, :] if isinstance(part, str) else part for part in parts]
    out = np.empty((n, sum(block.shape[1] for block in blocks)), np.uint8)
    at = 0
    for block in blocks:
        out[:, at : at + block.shape[1]] = block
        at += block.shape[1]
    return out


def _strings(characters: np.ndarray, null: np.ndarray | None = None) -> pa.Array:
    """(n, width) characters as an Arrow array of strings, without copying them."""
    n, width = characters.shape
    offsets = np.arange(n + 1, dtype=np.int32) * np.int32(width)
    valid = None if null is None else pa.py_buffer(np.packbits(~null, bitorder="little"))
    buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(characters))]
    return pa.Array.from_buffers(pa.string(), n, buffers)


def _cut(lines: pa.Array, unreadable: np.ndarray) -> pa.Array:
    if not unreadable.any():
        return lines
    cut = [line[:CUT_AT] + "\n" for line in lines.filter(pa.array(unreadable)).to_pylist()]
    return pc.replace_with_mask(lines, pa.array(unreadable), pa.array(cut))


def _bytes(lines: pa.Array) -> memoryview:
    """The characters of all the lines, which already lie one after the other."""
    _, offsets, characters = lines.buffers()
    ends = np.frombuffer(offsets, np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return memoryview(characters)[ends[0] : ends[-1]] if len(lines) else memoryview(b"")


def _table_of(texts: list[str]) -> np.ndarray:
    """(n, width) characters of texts of one width."""
    return np.frombuffer("".join(texts).encode(), np.uint8).reshape(len(texts), -1)


def _hours(plan: Plan) -> np.ndarray:
    hours = np.datetime64(plan.start_ms, "ms").astype("datetime64[h]") + np.arange(
        (plan.end_ms - plan.start_ms) // MS_HOUR
    )
    return _table_of([f"{hour}:" for hour in np.datetime_as_string(hours, unit="h")])


_SECONDS = _table_of([f"{second // 60:02d}:{second % 60:02d}." for second in range(3600)])
_MILLIS = _table_of([f"{ms:03d}" for ms in range(1000)])
