"""How an embedded command ends: done, one clear line and a documented code, or stopped by a signal."""

import errno
import os
import signal
import sys
from collections.abc import Callable

from deploy.embedded import processes

USAGE, REFUSED, TEMPORARY = 2, 3, 75
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Problem(RuntimeError):
    """What is wrong, where, and what to do, in one line; ``code`` is the exit code."""

    def __init__(self, message: str, code: int = USAGE):
        super().__init__(message)
        self.code = code


class Stopped(BaseException):  # no Exception, as KeyboardInterrupt is none: nothing but ``guarded`` may catch it
    """A signal asked us to end."""

    def __init__(self, number: int):
        super().__init__(number)
        self.code = 128 + number


def stop_once(number: int, _frame: object) -> None:
    """Later signals are ignored: what ends the processes must not be interrupted itself, and is bounded in time."""
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped(number)


def guarded(main: Callable[[], int]) -> int:
    """Run ``main``; whatever happens, no process it started outlives it. Returns the exit code."""
    for number in SIGNALS:  # also where the shell handed SIGINT on as ignored, as it does for background jobs
        signal.signal(number, stop_once)
    processes.adopt_orphans()
    try:
        return main()
    except Stopped as stop:
        print("\nnightshelf: stopping what was started …", file=sys.stderr)
        return stop.code
    except Problem as problem:
        print(f"nightshelf: {problem}", file=sys.stderr)
        return problem.code
    except OSError as error:
        print(f"nightshelf: {describe(error)}", file=sys.stderr)
        return TEMPORARY
    finally:
        processes.end_descendants()


def describe(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"disk full: {error.filename or os.getcwd()}; free some space and run again"
    return f"{error.filename or 'system'}: {error.strerror or error}"


def job_code(code: int) -> int:
    """A job's exit code as ours; one that was killed, perhaps for its memory, may succeed later."""
    return code if 0 < code < 128 else TEMPORARY
