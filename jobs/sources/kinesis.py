"""Reads a data stream of Kinesis by sequence numbers: one shard after the other, parents before their children."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from conf.settings import Kinesis as KinesisSettings
from jobs.rim.errors import TemporaryError, UsageError
from jobs.rim.manifest import iso
from jobs.sources.layout import Stream
from jobs.sources.streams import Known, Messages, Stretch

AT_ONCE = 10_000  # records of one request: the most it gives
PAUSE_S = 0.25  # a shard answers five requests a second
PASSING = ("ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException")


class DataStream:
    """One data stream; it is read up to where it was written when the command began, or up to its tip."""

    def __init__(self, stream: Stream, settings: KinesisSettings, accept_loss: bool):
        import boto3

        self.stream, self.accept_loss, self.more = stream, accept_loss, False
        self.began = datetime.now(UTC)
        self.most, self.finished = 0, set()
        options = {"endpoint_url": settings.endpoint or None, "region_name": settings.region}
        self.client = boto3.Session().client("kinesis", **options)

    def close(self) -> None:
        self.client.close()

    def ahead(self, known: Known, most: int) -> list[Stretch]:
        """A stretch for each shard that is not read to its end, parents first; what it holds shows in reading."""
        with self.trouble():
            about = self.client.describe_stream_summary(StreamName=self.stream.kinesis)["StreamDescriptionSummary"]
            pages = self.client.get_paginator("list_shards").paginate(StreamName=self.stream.kinesis)
            self.shards = {shard["ShardId"]: shard for page in pages for shard in page["Shards"]}
        born = iso(about["StreamCreationTimestamp"])
        kept_from = iso(self.began - timedelta(hours=about["RetentionPeriodHours"]))
        self.known = {part: entry for part, entry in known.items() if entry["id"] == born}
        if len(self.known) < len(known):
            self.lose("not the data stream that was read before: made anew, or another account's")
        self.finished = {part for part, entry in self.known.items() if entry.get("closed")}
        left = [shard for shard in self.in_order() if shard not in self.finished]
        gone = [shard for shard in self.known if shard not in self.shards and shard not in self.finished]
        self.more, self.most = False, max(most // max(len(left), 1), 1)
        return [self.stretch(shard, born, kept_from) for shard in gone + left]

    def stretch(self, shard: str, born: str, kept_from: str) -> Stretch:
        """Behind what is known of a shard.

        Raises:
            UsageError: it was last read longer ago than the stream keeps records, and nobody said to go on.
        """
        before = self.known.get(shard)
        if before is None:
            return Stretch(shard, "", "", {"id": born})
        read = before.get("until", kept_from)
        if read >= kept_from and shard in self.shards:
            return Stretch(shard, before["last"], before["last"], {"id": born}, news=False)
        self.lose(f"{shard} was read up to {read}, and nothing is kept from before {kept_from}")
        closed = {} if shard in self.shards else {"closed": True}
        return Stretch(shard, "", "", {"id": born, "lost": [before["last"], read], **closed})

    def lose(self, what: str) -> None:
        if not self.accept_loss:
            raise UsageError(f"{self.stream.name}: {what}; --accept-loss goes on, and the batch tells what was lost")
        print(f"warning: {self.stream.name}: {what}; going on with what is there")

    def parents(self, shard: str) -> set[str]:
        """The shards it came of that are still listed: what is not is older than anything kept."""
        about = self.shards[shard]
        return {about.get("ParentShardId"), about.get("AdjacentParentShardId")} & set(self.shards)

    def in_order(self) -> list[str]:
        """All shards, each behind its parents."""
        ordered: dict[str, None] = {}
        while len(ordered) < len(self.shards):
            ready = [s for s in sorted(self.shards) if s not in ordered and self.parents(s) <= set(ordered)]
            ordered |= dict.fromkeys(ready)
        return list(ordered)

    def read(self, stretch: Stretch) -> Iterator[Messages]:
        """The records of a shard behind the last one read; none before its parents are read to their end."""
        if stretch.part not in self.shards or not self.parents(stretch.part) <= self.finished:
            return
        is_closed = "EndingSequenceNumber" in self.shards[stretch.part]["SequenceNumberRange"]
        iterator, left, first = self.iterator(stretch), self.most, True
        while iterator and left:
            page = self.page(iterator, min(left, AT_ONCE))
            records, iterator = page["Records"], page.get("NextShardIterator")
            if records:
                marks = [record["SequenceNumber"] for record in records]
                stretch.first, first = marks[0] if first else stretch.first, False
                stretch.last, stretch.news, left = marks[-1], True, left - len(records)
                numbers = range(stretch.messages + 1, stretch.messages + len(records) + 1)
                yield Messages([record["Data"] for record in records], numbers, marks)
            at_tip = page["MillisBehindLatest"] == 0
            if (is_closed and at_tip) or not iterator:
                stretch.told["closed"], stretch.news = True, True
                self.finished.add(stretch.part)
                iterator = None
            elif at_tip or (records and records[-1]["ApproximateArrivalTimestamp"] > self.began):
                iterator = None
            elif not records:
                time.sleep(PAUSE_S)
        cut = bool(iterator)
        self.more |= cut
        stretch.told["until"] = iso(records[-1]["ApproximateArrivalTimestamp"] if cut and records else self.began)

    def iterator(self, stretch: Stretch) -> str:
        where: dict = {"ShardIteratorType": "TRIM_HORIZON"}
        if stretch.last:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": stretch.last}
        elif not self.known and self.stream.start != "earliest":
            where = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": self.stream.start}
        with self.trouble():
            asked = {"StreamName": self.stream.kinesis, "ShardId": stretch.part}
            return self.client.get_shard_iterator(**asked, **where)["ShardIterator"]

    def page(self, iterator: str, limit: int) -> dict:
        with self.trouble():
            return self.client.get_records(ShardIterator=iterator, Limit=limit)

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """boto3's errors as ours: what Kinesis refuses is a wrong setting, what it cannot do now is temporary."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            yield
        except ClientError as error:
            refused = 400 <= error.response["ResponseMetadata"]["HTTPStatusCode"] < 500
            passing = error.response["Error"]["Code"] in PASSING or not refused
            raise (TemporaryError if passing else UsageError)(f"{self.stream.name}: {error}") from None
        except NoCredentialsError as error:
            raise UsageError(f"{self.stream.name}: {error}") from None
        except BotoCoreError as error:
            raise TemporaryError(f"{self.stream.name}: {error}") from None
