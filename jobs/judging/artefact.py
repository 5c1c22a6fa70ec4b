"""The fitted tables of tonight, out of the lake, asked for the days withheld from them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from jobs.kernels.artefact import artefact_statistics
from jobs.kernels.recipe.model import Model
from jobs.kernels.recipe.people import DAY_S, People
from jobs.kernels.recipe.stored import Stored, from_row, load_model, matrix_of, people_of
from jobs.rim.lineage import Lineage

FITTED = ("item_factors", "item_weights", "item_features")
MOST_PROBES = 2_000  # asked: every source scores all items for them; the table holds them in an order no id decides


def measure_artefact(lineage: Lineage) -> dict[str, float]:
    """See ``artefact_statistics``; ``n_probes`` 0 where nobody has anything withheld."""
    probes = lineage.read("probes").slice(0, MOST_PROBES)
    if not probes.num_rows:
        return {"n_probes": 0.0}
    recipe = from_row(lineage.read("recipe").to_pylist()[0])
    stored = load_model(recipe, {table: lineage.read(table) for table in FITTED})
    people, truth = asked(probes, stored)
    model = with_vectors(stored, probes, lineage.read("user_factors"))
    return artefact_statistics(recipe, model, people, truth, seed=int(lineage.as_of.timestamp() // DAY_S))


def asked(probes: pa.Table, stored: Stored) -> tuple[People, sp.csr_matrix]:
    """The probed users as the fit knows them, and the new and warm items of their withheld day."""
    n_users = probes.num_rows
    user, item_idx = unrolled(probes["items"])
    last_us = probes["last_us"].combine_chunks().flatten().to_numpy()
    people = people_of(user, item_idx, last_us, last_us, n_users, stored)
    user, item_idx = unrolled(probes["withheld"])
    code = stored.codes(item_idx)
    cells = (np.ones((code >= 0).sum(), np.float32), (user[code >= 0], code[code >= 0]))
    return people, sp.csr_matrix(cells, (n_users, len(stored.item_idx)))


def unrolled(lists: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The row and the value of every place."""
    lists = lists.combine_chunks()
    return pc.list_parent_indices(lists).to_numpy(), lists.flatten().to_numpy()


def with_vectors(stored: Stored, probes: pa.Table, user_factors: pa.Table) -> Model:
    """The model with the probed users' own vectors; zeros for whom the table does not name."""
    mine = user_factors.filter(pc.is_in(user_factors["user_id"], probes["user_id"].combine_chunks()))
    found = {}
    for name in stored.by_vector:
        rows = mine.filter(pc.equal(mine["source"], name))
        place = pc.index_in(rows["user_id"], probes["user_id"].combine_chunks()).to_numpy()
        found[name] = np.zeros((probes.num_rows, stored.width(name)), np.float32)
        found[name][place] = matrix_of(rows["vector"], stored.width(name))
    return stored.with_users(found)
