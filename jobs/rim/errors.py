"""What can go wrong, each with the exit code it ends the command with."""

import errno
import tempfile


class UsageError(ValueError):
    """A wrong argument, file, source or setting. Exit code 2."""


class GateRefused(RuntimeError):
    """The data gate said no; running again gives the same answer. Exit code 3."""


class TemporaryError(OSError):
    """Something outside is away or full; a later try may succeed. Exit code 75."""


EXIT_USAGE, EXIT_REFUSED, EXIT_OLD, EXIT_TEMPORARY = 2, 3, 4, 75
EXIT_UNREAD = 128 + 13  # what a shell says of a program that SIGPIPE ended


def describe(error: OSError) -> str:
    """What the system could not do, with the file where it tells one, and what to do about a full disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = error.filename or f"that of the lake, of the working folder or of {tempfile.gettempdir()}"
        return f"disk full: {where}; free some space and run again"
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
