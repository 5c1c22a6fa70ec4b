"""Items of a source that has no catalogue, as its event rows tell them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.sources.catalogue import ALWAYS, in_schema
from jobs.sources.chunk import Chunk
from jobs.sources.columns import typed
from jobs.sources.convert import flat, to_float
from jobs.sources.description import ItemsFromEvents
from jobs.sources.layout import Layout, Reference
from schemas.arrow import arrow_schema
from schemas.tables import ITEMS


class ToldByEvents:
    """Gathers what event rows say of items: title most frequent, ties alphabetically; price the median."""

    def __init__(self, spec: ItemsFromEvents):
        self.spec = spec
        self._titles: list[pa.Table] = []
        self._prices: list[pa.Table] = []

    def add(self, chunk: Chunk, layout: Layout, items: pa.Array, kept: np.ndarray) -> None:
        """Count the accepted rows' titles and prices."""
        index = pa.array(kept)
        for name, column, held in (
            ("title", self.spec.title, self._titles),
            ("price", self.spec.price, self._prices),
        ):
            ref = Reference(column=column) if column else None
            values = typed(chunk, ref, layout)
            values = to_float(values) if name == "price" else flat(pc.utf8_trim_whitespace(values))
            pairs = pa.table({"item_id": items.take(index), "value": values.take(index)})
            pairs = pairs.filter(pc.is_valid(pairs["item_id"]))
            held.append(pairs.append_column("n", pa.array(np.ones(pairs.num_rows, np.int64))))
        self._titles, self._prices = [total(self._titles)], [total(self._prices)]

    def rows(self) -> pa.Table:
        """The items table, by item_id."""
        if not self._titles:
            return arrow_schema(ITEMS).empty_table()
        counted = self._titles[0]
        titles = most_frequent(counted)
        prices = medians(self._prices[0])
        ids = sorted(pc.unique(counted["item_id"]).to_pylist())
        n = len(ids)
        rows = {column.name: pa.nulls(n, arrow_schema(ITEMS).field(column.name).type) for column in ITEMS.columns}
        rows |= {"item_id": pa.array(ids), "available": pa.repeat(True, n), "valid_from": pa.repeat(ALWAYS, n)}
        rows |= {
            "title": pa.array(map(titles.get, ids), pa.string()),
            "price": pa.array(map(prices.get, ids), pa.float64()),
        }
        return in_schema(rows, arrow_schema(ITEMS))


def total(parts: list[pa.Table]) -> pa.Table:
    """Counts of equal (item_id, value) added up."""
    counted = pa.concat_tables(parts).group_by(["item_id", "value"]).aggregate([("n", "sum")])
    return counted.rename_columns({"n_sum": "n"})


def most_frequent(counted: pa.Table) -> dict[str, str]:
    named = counted.filter(pc.and_(pc.is_valid(counted["value"]), pc.not_equal(counted["value"], "")))
    ranked = named.sort_by([("n", "ascending"), ("value", "descending")])  # the last one of an item stays
    return dict(zip(ranked["item_id"].to_pylist(), ranked["value"].to_pylist(), strict=True))


def medians(counted: pa.Table) -> dict[str, float]:
    """The median price of each item over its rows, refunds of less than nothing left out; of two middles their mean."""
    priced = counted.filter(pc.greater_equal(counted["value"], 0)).sort_by(
        [("item_id", "ascending"), ("value", "ascending")]
    )
    if not priced.num_rows:
        return {}
    ids = np.asarray(priced["item_id"].combine_chunks().dictionary_encode().indices)
    values, n = np.asarray(priced["value"]), np.asarray(priced["n"])
    starts = np.flatnonzero(np.append(True, np.diff(ids) != 0))
    ends = np.cumsum(n)
    before = np.append(0, ends)[starts]
    rows = np.add.reduceat(n, starts)
    low = values[np.searchsorted(ends, before + (rows - 1) // 2, side="right")]
    high = values[np.searchsorted(ends, before + rows // 2, side="right")]
    items = priced["item_id"].combine_chunks().take(pa.array(starts)).to_pylist()
    return dict(zip(items, ((low + high) / 2).tolist(), strict=True))
