"""How good would last month's lists have been? Trains as the night would on what was known before a cut, then looks.

``--lists FILE`` writes the top 20 of everybody who has a positive event on both sides of the cut; without it they are
measured beside single methods, each tuned by the same protocol. Items a user already has are left out. A second table
is for shops that re-buy: there they stay in lists and truth.
"""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conf.settings import Settings
from jobs.kernels.basket_contest import compete_again, table_again
from jobs.kernels.contest import best_single, compete, table
from jobs.kernels.protocol import trial, tuning_cut
from jobs.kernels.recipe.again import again
from jobs.kernels.recipe.recommend import recommend
from jobs.kernels.threads import use_threads
from jobs.rim.arguments import moment
from jobs.rim.errors import UsageError
from jobs.rim.memory import threads_here
from jobs.sources.load import load_description
from jobs.sources.positives import Positives, read_positives

N_LISTED = 20
FEWEST_USERS = 10  # of fewer, means say nothing
LISTS = pa.schema([("user_id", pa.string()), ("item_id", pa.string()), ("rank", pa.int32()), ("score", pa.float64())])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="folder with the source's files, or one file of events")
    parser.add_argument("--source", required=True, help="name of a shipped source or path of a .toml")
    when = parser.add_mutually_exclusive_group(required=True)
    when.add_argument("--cut", type=moment, help="train strictly before this ISO moment")
    when.add_argument(
        "--test-share", type=share, help="cut so that this share of the positive events is tested, as 0.2"
    )
    parser.add_argument("--lists", type=Path, help="Parquet file to write the lists to, instead of comparing")


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; give a share between 0 and 1, such as 0.2")
    return value


def main(args: argparse.Namespace, settings: Settings) -> int:
    use_threads(threads_here(settings.spark))
    positives = read_positives(load_description(args.source), args.data, settings)
    cut_s = args.cut.timestamp() if args.cut else positives.time_at(1 - args.test_share)
    early = positives.time_s < cut_s
    if early.all() or not early.any():
        raise UsageError(f"all {len(positives):,} positive events are on one side of the cut; give one between them")
    known, users = positives.where(early), users_of_both(positives, early)
    print(told(positives, early, cut_s), flush=True)
    if args.lists:
        write_lists(args.lists, positives, known, users)
    else:
        check_enough(positives, early, cut_s)
        for line in comparison(positives, known, users, cut_s):
            print(line, flush=True)
    return 0


def comparison(positives: Positives, known: Positives, users: np.ndarray, cut_s: float) -> Iterator[str]:
    """Lines of two tables: of what is new to people, then of the next basket."""
    events = positives.user, positives.item, positives.time_s
    slates = recommend(known.events, users, N_LISTED)
    entries = compete(*events, cut_s, users, slates.items)
    yield from table(entries)
    yield f"ours: {slates.recipe}"
    yield ""
    repeated = again(known.events, users, slates)
    yield from table_again(compete_again(*events, cut_s, users, repeated.items, best_single(entries)))
    yield f"ours: {repeated}"


def check_enough(positives: Positives, early: np.ndarray, cut_s: float) -> None:
    """Raise UsageError where a comparison would say nothing."""
    n_users = len(trial(positives.user, positives.item, positives.time_s, cut_s).users)
    if n_users < FEWEST_USERS:
        raise UsageError(
            f"only {n_users} users have something new to them after the cut; at least {FEWEST_USERS} are needed"
        )
    before = positives.time_s[early]
    if tuning_cut(before) <= before.min():
        raise UsageError("most events before the cut are of one moment: there is nothing to tune on")


def told(positives: Positives, early: np.ndarray, cut_s: float) -> str:
    """What is split where."""
    cut = datetime.fromtimestamp(cut_s, UTC).isoformat(timespec="seconds")
    return f"cut at {cut}: {early.sum():,} positive events before it, {(~early).sum():,} from it on"


def users_of_both(positives: Positives, early: np.ndarray) -> np.ndarray:
    return np.intersect1d(positives.user[early], positives.user[~early])


def write_lists(path: Path, positives: Positives, known: Positives, users: np.ndarray) -> None:
    """One row a user and rank."""
    slates = recommend(known.events, users, N_LISTED)
    filled = slates.items >= 0
    rank = np.tile(np.arange(1, filled.shape[1] + 1, dtype=np.int32), (len(users), 1))
    columns = {
        "user_id": positives.user_ids[np.repeat(users, filled.sum(axis=1))],
        "item_id": positives.item_ids[slates.items[filled]],
        "rank": rank[filled],
        "score": slates.scores[filled],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns, LISTS), path, compression="zstd")
    print(f"{path}: {len(users):,} users, {filled.sum():,} rows; {slates.recipe}")
