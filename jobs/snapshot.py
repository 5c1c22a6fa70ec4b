"""What is in the lake now? Prints the number of the newest batch: a run pins it and reads nothing newer."""

import argparse

from conf.settings import Settings
from jobs.rim.lake import Lake


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def main(args: argparse.Namespace, settings: Settings) -> int:
    print(Lake.open(settings.lake).snapshot())
    return 0
