"""How loops that numpy has no words for are compiled."""

import os
import tempfile
from collections.abc import Callable

from numba import njit


def kernel(function: Callable, **options) -> Callable:
    """Compiled at the first call, free of the interpreter's lock, and kept on disk.

    Numba keeps it in NUMBA_CACHE_DIR, else beside the code, else (and where the code is in a zip) in the user's cache;
    where none can be written, each process compiles anew. What is kept is not renewed when a function of another file that it calls changes.
    """
    try:
        compiled = njit(function, nogil=True, cache=True, **options)
        require_writable(compiled.stats.cache_path)
        return compiled
    except (RuntimeError, OSError):
        return njit(function, nogil=True, **options)


def require_writable(folder: str) -> None:
    """Raise OSError where nothing can be kept: of code in a zip, Numba would only find out when it has compiled."""
    os.makedirs(folder, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
