"""A recipe and what was fitted by it, as rows of the lake's tables, and back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from jobs.kernels.recipe import sources
from jobs.kernels.recipe.affinities import ITEM_SIDE, PRODUCTS, Affinities
from jobs.kernels.recipe.choose import Choice
from jobs.kernels.recipe.describe import ITEM_NAMES, named
from jobs.kernels.recipe.forest import read_forest
from jobs.kernels.recipe.grid import Setting
from jobs.kernels.recipe.model import POPULAR_DAYS, Model, lengths, most_popular
from jobs.kernels.recipe.past import latest
from jobs.kernels.recipe.people import People
from jobs.kernels.recipe.recommend import Recipe
from jobs.kernels.recipe.sources import ByFactors, ByNeighbors
from schemas.arrow import arrow_schema
from schemas.tables import TABLES

MICROSECONDS = 1e6


def to_row(recipe: Recipe) -> dict:
    """The row of table ``recipe``."""
    settings = {
        name: {"fit": setting.fit.__name__, "options": dict(setting.options)} for name, setting in recipe.chosen.items()
    }
    return {
        "name": "recipe",
        "description": str(recipe),
        "settings": json.dumps(settings),
        "form": recipe.choice.form,
        "single": recipe.choice.single,
        "rankers": [ranker.text for ranker in recipe.rankers],
    }


def from_row(row: Mapping) -> Recipe:
    """As ``to_row`` was given it, but for what the forms were judged by."""
    chosen = {
        name: Setting(getattr(sources, how["fit"]), how["options"]) for name, how in json.loads(row["settings"]).items()
    }
    rankers = [read_forest(text) for text in row["rankers"]]
    return Recipe(chosen, Choice(row["form"], row["single"], ()), rankers)


def to_tables(model: Model, user_ids: np.ndarray, item_idx: np.ndarray) -> dict[str, pa.Table]:
    """user_factors, item_factors, item_weights, item_features; ``item_idx`` of the model's item codes, rising.

    Affinities are stored as sources by factors are: under their names, which no source has. A source whose users were
    factorised elsewhere has none here.
    """
    warm = np.flatnonzero(model.warm)
    items = item_idx[warm]
    by_factors = {name: source for name, source in model.sources.items() if isinstance(source, ByFactors)}
    by_neighbors = {name: source for name, source in model.sources.items() if isinstance(source, ByNeighbors)}
    users = [vectors("user_id", user_ids, name, one.users) for name, one in by_factors.items() if len(one.users)]
    factors = [vectors("item_idx", items, name, source.items[warm]) for name, source in by_factors.items()]
    for name, rows in model.affinities.users.items():
        some = rows.any(axis=1)  # few people search
        users.append(vectors("user_id", user_ids[some], name, rows[some]))
    factors += [vectors("item_idx", items, name, rows[warm]) for name, rows in model.affinities.items.items()]
    weights = [weighted(items, name, source.weights[warm][:, warm]) for name, source in by_neighbors.items()]
    known_until = pa.array(np.full(len(warm), round(model.cut_s * MICROSECONDS)), pa.timestamp("us", "UTC"))
    described = pa.table({"item_idx": items, "vector": lists_of(model.items[warm]), "known_until": known_until})
    stacked = {"user_factors": users, "item_factors": factors, "item_weights": weights, "item_features": [described]}
    return {name: conforming(name, parts) for name, parts in stacked.items()}


def conforming(table: str, parts: list[pa.Table]) -> pa.Table:
    schema = arrow_schema(TABLES[table])
    return pa.concat_tables([schema.empty_table(), *(part.select(schema.names).cast(schema) for part in parts)])


def vectors(key: str, ids: np.ndarray, name: str, factors: np.ndarray) -> pa.Table:
    return pa.table({key: ids, "source": [name] * len(ids), "vector": lists_of(factors)})


def lists_of(matrix: np.ndarray) -> pa.ListArray:
    """One list a row."""
    offsets = np.arange(0, (len(matrix) + 1) * matrix.shape[1], matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, matrix.astype(np.float32).ravel())


def weighted(items: np.ndarray, name: str, weights: sp.csr_matrix) -> pa.Table:
    offsets = pa.array(weights.indptr, pa.int32())
    others = pa.ListArray.from_arrays(offsets, items[weights.indices].astype(np.int32))
    values = pa.ListArray.from_arrays(offsets, weights.data.astype(np.float32))
    return pa.table({"item_idx": items, "source": [name] * len(items), "others": others, "weights": values})


@dataclass(frozen=True)
class Stored:
    """A fitted model out of the lake: its item codes are positions in ``item_idx``, which rises.

    Its sources by factors and its affinities have no users: ``with_users`` gives them those of one block. ``by_vector``
    names them all: what user_factors holds.
    """

    model: Model
    item_idx: np.ndarray

    @property
    def by_factors(self) -> tuple[str, ...]:
        return tuple(name for name, source in self.model.sources.items() if isinstance(source, ByFactors))

    @property
    def by_vector(self) -> tuple[str, ...]:
        return (*self.by_factors, *(name for name in PRODUCTS if name in self.model.affinities.items))

    def width(self, name: str) -> int:
        """The length of a vector of one of ``by_vector``."""
        affinities = self.model.affinities.items
        return (affinities[name] if name in affinities else self.model.sources[name].items).shape[1]

    def codes(self, item_idx: np.ndarray) -> np.ndarray:
        """The item codes, -1 for items nobody had taken."""
        inside = (item_idx >= 0) & (item_idx < len(self._code_of))
        return np.where(inside, self._code_of[np.where(inside, item_idx, -1)], -1)

    @cached_property
    def _code_of(self) -> np.ndarray:
        """By item_idx, whose numbers leave few gaps: a search in twenty million places takes seconds."""
        found = np.full(self.item_idx.max(initial=0) + 1, -1, np.int64)
        found[self.item_idx] = np.arange(len(self.item_idx))
        return found

    def with_users(self, vectors: Mapping[str, np.ndarray]) -> Model:
        """The model for a block of users with these vectors, by the names in ``by_vector``, in that order."""
        sources = {
            name: replace(source, users=vectors[name]) if name in vectors else source
            for name, source in self.model.sources.items()
        }
        users = {name: vectors[name] for name in PRODUCTS if name in vectors}
        return replace(self.model, sources=sources, affinities=replace(self.model.affinities, users=users))


def load_model(recipe: Recipe, tables: Mapping[str, pa.Table]) -> Stored:
    """Out of item_factors, item_weights and item_features, which may be empty."""
    described = tables["item_features"].sort_by("item_idx")
    item_idx = described["item_idx"].to_numpy().astype(np.int64)
    items = matrix_of(described["vector"], len(ITEM_NAMES))
    known_until = described["known_until"].cast(pa.int64())
    cut_s = known_until[0].as_py() / MICROSECONDS if len(item_idx) else 0.0
    stored = Stored(Model(cut_s, {}, items, (), np.ones(len(item_idx), bool), Affinities({}, {})), item_idx)
    found = {name: load_vectors(name, tables["item_factors"], stored) for name in ITEM_SIDE}
    affinities = Affinities({}, {name: vectors for name, vectors in found.items() if vectors.shape[1]})
    fitted = {name: load_source(name, setting, tables, stored) for name, setting in recipe.chosen.items()}
    columns = [items[:, ITEM_NAMES.index(f"popularity_{named(days)}")] for days in POPULAR_DAYS]
    popular = tuple(most_popular(column, stored.model.warm) for column in columns)
    model = replace(stored.model, sources=fitted, popular=popular, affinities=affinities)
    return replace(stored, model=replace(model, by_length=lengths(model)))


def load_source(name: str, setting: Setting, tables: Mapping[str, pa.Table], stored: Stored) -> object:
    if setting.fit is sources.fit_als:
        factors = load_vectors(name, tables["item_factors"], stored)
        nobody = np.zeros((0, factors.shape[1]), np.float32)
        return ByFactors(nobody, factors, {"days": None} | dict(setting.options))
    rows = tables["item_weights"].filter(pc.equal(tables["item_weights"]["source"], name)).combine_chunks()
    row = np.repeat(stored.codes(rows["item_idx"].to_numpy()), pc.list_value_length(rows["others"]).to_numpy())
    column = stored.codes(pc.list_flatten(rows["others"]).to_numpy())
    cells = pc.list_flatten(rows["weights"]).to_numpy()
    return ByNeighbors(
        sources.HISTORIES.get(setting.fit, "all"), sp.csr_matrix((cells, (row, column)), (len(stored.item_idx),) * 2)
    )


def load_vectors(name: str, item_factors: pa.Table, stored: Stored) -> np.ndarray:
    """``(n_items, width)``; the width is 0 where the table has none of that name."""
    rows = item_factors.filter(pc.equal(item_factors["source"], name))
    found = matrix_of(rows["vector"], 0)
    vectors = np.zeros((len(stored.item_idx), found.shape[1]), np.float32)
    vectors[stored.codes(rows["item_idx"].to_numpy())] = found
    return vectors


def matrix_of(lists: pa.ChunkedArray, width: int) -> np.ndarray:
    """A column of equally long lists as a matrix; of ``width`` where it is empty."""
    flat = pc.list_flatten(lists).to_numpy()
    return flat.reshape(len(lists), -1) if len(lists) else np.zeros((0, width), np.float32)


def people_of(
    user: np.ndarray, item_idx: np.ndarray, first_us: np.ndarray, last_us: np.ndarray, n_users: int, stored: Stored
) -> People:
    """Users 0 to n_users - 1 and the items they took, parallel arrays in any order, each pair once, times in
    microseconds since 1970. Items the model does not know are left out; times of a user without any are infinite.
    """
    code = stored.codes(item_idx)
    cell = user.astype(np.int64) * len(stored.item_idx) + code
    order = np.arange(len(cell)) if (cell[1:] > cell[:-1]).all() else np.lexsort((code, user))
    order = order[code[order] >= 0]
    user, code = user[order].astype(np.int32), code[order].astype(np.int32)
    first_s, last_s = first_us[order] / MICROSECONDS, last_us[order] / MICROSECONDS
    first_s, latest_s = -latest(user, -first_s, n_users), latest(user, last_s, n_users)
    return People(user, code, last_s, first_s, latest_s, len(stored.item_idx))
