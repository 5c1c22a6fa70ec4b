"""LensKit's own metric code on lists from stdin, without torch: JSON in, JSON out. Run by test_lenskit in a process.

LensKit imports torch wherever it might meet a tensor, and torch is 5 GB with its CUDA wheels, so the lock leaves it out
(``exclude-dependencies`` in pyproject.toml). Its ranking metrics compute with numpy and pandas alone. What they need of
torch is that it can be imported and that nothing is a tensor: a stand-in says so, and whatever would compute with it
fails with an AttributeError. In a process of its own, since here ``sys.modules`` holds something that is not torch.
"""

import json
import sys
from types import ModuleType, SimpleNamespace


def stand_in() -> ModuleType:
    """A torch without tensors: a class nothing is an instance of, and a decorator that changes nothing."""
    torch = ModuleType("torch")
    torch.Tensor = type("Tensor", (), {})
    torch.is_tensor = lambda value: False
    torch.jit = SimpleNamespace(ignore=lambda function: function)
    return torch


def answers(lists: list[list[int]], truth: list[list[int]], n_items: int, k: int) -> dict[str, list[float] | float]:
    """Each measure under our name: one value a user, or one for all."""
    import numpy as np
    from lenskit.data import ItemList
    from lenskit.metrics import NDCG, Hit, ListGini, LogRankWeight, Precision, Recall, RecipRank
    from lenskit.metrics.ranking import AveragePrecision

    outputs = [ItemList(item_ids=np.array(items, np.int64), ordered=True) for items in lists]
    tests = [ItemList(item_ids=np.array(items, np.int64)) for items in truth]
    measures = {
        "ndcg": NDCG(k, weight=LogRankWeight(offset=1)),
        "ndcg_clipped": NDCG(k),
        "recall": Recall(k),
        "precision": Precision(k),
        "average_precision": AveragePrecision(k),
        "hit": Hit(k),
        "reciprocal_rank": RecipRank(k),
    }
    pairs = list(zip(outputs, tests, strict=True))
    found = {name: [float(measure.measure_list(*pair)) for pair in pairs] for name, measure in measures.items()}
    gini = ListGini(k, items=n_items)
    shown = [gini.measure_list(*pair) for pair in pairs if len(pair[0])]  # LensKit gives empty lists another type
    return found | {"exposure_gini": float(gini.global_aggregate(shown))}


if __name__ == "__main__":
    sys.modules["torch"] = stand_in()
    asked = json.load(sys.stdin)
    json.dump({k: answers(asked["lists"], asked["truth"], asked["n_items"], k) for k in asked["ks"]}, sys.stdout)
