"""What would an ingest of your events do? Reads the first rows and says; changes nothing.

``nightshelf check-source DESCRIPTION --path FOLDER`` tries a description; with only a path it prints one to start from.
"""

import argparse
from datetime import UTC, datetime

from conf.settings import Settings
from jobs.rim.errors import EXIT_USAGE, UsageError
from jobs.sources.catalogue import used_columns
from jobs.sources.description import Description, Events
from jobs.sources.files import Input, choose, list_folder
from jobs.sources.guess import guess
from jobs.sources.load import known_sources, load_description, parse_description
from jobs.sources.sample import describe, take_sample

DATA = (".csv", ".tsv", ".txt", ".dat", ".data", ".jsonl", ".ndjson", ".json", ".parquet", ".pq")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", help="a description (.toml or a shipped source's name), or a file of events")
    parser.add_argument("--path", help="folder or file to try it on")


def main(args: argparse.Namespace, settings: Settings) -> int:
    is_description = args.what is not None and (args.what in known_sources() or args.what.endswith(".toml"))
    path = args.path or (None if is_description else args.what)
    if args.what and not is_description and args.path:
        load_description(args.what)  # raises: it is no source
    if path is None and not is_description:
        raise UsageError("give a description, a file of events, or --path FOLDER")
    if not is_description:
        return start_description(list_folder(path, settings.lake), path)
    source = load_description(args.what)
    if path is None:
        print(f"{source.name}: the description is sound; add --path FOLDER to try it on files")
        return 0
    return show(source, list_folder(path, settings.lake), path, prefix="")


def start_description(files: list[Input], path: str) -> int:
    """Print a description to save, and as comments below it what it makes of the file."""
    file = likely_events(files, path)
    text = guess(file, datetime.now(UTC))
    print("# A start: save it as my-source.toml, correct it, then run")
    for command in ("check-source my-source.toml", "ingest --source my-source.toml"):
        print(f"#   nightshelf {command} --path {path}")
    print(text)
    return show(parse_description(text.encode(), "the guessed description"), [file], path, prefix="# ")


def likely_events(files: list[Input], path: str) -> Input:
    """The file that looks like events: by its name, else the largest of a known kind."""
    data = [file for file in files if file.name.removesuffix(".gz").endswith(DATA)] or files
    if not data:
        raise UsageError(f"{path}: the folder is empty")
    return max(data, key=lambda file: ("event" in file.name.lower(), file.bytes))


def show(source: Description, files: list[Input], path: str, prefix: str) -> int:
    """Sample one file of each part of the description; 0 when all can be used."""
    samples, problems = [], []
    for what, layout in parts(source):
        chosen = choose(files, layout) or (files if len(files) == 1 and isinstance(layout, Events) else [])
        if chosen:
            samples.append((layout, take_sample(chosen[0], layout, source, datetime.now(UTC))))
        elif not layout.optional:
            wanted = " or ".join(layout.files) or "one file of such messages, one a line"
            problems.append(f"{path}: no {what} file; wanted {wanted}")
    for layout, sample in samples:
        used = layout.used if isinstance(layout, Events) else used_columns(layout)
        lines = [] if sample.error and not sample.fields else describe(sample, used)
        print("\n".join(prefix + line for line in lines))
    usable = not problems and bool(samples) and all(sample.usable for _, sample in samples)
    return conclude(problems + [line for _, sample in samples for line in sample.problems()], usable, prefix)


def parts(source: Description):
    yield from (("events", spec) for spec in source.events)
    yield from ((name, part) for name in ("items", "users") if (part := getattr(source, name)))


def conclude(problems: list[str], usable: bool, prefix: str) -> int:
    for problem in problems:
        print(f"{prefix}problem: {problem}")
    print(f"{prefix}{'usable' if usable else 'not usable yet'} (ids of people, sessions and baskets become pseudonyms)")
    return 0 if usable else EXIT_USAGE
