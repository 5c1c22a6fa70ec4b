"""A command that lives no longer than those it works for: Airflow's task process, which may be killed without a word,
and the supervisor of that, without which nobody hears what becomes of the task.

Turned on by ``resources.end_with_parent``. Then SIGTERM ends the command in order (what it holds is given back, what it
was writing stays as files no manifest names) with exit code 143, and ``watchman`` kills after ``GRACE_S`` what is left.
"""

import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path

from jobs.rim.watchman import parents

STDOUT = 1
EXIT_ASKED = 128 + signal.SIGTERM
GRACE_S = 10.0  # between being asked to end and being killed: to give a lease back, to abort uploads
WATCHMAN = Path(__file__).with_name("watchman.py")


def end_with_parent() -> None:
    """From now on this process, and all it starts, ends when its parent does, or the parent of that.

    Without /proc, as on macOS, SIGTERM alone counts.

    Raises:
        SystemExit: the parent is gone already.
    """
    if unread():
        raise SystemExit(EXIT_ASKED)
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    leads = "sweep" if os.getsid(0) == os.getpid() else "alone"  # else its session is somebody's terminal
    above = map(str, parents(os.getpid()))
    argv = [sys.executable, "-I", "-S", str(WATCHMAN), str(os.getpid()), str(GRACE_S), leads, *above]
    nowhere = [(os.POSIX_SPAWN_OPEN, place, os.devnull, os.O_WRONLY, 0) for place in (1, 2)]  # ours end with us
    os.posix_spawn(sys.executable, argv, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, told, 0), *nowhere])
    os.close(told)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)  # written at once, though native code runs
    signal.signal(signal.SIGTERM, end_in_order)


def end_in_order(number: int, frame: object) -> None:
    """Unwind the main thread; a second signal does not disturb that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(OSError):  # nobody may be there to read it
        os.write(sys.stderr.fileno(), b"nightshelf: asked to end (SIGTERM)\n")
    raise SystemExit(EXIT_ASKED)


def unread() -> bool:
    """Whether standard output is a pipe nobody reads any more."""
    poll = select.poll()
    poll.register(STDOUT, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
