"""How loops that numpy has no words for are compiled."""

from collections.abc import Callable

from numba import njit


def kernel(function: Callable, **options) -> Callable:
    """Compiled at the first call, free of the interpreter's lock, and kept on disk.

    Numba keeps it in NUMBA_CACHE_DIR, else beside the code, else in the user's cache; where none can be written, each
    process compiles anew. What is kept is not renewed when a function of another file that it calls changes.
    """
    try:
        return njit(function, nogil=True, cache=True, **options)
    except (RuntimeError, OSError):
        return njit(function, nogil=True, **options)
