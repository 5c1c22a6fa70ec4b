"""The command line with one more command, ``long spark|deaf|held``, that works until something ends it.

``spark``: a job of Spark whose tasks run in Python workers. ``deaf``: native code that lets no other code run, so that
no handler of a signal does. ``held``: something to give back.
"""

import sys
import time

from jobs import cli
from jobs.rim import lifetime
from jobs.rim.spark_session import spark_session


def add_arguments(parser):
    parser.add_argument("kind")


def main(args, settings):
    WORK[args.kind](settings)
    return 0


def spark(settings):
    def stay(batches):
        print("worker", file=sys.stderr, flush=True)
        time.sleep(600)
        yield from batches

    with spark_session(settings, "long", quick=True) as session:
        session.range(2, numPartitions=2).mapInPandas(stay, "id long").count()


def deaf(settings):
    print("deaf", flush=True)
    sum(range(10**14))


def held(settings):
    try:
        print("held", flush=True)
        time.sleep(600)
    finally:
        print("given back", flush=True)


WORK = {"spark": spark, "deaf": deaf, "held": held}

if __name__ == "__main__":
    lifetime.GRACE_S = 1.0
    cli.COMMANDS["long"] = ("long_command", "works")
    sys.exit(cli.main(sys.argv[1:]))
