"""An ingest killed (SIGKILL) before its first step, its second, …, each time on what the one before left in the lake.

A step is a look at a stream, a file written, or a commit. Prints how many were killed. In a process of its own, for it
forks.
"""

import os
import signal
import sys
from itertools import count

from jobs.cli import main as nightshelf
from jobs.rim.lake import Lake
from jobs.sources.kafka import Topic

STEPS = ((Topic, "ahead"), (Topic, "read"), (Lake, "write"), (Lake, "commit_batch"))


def main(words: list[str]) -> None:
    for step in count(1):
        if not killed(words, step):
            print(step - 1)
            return


def killed(words: list[str], step: int) -> bool:
    """Ingest in a child that dies before that step, or behind the last; False when it got through."""
    child = os.fork()
    if child == 0:
        dying_at(step)
        os._exit(nightshelf(words))
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status):
        assert os.waitstatus_to_exitcode(status) == 0, status
    return os.WIFSIGNALED(status)


def dying_at(step: int) -> None:
    steps = count(1)
    for owner, name in STEPS:
        setattr(owner, name, counted(getattr(owner, name), steps, step))


def counted(act, steps, step: int):
    def acting(*args):
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*args)

    return acting


if __name__ == "__main__":
    main(sys.argv[1:])
