"""How do our lists compare with every single method, over several data sets? ``python -m benchmarks.quality``.

Takes pairs of a folder and its source's description, such as ``films=movielens-100k``. Runs the protocol of
``nightshelf backtest --test-share 0.2`` on each, prints its tables, and at the end our NDCG@10 over the best single
method's in the geometric mean. Writes ``.nightshelf/bench/quality.json``.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from conf.settings import Settings, load_settings
from jobs.backtest import users_of_both
from jobs.kernels.contest import PAIRED, SEED, Entry, best_single, compete, table
from jobs.kernels.recipe.recommend import recommend
from jobs.kernels.resample import compare
from jobs.sources.load import load_description
from jobs.sources.positives import read_positives

TEST_SHARE, N_LISTED = 0.2, 20
TARGET = Path(".nightshelf/bench/quality.json")


def main(pairs: list[str]) -> int:
    """Sets one after another; nothing is tuned across them."""
    if not pairs or any("=" not in pair for pair in pairs):
        print("usage: python -m benchmarks.quality FOLDER=SOURCE [FOLDER=SOURCE ...]", file=sys.stderr)
        return 2
    settings, found = load_settings(), []
    for pair in pairs:
        folder, _, source = pair.rpartition("=")
        found.append(measured(folder, source, settings))
    ratios = [one["ndcg@10 over the best single method's"] for one in found]
    print(f"geometric mean of {len(ratios)}: {np.exp(np.mean(np.log(ratios))):.3f}")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(found, indent=2) + "\n")
    print(f"written to {TARGET}")
    return 0


def measured(folder: str, source: str, settings: Settings) -> dict:
    positives = read_positives(load_description(source), folder, settings)
    cut_s = positives.time_at(1 - TEST_SHARE)
    early = positives.time_s < cut_s
    known, users = positives.where(early), users_of_both(positives, early)
    started = time.monotonic()
    slates = recommend(known.events, users, N_LISTED)
    seconds = time.monotonic() - started
    entries = compete(positives.user, positives.item, positives.time_s, cut_s, users, slates.items)
    print(folder, *table(entries), f"ours: {slates.recipe}; {seconds:.1f} s", "", sep="\n")
    return summary(folder, entries) | {"recipe": str(slates.recipe), "seconds": round(seconds, 1)}


def summary(folder: str, entries: list[Entry]) -> dict:
    ours, best = entries[0], best_single(entries)
    theirs = next(one for one in entries if one.method is best)
    ratio = compare(ours.measures[PAIRED], theirs.measures[PAIRED], SEED).ratio
    return {
        "data": folder,
        "ndcg@10": {one.name: round(float(one.measures[PAIRED].mean()), 4) for one in entries},
        "best single method": best.name,
        "ndcg@10 over the best single method's": round(ratio.value, 4),
        "95 %": [round(ratio.low, 4), round(ratio.high, 4)],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
