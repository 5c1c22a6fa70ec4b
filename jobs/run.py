"""Run computing steps for one ``as_of``, in the order given; steps already committed are skipped."""

import argparse

from conf.settings import Settings
from jobs.rim.arguments import add_run_arguments
from jobs.rim.lineage import MAKERS
from jobs.rim.runner import run_steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("steps", nargs="+", choices=tuple(dict.fromkeys(MAKERS.values())), metavar="STEP")
    add_run_arguments(parser)


def main(args: argparse.Namespace, settings: Settings) -> int:
    run_steps(args.steps, args.as_of, args.snapshot, settings)
    return 0
