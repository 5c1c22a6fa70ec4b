"""A LightGBM model as arrays, and its predictions for many rows at once: equal to LightGBM's own, bit for bit.

Every node of a small tree is asked, for a block of rows together: where it sends a row to the right, the leaves on its
left are out; the leftmost leaf that stays is the row's (QuickScorer: Lucchese et al. 2015). Unlike in a walk down the
tree, nothing waits for what was read before.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jobs.kernels.compiled import kernel

MAX_LEAVES = 16  # of a tree
BLOCK_ROWS = 256
BYTE = 256
CATEGORICAL, DEFAULT_LEFT, MISSING_IS_NAN = 1, 2, 2 << 2  # bits of LightGBM's decision_type
MISSING_BITS = 3 << 2


@dataclass(frozen=True)
class Forest:
    """``text`` is LightGBM's own form of the model.

    Nodes of all trees one after another: the feature, the threshold, whether what is no number goes left, and the
    leaves (bits, from the left) that stay when a row goes right. ``begins`` ``(n_trees + 1,)``: the nodes of each tree;
    ``values`` ``(n_trees, 2, BYTE)``: of the bits of the first and second eight leaves the value of the lowest.
    """

    text: str
    n_features: int
    feature: np.ndarray
    threshold: np.ndarray
    nan_left: np.ndarray
    kept: np.ndarray
    begins: np.ndarray
    values: np.ndarray

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Raw scores ``(n,)`` of rows ``(n, n_features)``, float32; ValueError where they have other columns."""
        if rows.shape[1] != self.n_features:
            raise ValueError(f"{rows.shape[1]} features, the model has {self.n_features}")
        scores = np.zeros(len(rows))
        rows = np.ascontiguousarray(rows, np.float32)
        add_trees(rows, self.feature, self.threshold, self.nan_left, self.kept, self.begins, self.values, scores)
        return scores


def read_forest(text: str) -> Forest:
    """Out of LightGBM's text. ValueError for what our recipes never hold: categories, or trees of more leaves."""
    head, *parts = text.split("\nTree=")
    n_features = int(fields(head)["max_feature_idx"]) + 1
    trees = [fields(part.partition("\nend of trees")[0]) for part in parts]
    nodes = [columns for tree in trees for columns in nodes_of(tree)]
    feature, threshold, nan_left, kept = (np.array(column) for column in zip(*nodes, strict=True)) if nodes else NONE
    sizes = [int(tree["num_leaves"]) - 1 for tree in trees]
    return Forest(
        text,
        n_features,
        feature.astype(np.int32),
        rounded_down(threshold),
        nan_left.astype(bool),
        kept.astype(np.uint16),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.array([values_of(tree) for tree in trees], np.float64).reshape(-1, 2, BYTE),
    )


NONE = (np.empty(0),) * 4


def fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def nodes_of(tree: dict[str, str]) -> Iterator[tuple[int, float, bool, int]]:
    """Feature, threshold, whether NaN goes left, and the leaves that stay when a row goes right."""
    if int(tree["num_leaves"]) > MAX_LEAVES:
        raise ValueError(f"a tree of {tree['num_leaves']} leaves; {MAX_LEAVES} at most are known here")
    names = ("split_feature", "decision_type", "left_child")
    features, kinds, lefts = (numbers(tree.get(name, ""), int) for name in names)
    place = {leaf: at for at, leaf in enumerate(in_order(tree))}
    for feature, kind, left, threshold in zip(features, kinds, lefts, numbers(tree.get("threshold", "")), strict=True):
        if kind & CATEGORICAL or kind & MISSING_BITS not in (0, MISSING_IS_NAN):
            raise ValueError(f"a decision of type {kind}: only numbers are known here")
        nan_left = bool(kind & DEFAULT_LEFT) if kind & MISSING_IS_NAN else threshold >= 0  # else NaN counts as 0
        gone = sum(1 << place[leaf] for leaf in in_order(tree, left))
        yield feature, threshold, nan_left, (1 << MAX_LEAVES) - 1 - gone


def in_order(tree: dict[str, str], node: int = 0) -> list[int]:
    """The leaves below a node from left to right; a leaf k is the node -k - 1."""
    if int(tree["num_leaves"]) == 1:
        return [0]
    if node < 0:
        return [-node - 1]
    left, right = (numbers(tree[name], int)[node] for name in ("left_child", "right_child"))
    return in_order(tree, left) + in_order(tree, right)


def values_of(tree: dict[str, str]) -> np.ndarray:
    """``(2, BYTE)``."""
    leaves = numbers(tree["leaf_value"])
    ordered = np.zeros(MAX_LEAVES)
    ordered[: len(leaves)] = [leaves[leaf] for leaf in in_order(tree)]
    bits = np.arange(BYTE)
    lowest = np.log2(np.maximum(bits & -bits, 1)).astype(int)
    return ordered[lowest + np.array([[0], [8]])]


def numbers(text: str, kind: type = float) -> list:
    return [kind(word) for word in text.split()]


def rounded_down(threshold: np.ndarray) -> np.ndarray:
    """The greatest float32 not above: of float32 the same are not above it."""
    near = threshold.astype(np.float32)
    return np.where(near.astype(np.float64) > threshold, np.nextafter(near, np.float32(-np.inf)), near)


@kernel
def add_trees(rows, feature, threshold, nan_left, kept, begins, values, scores):
    """Add every tree's value to ``scores``, tree by tree: sums round as LightGBM's."""
    columns = np.empty((rows.shape[1], BLOCK_ROWS), np.float32)
    left = np.empty(BLOCK_ROWS, np.uint16)
    for start in range(0, len(rows), BLOCK_ROWS):
        n = min(BLOCK_ROWS, len(rows) - start)
        for row in range(n):
            for at in range(rows.shape[1]):
                columns[at, row] = rows[start + row, at]
        for tree in range(len(begins) - 1):
            left[:] = np.uint16(0xFFFF)
            for node in range(begins[tree], begins[tree + 1]):
                column, bound, stays = columns[feature[node]], threshold[node], kept[node]
                if nan_left[node]:
                    for row in range(BLOCK_ROWS):
                        left[row] &= stays if column[row] > bound else np.uint16(0xFFFF)
                else:
                    for row in range(BLOCK_ROWS):
                        left[row] &= np.uint16(0xFFFF) if column[row] <= bound else stays
            low, high = values[tree]
            for row in range(n):
                first = left[row] & 0xFF
                scores[start + row] += low[first] if first else high[left[row] >> 8]
