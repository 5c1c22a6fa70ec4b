"""Bytes under keys, created once: a local folder or an S3 bucket behind the same few functions.

``put_if_absent`` is the only primitive a commit needs: a hard link locally, ``If-None-Match: *`` on S3.
"""

import os
import shutil
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.fs as pafs

from conf.settings import Lake as LakeSettings
from jobs.rim.aged import Aged
from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.s3_store import S3Store

S3_SCHEMES = ("s3", "s3a")


class FileStore:
    """Keys are paths below a folder."""

    def __init__(self, root: Path, min_free_mb: int = 0):
        self.root = root.absolute()
        self.fs = pafs.LocalFileSystem()
        self.min_free_mb = min_free_mb

    def path(self, key: str) -> str:
        """Where ``fs`` finds the key."""
        return str(self.root / key)

    def uri(self, key: str) -> str:
        """Where Spark finds the key: Hadoop wants a path as it is, not percent-encoded."""
        return f"file://{self.root / key}"

    def make_room(self, n_bytes: int = 0) -> None:
        """Raise TemporaryError when the disk, before it is filled, has less room than that and the settings ask for."""
        self.root.mkdir(parents=True, exist_ok=True)
        free_mb = shutil.disk_usage(self.root).free >> 20
        if free_mb < self.min_free_mb + (n_bytes >> 20):
            told = f"{self.root} has {free_mb} MiB free; lake.min_free_mb asks for {self.min_free_mb}"
            more = f" beside the {n_bytes >> 20} that may be written" if n_bytes >> 20 else ""
            raise TemporaryError(f"{told}{more}: free some space")

    def prepare(self, key: str) -> None:
        """Make the folder of a key that ``fs`` will write."""
        (self.root / key).parent.mkdir(parents=True, exist_ok=True)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create ``key`` whole or not at all; False when it is there already."""
        self.prepare(key)
        target = self.root / key
        attempt = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        with open(attempt, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(attempt, target)
        except FileExistsError:
            return False
        finally:
            attempt.unlink()
        return True

    def get(self, key: str) -> bytes | None:
        """The bytes, or None when there is no such key."""
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def aged(self, prefix: str) -> list[Aged]:
        """Every file below a prefix, hidden ones, too."""
        found = []
        for folder, _, names in os.walk(self.root / prefix):
            for path in (Path(folder, name) for name in names):
                with suppress(FileNotFoundError):  # its writer took it away
                    told = path.lstat()
                    moment = datetime.fromtimestamp(told.st_mtime, UTC)
                    found.append(Aged(path.relative_to(self.root).as_posix(), told.st_size, moment))
        return found

    def delete(self, keys: list[str]) -> None:
        """Remove keys; those that are gone already are no error."""
        for key in keys:
            (self.root / key).unlink(missing_ok=True)

    def remove_empty_folders(self, prefix: str, before: datetime) -> None:
        """Those below a prefix that nobody has put anything into, or taken anything out of, since a moment."""
        for folder, _, _ in os.walk(self.root / prefix, topdown=False):
            with suppress(OSError):  # not empty, or gone
                if os.stat(folder).st_mtime < before.timestamp():
                    os.rmdir(folder)

    def walk(self, prefix: str) -> list[str]:
        """The file keys below a prefix at any depth, sorted."""
        paths = (self.root / prefix).rglob("*")
        return sorted(p.relative_to(self.root).as_posix() for p in paths if p.is_file() and not p.name.startswith("."))

    def list(self, prefix: str, after: str = "") -> list[str]:
        """The file keys right below a prefix, sorted; only those that sort after a key, if one is given."""
        folder = self.root / prefix
        if not folder.is_dir():
            return []
        keys = (f"{prefix}/{e.name}" for e in os.scandir(folder) if e.is_file() and not e.name.startswith("."))
        return sorted(key for key in keys if key > after)

    def abort_uploads(self, prefix: str, before: datetime | None = None) -> int:
        """A folder holds no parts of uploads."""
        return 0


def open_store(settings: LakeSettings) -> FileStore | S3Store:
    """The store a lake URI names.

    Raises:
        UsageError: the URI is neither a path, file:// nor s3://.
    """
    scheme, separator, rest = settings.uri.partition("://")
    if not separator:
        return FileStore(Path(settings.uri), settings.min_free_mb)
    if scheme == "file":
        return FileStore(Path(rest), settings.min_free_mb)
    if scheme in S3_SCHEMES:
        bucket, _, prefix = rest.partition("/")
        if not bucket:
            raise UsageError(f"lake.uri = {settings.uri!r}: no bucket; allowed is s3://bucket/prefix")
        return S3Store(bucket, prefix.strip("/"), settings.s3_endpoint, settings.s3_region)
    raise UsageError(f"lake.uri = {settings.uri!r}: allowed are a folder, file:// and s3://bucket/prefix")
