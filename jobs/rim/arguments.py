"""Arguments several commands share."""

import argparse
from datetime import UTC, datetime


def moment(text: str) -> datetime:
    """An ISO 8601 moment, cut to the second as paths and versions write it; without a zone it is UTC."""
    try:
        value = datetime.fromisoformat(text).replace(microsecond=0)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO 8601 moment such as 2026-01-31T00:00:00Z") from None


def add_run_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """``--as-of`` and ``--snapshot``: what names a run."""
    parser.add_argument(
        "--as-of", type=moment, required=required, help="moment the run pretends it is: end of its interval"
    )
    parser.add_argument("--snapshot", type=int, help="read batches 1 to N of the lake (default: all there are now)")
