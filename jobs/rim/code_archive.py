"""The project's own code as one zip, for executors that have everything it imports but not the project itself."""

import os
import zipfile
from pathlib import Path

from jobs.rim.lineage import CODE_ROOT, code_version

PARTS = ("jobs", "schemas", "conf")  # what tasks may import, directly or not
ENDINGS = (".py", ".toml", ".html")
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first moment a zip knows: the same code gives the same bytes


def write_archive(folder: Path) -> Path:
    """Write ``nightshelf-<code version>.zip`` into a folder, whole or not at all; an equal one is replaced."""
    path = folder / f"nightshelf-{code_version()}.zip"
    fresh = path.with_suffix(f".{os.getpid()}")
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in code_files():
            entry = zipfile.ZipInfo(file.relative_to(CODE_ROOT).as_posix(), LONG_AGO)
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    fresh.replace(path)
    return path


def code_files() -> list[Path]:
    return sorted(path for part in PARTS for path in (CODE_ROOT / part).rglob("*") if path.suffix in ENDINGS)
