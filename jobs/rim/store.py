"""Bytes under keys, created once: a local folder or an S3 bucket behind the same few functions.

``put_if_absent`` is the only primitive a commit needs: a hard link locally, ``If-None-Match: *`` on S3.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.fs as pafs

from conf.settings import Lake as LakeSettings
from jobs.rim.errors import TemporaryError, UsageError

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

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

    def walk(self, prefix: str) -> list[str]:
        """The file keys below a prefix at any depth, sorted."""
        paths = (self.root / prefix).rglob("*")
        return sorted(p.relative_to(self.root).as_posix() for p in paths if p.is_file() and not p.name.startswith("."))

    def list(self, prefix: str) -> list[str]:
        """The file keys right below a prefix, sorted."""
        folder = self.root / prefix
        if not folder.is_dir():
            return []
        return sorted(f"{prefix}/{e.name}" for e in os.scandir(folder) if e.is_file() and not e.name.startswith("."))

    def abort_uploads(self, prefix: str, before: datetime | None = None) -> int:
        """A folder holds no parts of uploads."""
        return 0


class S3Store:
    """Keys are objects below ``s3://bucket/prefix``; credentials come from the environment, as boto3 reads them."""

    def __init__(self, bucket: str, prefix: str, endpoint: str, region: str):
        import boto3

        self.base = f"{bucket}/{prefix}".rstrip("/")
        self.bucket, self.prefix = bucket, f"{prefix}/" if prefix else ""
        self.s3 = boto3.Session().client("s3", endpoint_url=endpoint or None, region_name=region)
        with s3_trouble(self.base):
            keys = lasting_credentials()
        self.fs = pafs.S3FileSystem(
            access_key=keys and keys.access_key,
            secret_key=keys and keys.secret_key,
            session_token=keys and keys.token,
            endpoint_override=endpoint or None,
            region=region,
        )

    def path(self, key: str) -> str:
        return f"{self.base}/{key}"

    def uri(self, key: str) -> str:
        return f"s3a://{self.base}/{key}"

    def make_room(self, n_bytes: int = 0) -> None:
        """A bucket does not fill up."""

    def prepare(self, key: str) -> None:
        """Objects need no folders."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        from botocore.exceptions import ClientError

        with s3_trouble(self.base):
            try:
                self.s3.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data, IfNoneMatch="*")
            except ClientError as error:
                if error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"):
                    return False
                raise
        return True

    def get(self, key: str) -> bytes | None:
        with s3_trouble(self.base):
            try:
                return self.s3.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read()
            except self.s3.exceptions.NoSuchKey:
                return None

    def walk(self, prefix: str) -> list[str]:
        return self.keys(prefix)

    def keys(self, prefix: str, **options: str) -> list[str]:
        paginator = self.s3.get_paginator("list_objects_v2")
        pages = paginator.paginate(Bucket=self.bucket, Prefix=f"{self.prefix}{prefix}/", **options)
        with s3_trouble(self.base):
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return sorted(key.removeprefix(self.prefix) for key in keys if not key.endswith("/"))  # consoles mark folders

    def list(self, prefix: str) -> list[str]:
        return self.keys(prefix, Delimiter="/")

    def abort_uploads(self, prefix: str, before: datetime | None = None) -> int:
        """Drop the parts of uploads below a prefix (begun before a moment) that nobody will complete; how many.

        A writer that was killed leaves them: they are in no listing, and are paid for until they are aborted.
        """
        below = self.prefix + (f"{prefix}/" if prefix else "")
        pages = self.s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=below)
        with s3_trouble(self.base):
            begun = [upload for page in pages for upload in page.get("Uploads", ())]
            left = [upload for upload in begun if before is None or upload["Initiated"] < before]
            for upload in left:
                self.abort(upload["Key"], upload["UploadId"])
        return len(left)

    def abort(self, key: str, upload: str) -> None:
        """Nothing happens where it was completed or aborted meanwhile."""
        with suppress(self.s3.exceptions.NoSuchUpload):
            self.s3.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)


def lasting_credentials() -> "ReadOnlyCredentials | None":
    """The keys boto3 finds in the environment or in a file; None where a role gives and renews them.

    Those who would keep a copy of such keys (pyarrow, S3A) find and renew them themselves.

    Raises:
        UsageError: there are none.
    """
    import boto3
    from botocore.credentials import RefreshableCredentials

    found = boto3.Session().get_credentials()
    if found is None:
        raise UsageError("S3: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    return None if isinstance(found, RefreshableCredentials) else found.get_frozen_credentials()


@contextmanager
def s3_trouble(where: str) -> Iterator[None]:
    """boto3's errors as ours: what S3 refuses is a wrong setting, what it cannot do now is temporary."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        refused = 400 <= error.response["ResponseMetadata"]["HTTPStatusCode"] < 500
        raise (UsageError if refused else TemporaryError)(f"s3://{where}: {error}") from None
    except BotoCoreError as error:
        raise TemporaryError(f"s3://{where}: {error}") from None


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
