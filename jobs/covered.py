"""Is every hour of an interval in the lake? Then print the number of the newest batch: a run pins it.

An hour is in the lake when a batch covers it, with rows or none: the hourly run's for its hour, a bulk history's for
every hour from its first event to its last. Otherwise exit code 75 and one line that names the missing hours.
"""

import argparse

from conf.settings import Settings
from jobs.rim.arguments import moment
from jobs.rim.coverage import check_interval, describe, missing, n_hours
from jobs.rim.errors import TemporaryError
from jobs.rim.lake import Lake


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument(
        "--interval", nargs=2, type=moment, required=True, metavar=("START", "END"), help="whole UTC hours"
    )
    parser.add_argument("--anyway", action="store_true", help="missing hours are a warning: exit code 0 all the same")


def main(args: argparse.Namespace, settings: Settings) -> int:
    """Raise TemporaryError for missing hours: they may come."""
    check_interval(args.interval)
    batches = Lake.open(settings.lake).batches()
    absent, n_wanted = missing(batches, args.interval), n_hours([args.interval])
    if absent:
        n_absent = n_hours(absent)
        verb = "is" if n_absent == 1 else "are"
        told = f"{n_absent} of {n_wanted} hours {verb} not in the lake: {describe(absent)}"
        if not args.anyway:
            raise TemporaryError(told)
        print(f"warning: {told}")
    else:
        print(f"all {n_wanted} hours are in the lake")
    print(len(batches))
    return 0
