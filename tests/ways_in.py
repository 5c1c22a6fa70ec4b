"""The same rows by every way in: files, hourly drops on a disk and on S3, Kafka, Kinesis; and what became of them."""

import csv
import gzip
import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import boto3

from conf.settings import load_settings
from jobs.cli import main
from jobs.rim.lake import Lake
from jobs.rim.manifest import iso

SOURCES = Path(__file__).parents[1] / "conf/sources"
PARTS = 3  # a row is in one of so many drops


@dataclass(frozen=True)
class Slice:
    """Some rows of a set: as lines of a file with its header, and as messages; cut where ``parts`` say."""

    source: str
    file: str
    header: bytes
    lines: list[bytes]
    messages: list[bytes]
    cuts: list[int]
    start: str  # of the hour by whose end they have all happened

    def parts(self, rows: list[bytes]) -> list[list[bytes]]:
        return [rows[low:high] for low, high in zip([0, *self.cuts], [*self.cuts, len(rows)], strict=True)]

    @property
    def hour(self) -> tuple[str, str, str]:
        return "--interval", self.start, iso(datetime.fromisoformat(self.start) + timedelta(hours=1))


def online_retail(folder: Path, _: Path) -> Slice:
    """Lines are cut between two invoices: equal lines of one are told apart within a file only."""
    with gzip.open(folder / "online-retail" / "online_retail.csv.gz", "rt") as file:
        lines = [next(file) for _ in range(4_001)]
    rows = list(csv.DictReader(lines))
    invoices = [row["InvoiceNo"] for row in rows]
    cuts = [next(n for n in range(start, len(rows)) if invoices[n] != invoices[n - 1]) for start in (1_300, 2_600)]
    header, *rest = [line.encode() for line in lines]
    messages = [json.dumps(row).encode() for row in rows]
    return Slice("online-retail", "o.csv", header, rest, messages, cuts, "2010-12-02T23:00:00Z")


def movielens(folder: Path, _: Path) -> Slice:
    """The first thousand by time."""
    with gzip.open(folder / "movielens-100k" / "u.data.gz", "rt") as file:
        rows = sorted((line.rstrip("\n").split("\t") for line in file), key=lambda row: int(row[3]))[:1_000]
    names = ("user_id", "item_id", "rating", "timestamp")
    lines = ["\t".join(row).encode() + b"\n" for row in rows]
    messages = [json.dumps(dict(zip(names, row, strict=True))).encode() for row in rows]
    return Slice("movielens-100k", "u.data", b"", lines, messages, [300, 700], "1997-09-21T23:00:00Z")


def generated(_: Path, folder: Path) -> Slice:
    """Late, doubled and broken rows included."""
    assert main(["generate", "--out", str(folder / "made"), "--events", "3000", "--days", "2"]) == 0
    lines = (folder / "made" / "events.jsonl").read_bytes().splitlines(keepends=True)
    messages = [line.rstrip(b"\n") for line in lines]
    return Slice("nightshelf", "events.jsonl", b"", lines, messages, [1_000, 2_000], "2026-01-02T23:00:00Z")


SLICES = {"online-retail": online_retail, "movielens-100k": movielens, "generated": generated}


class Ways:
    """Each way brings the parts of a slice in one by one, with an ingest for the same hour after each."""

    def __init__(self, slice_: Slice, folder: Path, monkeypatch):
        self.slice, self.folder, self.set = slice_, folder, monkeypatch.setenv

    def hourly(self, landing: str, source: str = "") -> None:
        self.set("NIGHTSHELF_INGEST__LANDING", landing)
        assert main(["ingest", *self.slice.hour, "--source", source or self.slice.source]) == 0

    def named(self, number: int) -> str:
        """Name of a file of one part that the source's patterns match."""
        stem, _, suffix = self.slice.file.partition(".")
        return self.slice.file if self.slice.source == "movielens-100k" else f"{stem}{number}.{suffix}"

    def file(self) -> None:
        path = self.folder / "whole"
        path.mkdir()
        (path / self.slice.file).write_bytes(self.slice.header + b"".join(self.slice.lines))
        assert main(["ingest", "--path", str(path / self.slice.file), "--source", self.slice.source]) == 0

    def drops(self) -> None:
        landing = self.folder / "landing"
        landing.mkdir()
        for number, lines in enumerate(self.slice.parts(self.slice.lines)):
            (landing / self.named(number)).write_bytes(self.slice.header + b"".join(lines))
            self.hourly(str(landing))

    def s3(self, server, bucket: str, region: str) -> None:
        self.set("NIGHTSHELF_LAKE__S3_ENDPOINT", server.endpoint)
        self.set("NIGHTSHELF_LAKE__S3_REGION", region)
        client = boto3.client("s3", endpoint_url=server.endpoint, region_name=region)
        for number, lines in enumerate(self.slice.parts(self.slice.lines)):
            key = f"{self.folder.name}/{self.named(number)}"
            client.put_object(Bucket=bucket, Key=key, Body=self.slice.header + b"".join(lines))
            self.hourly(f"s3://{bucket}/{self.folder.name}")
        client.close()

    def stream(self, stream: str, send) -> None:
        text = (SOURCES / f"{self.slice.source}.toml").read_text()
        source = self.folder / "source.toml"
        source.write_text(text.replace("[[events]]\n", f"[[events]]\nstream = {{ {stream} }}\n", 1))
        for messages in self.slice.parts(self.slice.messages):
            send(messages)
            self.hourly(str(self.folder / "none"), str(source))


def accounts() -> dict:
    """What became of the rows, over all batches of the lake; who is whose, a matter of what a batch knew, left out."""
    total = Counter()
    for batch in Lake.open(load_settings().lake).batches():
        total.update({name: batch.accounts[name] for name in ("read", "accepted", "duplicate")})
        for name in ("by_kind", "quarantined"):
            total.update({f"{name} {key}": n for key, n in batch.accounts[name].items()})
    refused = sum(n for name, n in total.items() if name.startswith("quarantined"))
    assert total["read"] == total["accepted"] + total["duplicate"] + refused
    return dict(total)
