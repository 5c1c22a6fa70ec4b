"""An S3 bucket as a store of keys; boto3 lists and writes, pyarrow reads. Imports boto3 when one is opened."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow.fs as pafs

from jobs.rim.aged import Aged
from jobs.rim.errors import TemporaryError, UsageError

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

DELETED_TOGETHER = 1_000  # keys of one request: as many as S3 takes


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

    def aged(self, prefix: str) -> list[Aged]:
        """Everything below a prefix, marks of folders, too."""
        return [
            Aged(entry["Key"].removeprefix(self.prefix), entry["Size"], entry["LastModified"])
            for entry in self.entries(prefix)
        ]

    def delete(self, keys: list[str]) -> None:
        """Remove keys; those that are gone already are no error."""
        for start in range(0, len(keys), DELETED_TOGETHER):
            objects = [{"Key": self.prefix + key} for key in keys[start : start + DELETED_TOGETHER]]
            with s3_trouble(self.base):
                told = self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True})
            for error in told.get("Errors", ()):
                raise TemporaryError(f"s3://{self.base}: {error['Key']} was not removed: {error['Message']}")

    def remove_empty_folders(self, prefix: str, before: datetime) -> None:
        """Objects lie in no folders."""

    def walk(self, prefix: str) -> list[str]:
        return self.keys(prefix)

    def keys(self, prefix: str, **options: str) -> list[str]:
        keys = [entry["Key"] for entry in self.entries(prefix, **options)]
        return sorted(key.removeprefix(self.prefix) for key in keys if not key.endswith("/"))  # consoles mark folders

    def entries(self, prefix: str, **options: str) -> list[dict]:
        paginator = self.s3.get_paginator("list_objects_v2")
        below = self.prefix + (f"{prefix}/" if prefix else "")
        pages = paginator.paginate(Bucket=self.bucket, Prefix=below, **options)
        with s3_trouble(self.base):
            return [entry for page in pages for entry in page.get("Contents", ())]

    def list(self, prefix: str, after: str = "") -> list[str]:
        options = {"StartAfter": self.prefix + after} if after else {}
        return self.keys(prefix, Delimiter="/", **options)

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
