"""What of a source lies in a folder: its files, and which of them no batch has had yet."""

from dataclasses import dataclass
from pathlib import Path

from conf.settings import Settings
from jobs.rim.manifest import Batch
from jobs.sources.description import Description, Events, Items, Users
from jobs.sources.files import Input, choose, list_folder, require
from jobs.sources.gather import Gather

Layout = Events | Items | Users


@dataclass(frozen=True)
class Found:
    """A file to read: how, and the hash of its bytes."""

    file: Input
    layout: Layout
    hash: str


def find_files(source: Description, path: str, settings: Settings, hourly: bool) -> list[Found]:
    """The source's files in a folder; the hourly form may find none."""
    files = list_folder(path, settings.lake, missing_ok=hourly)
    layouts: list[tuple[str, Layout]] = [("events", spec) for spec in source.events]
    layouts += [(name, layout) for name in ("items", "users") if (layout := getattr(source, name))]
    if len(files) == 1 and not Path(path).is_dir() and not any(choose(files, layout) for _, layout in layouts):
        return [Found(files[0], source.events[0], files[0].content_hash())]
    alone = hourly or not Path(path).is_dir()
    found = []
    for name, layout in layouts:
        chosen = choose(files, layout)
        if not alone:
            require(chosen, files, layout, name, path)
        found += [Found(file, layout, file.content_hash()) for file in chosen]
    return found


def not_yet_ingested(found: list[Found], batches: list[Batch], source: Description) -> list[Found]:
    known = {entry["hash"] for batch in batches if batch.source == source.name for entry in batch.inputs}
    return [one for one in found if one.hash not in known]


def read_files(gathered: Gather, found: list[Found]) -> list[dict]:
    """Read every file; what the manifest says of each."""
    inputs = []
    for one in found:
        read = gathered.read_events if isinstance(one.layout, Events) else gathered.read_catalogue
        rows = read(one.file, one.layout)
        entry = {"name": one.file.name, "bytes": one.file.bytes, "hash": one.hash, "rows": rows}
        inputs.append(entry | {"description": gathered.source.content_hash})
    return inputs
