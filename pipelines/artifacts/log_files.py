"""Files of the prediction log of the service: JSON lines in a folder; each worker appends to its latest file."""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.errors import InputError

VARIABLE = "TANDEM_PREDICTION_LOG"
PATTERN = "*.jsonl*"  # rotated files too


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option `--log`, the folder of the log."""
    folder, text = os.environ.get(VARIABLE) or None, f"the folder with the prediction log; default: {VARIABLE}"
    parser.add_argument("--log", type=Path, default=folder, help=text)


def find(folder: Path) -> list[Path]:
    """The files of the log. Raises InputError where there is none."""
    files = sorted(folder.glob(PATTERN))
    if not files:
        raise InputError(f"{folder}: contains no prediction log; serve with {VARIABLE} set to a folder")
    return files


def lines(files: Sequence[Path]) -> Iterator[bytes]:
    """Every line of every file; a file removed by rotation in the meantime is skipped."""
    for path in files:
        try:
            with path.open("rb") as handle:
                yield from handle
        except FileNotFoundError:
            continue
