"""What Spark needs for a lake on ``s3://``: Hadoop's S3A with its jars, the endpoint, and the credentials boto3 found.

The jars travel from the driver to the executors, and the credentials with the tasks: workers hold neither.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from conf.settings import Settings
from jobs.rim.errors import UsageError
from jobs.rim.s3_store import lasting_credentials
from jobs.rim.store import S3_SCHEMES

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TEMPORARY_KEYS = "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider"


def on_s3(settings: Settings) -> bool:
    return settings.lake.uri.partition("://")[0] in S3_SCHEMES


def s3a_options(settings: Settings) -> dict[str, str]:
    """The options of a session on this lake; none where the lake is a folder.

    Tasks are committed by Hadoop's first algorithm: a task's file is moved (copied, on S3) to the task's own place when
    the driver lets it commit, and to the attempt's folder when the job ends. So a task that was killed, or an executor
    that lives on after it was given up, leaves nothing there; with the second algorithm it might write there even after
    the manifest has been written. Two copies inside S3 of each file is the price; the magic committer, which saves
    them, wants one more jar, of another Spark.

    Raises:
        UsageError: the lake is on S3 and the folder of ``spark.s3a_jars`` has no jars.
    """
    if not on_s3(settings):
        return {}
    lake, s3a = settings.lake, "spark.hadoop.fs.s3a"
    options = {
        "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "1",
        f"{s3a}.endpoint.region": lake.s3_region,
    }
    if lake.s3_endpoint:
        options |= {f"{s3a}.endpoint": lake.s3_endpoint, f"{s3a}.path.style.access": "true"}
    if settings.spark.s3a_jars:
        options["spark.jars"] = ",".join(jars(Path(settings.spark.s3a_jars)))
    return options


def jars(folder: Path) -> list[str]:
    found = sorted(str(path) for path in folder.absolute().glob("*.jar"))
    if not found:
        raise UsageError(f"spark.s3a_jars = {str(folder)!r}: no jars there, and the lake is on S3: run `make s3a`, or "
                         "set it to \"\" where Spark brings S3A itself")  # fmt: skip
    return found


def hand_on_credentials(session: "SparkSession", settings: Settings) -> None:
    """Give S3A the keys that boto3 found, by Hadoop's configuration: in an option, every process list would show them.

    Where a role gives and renews them, S3A asks for them itself, on every executor.
    """
    keys = lasting_credentials() if on_s3(settings) else None
    if keys is None:
        return
    hadoop = session.sparkContext._jsc.hadoopConfiguration()
    hadoop.set("fs.s3a.access.key", keys.access_key)
    hadoop.set("fs.s3a.secret.key", keys.secret_key)
    if keys.token:
        hadoop.set("fs.s3a.session.token", keys.token)
        hadoop.set("fs.s3a.aws.credentials.provider", TEMPORARY_KEYS)
