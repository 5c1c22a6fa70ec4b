"""How loops that numpy has no words for are compiled, and where what is compiled is kept."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numba import config, njit
from numba.core.caching import ZipCacheLocator

if TYPE_CHECKING:
    import scipy.sparse as sp


class ArchiveLocator(ZipCacheLocator):
    """For code out of a zip, which Spark lays elsewhere each time: kept under the zip's name, the code's version.

    In NUMBA_CACHE_DIR, else the user's cache, else the working folder, an executor's own.
    """

    def __init__(self, function: Callable, file: str):
        super().__init__(function, file)
        place = Path(Path(self._zip_path).stem, self._internal_path).parent
        self._cache_path = str(first_writable([Path(folder, place) for folder in cache_folders()]))


def cache_folders() -> list[str]:
    return [*filter(None, [config.CACHE_DIR]), os.path.expanduser("~/.cache/numba"), "numba"]


def first_writable(folders: list[Path]) -> Path:
    """The first folder that is there, or can be made, and takes a file.

    Raises:
        OSError: there is none.
    """
    for folder in folders[:-1]:
        try:
            return writable(folder)
        except OSError:
            continue
    return writable(folders[-1])


def writable(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
    return folder


def kernel(function: Callable, **options) -> Callable:
    """Compiled at the first call, free of the interpreter's lock, and kept on disk.

    Numba keeps it in NUMBA_CACHE_DIR, else beside the code, else in the user's cache; where none can be written, each
    process compiles anew. What is kept is not renewed when a function of another file that it calls changes.
    """
    try:
        return njit(function, nogil=True, cache=True, **options)
    except (RuntimeError, OSError):
        return njit(function, nogil=True, **options)


def typed(*columns: tuple[np.ndarray, type]) -> tuple[np.ndarray, ...]:
    """Of the types that loops are compiled for, so that they are compiled once; copies only where they are others."""
    return tuple(np.require(column, kind, "CW") for column, kind in columns)


def sparse_rows(matrix: "sp.csr_matrix", begins: type = np.int32) -> tuple[np.ndarray, ...]:
    """Begins, columns and values of a matrix's rows, ``typed``."""
    return typed((matrix.indptr, begins), (matrix.indices, np.int32), (matrix.data, np.float32))


if not os.path.exists(__file__):  # we are in a zip
    config.CACHE_LOCATOR_CLASSES = f"{__name__}.{ArchiveLocator.__name__}"
