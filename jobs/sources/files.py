"""The files of a source: which ones, their content hashes, and streams of their (decompressed) bytes."""

import fnmatch
import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from conf.settings import Lake as LakeSettings
from jobs.rim.errors import UsageError
from jobs.rim.store import open_store
from jobs.sources.layout import Layout

UNFINISHED = (".tmp", ".part", ".partial", ".crdownload")
BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Input:
    """One file as it was found."""

    fs: pafs.FileSystem
    path: str
    name: str
    bytes: int

    def open(self) -> pa.NativeFile:
        """Its bytes as stored."""
        return self.fs.open_input_file(self.path)

    def stream(self) -> pa.NativeFile:
        """Its bytes, gunzipped where it begins like gzip, whatever its name."""
        with self.open() as file:
            compressed = file.read(2) == b"\x1f\x8b"
        return self.fs.open_input_stream(self.path, compression="gzip" if compressed else None)

    def content_hash(self) -> str:
        """32 hex digits of the bytes as stored."""
        digest = hashlib.blake2b(digest_size=16)
        with self.open() as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()


def list_folder(path: str, lake: LakeSettings, *, missing_ok: bool = False) -> list[Input]:
    """The finished files right in a folder (or ``s3://`` prefix), by name; of a path to one file, that file.

    Sub-folders, hidden files and names that end like unfinished copies are not looked at.

    Raises:
        UsageError: there is no such path.
    """
    if "://" in path:
        store = open_store(lake.model_copy(update={"uri": path.rstrip("/")}))
        fs, base = store.fs, store.path("").rstrip("/")
    else:
        fs, base = pafs.LocalFileSystem(), str(Path(path).absolute())
    info = fs.get_file_info(base)
    if info.type == pafs.FileType.File:
        return [Input(fs, info.path, info.base_name, info.size)]
    if info.type == pafs.FileType.NotFound and not missing_ok:
        raise UsageError(f"{path}: no such file or folder; give the folder that holds the source's files")
    entries = fs.get_file_info(pafs.FileSelector(base, allow_not_found=True))
    files = [entry for entry in entries if entry.type == pafs.FileType.File and finished(entry.base_name)]
    return [Input(fs, entry.path, entry.base_name, entry.size) for entry in sorted(files, key=lambda e: e.base_name)]


def finished(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(UNFINISHED)


def choose(files: list[Input], layout: Layout) -> list[Input]:
    """The files a layout's patterns name, each once."""
    return [file for file in files if any(fnmatch.fnmatchcase(file.name, pattern) for pattern in layout.files)]


def require(chosen: list[Input], files: list[Input], layout: Layout, what: str, path: str) -> list[Input]:
    """The chosen files; a UsageError when there must be some and there are none."""
    if chosen or layout.optional or getattr(layout, "stream", None):
        return chosen
    seen = ", ".join(file.name for file in files[:5]) or "nothing"
    more = f" and {len(files) - 5} more" if len(files) > 5 else ""
    raise UsageError(f"{path}: no {what} file; wanted {' or '.join(layout.files)}, found {seen}{more}")
