"""The DynamoDB table of the warm store, as publishing uses it: many rows at once, patient where it is throttled."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from conf.settings import Warm
from jobs.rim.errors import TemporaryError, UsageError
from schemas.warm import ENDS, KEY_SCHEMA, key_of, read_row

if TYPE_CHECKING:
    import boto3

WRITTEN_TOGETHER, READ_TOGETHER = 25, 100  # DynamoDB's own limits of one request
ATTEMPTS = 12  # in a row that bring nothing forward: some 25 s
PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0
LATER = {  # what DynamoDB says when the same request may succeed later
    *("ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"),
    *("InternalServerError", "ServiceUnavailable"),
}


@lru_cache(1)
def session() -> "boto3.Session":
    """The process's own: it reads what boto3 knows of a service once; keys of a role are renewed as ever."""
    import boto3

    return boto3.Session()


class WarmTable:
    """Safe to share between threads; ``timeout_s`` is the time for one answer."""

    def __init__(self, settings: Warm, timeout_s: float):
        from botocore.config import Config

        self.name = settings.table
        patience = {"connect_timeout": timeout_s, "read_timeout": timeout_s}
        self.client = session().client(
            "dynamodb",
            region_name=settings.region,
            endpoint_url=settings.endpoint or None,
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=settings.connections, **patience),
        )

    def check(self) -> str:
        """A line where its rows would never end by themselves; empty when all is well.

        Raises:
            UsageError: there is no such table, or it has other keys, or we may not use it.
            TemporaryError: it is not to be reached, or not ready.
        """
        with dynamo_trouble(self.name):
            table = self.client.describe_table(TableName=self.name)["Table"]
            ttl = self.client.describe_time_to_live(TableName=self.name)["TimeToLiveDescription"]
        if table["KeySchema"] != KEY_SCHEMA:
            raise UsageError(f"DynamoDB table {self.name} has the keys {table['KeySchema']}; allowed: {KEY_SCHEMA}")
        if table["TableStatus"] not in ("ACTIVE", "UPDATING"):
            raise TemporaryError(f"DynamoDB table {self.name} is {table['TableStatus']}: try again when it is ACTIVE")
        ends = ttl["TimeToLiveStatus"] in ("ENABLED", "ENABLING") and ttl["AttributeName"] == ENDS
        return (
            "" if ends else f"warning: table {self.name} has no TTL on {ENDS!r}: old rows stay and cost (docs/warm.md)"
        )

    def put(self, rows: Sequence[dict]) -> None:
        """Write at most WRITTEN_TOGETHER rows. Raises as ``until_done``."""

        def write(left: list) -> list:
            answer = self.client.batch_write_item(RequestItems={self.name: left})
            return answer.get("UnprocessedItems", {}).get(self.name, [])

        self.until_done([{"PutRequest": {"Item": row}} for row in rows], write)

    def values(self, users: Sequence[str], tag: str) -> dict[str, bytes]:
        """The values of at most READ_TOGETHER users, of those that have one. Raises as ``until_done``."""
        found: dict[str, bytes] = {}

        def read(left: list) -> list:
            wanted = {self.name: {"Keys": left, "ConsistentRead": True}}
            answer = self.client.batch_get_item(RequestItems=wanted)
            found.update(map(read_row, answer["Responses"].get(self.name, [])))
            return answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])

        self.until_done([key_of(user, tag) for user in users], read)
        return found

    def until_done(self, left: list, work: Callable[[list], list]) -> None:
        """``work(left)``, which gives what it could not do, until nothing is left; pauses grow while nothing is done.

        Raises:
            UsageError: DynamoDB refuses for good.
            TemporaryError: nothing was done ATTEMPTS times in a row.
        """
        in_vain, why = 0, "it took none of them"
        while left:
            rest = left
            try:
                with dynamo_trouble(self.name):
                    rest = work(left)
            except TemporaryError as error:
                why = str(error)
            in_vain = 0 if len(rest) < len(left) else in_vain + 1
            left = rest
            if in_vain == ATTEMPTS:
                raise TemporaryError(f"DynamoDB table {self.name}: {len(left)} rows, tried {in_vain} times: {why}")
            if left:
                time.sleep(min(LONGEST_PAUSE_S, PAUSE_S * 2**in_vain) * random.uniform(0.5, 1))


@contextmanager
def dynamo_trouble(table: str) -> Iterator[None]:
    """boto3's errors as ours: what DynamoDB refuses is a wrong setting, what it cannot do now is temporary."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    try:
        yield
    except ClientError as error:
        refused = error.response["Error"]["Code"] not in LATER
        raise (UsageError if refused else TemporaryError)(f"DynamoDB table {table}: {error}") from None
    except HTTPClientError as error:
        raise TemporaryError(f"DynamoDB table {table}: {error}") from None
    except BotoCoreError as error:  # no credentials, no region
        raise UsageError(f"DynamoDB table {table}: {error}") from None
