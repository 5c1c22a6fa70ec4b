"""What can go wrong, each with the exit code it ends the command with."""


class UsageError(ValueError):
    """A wrong argument, file, source or setting. Exit code 2."""


class GateRefused(RuntimeError):
    """The data gate said no; running again gives the same answer. Exit code 3."""


class TemporaryError(OSError):
    """Something outside is away or full; a later try may succeed. Exit code 75."""


EXIT_USAGE, EXIT_REFUSED, EXIT_TEMPORARY = 2, 3, 75
