"""`layers.csv`: statistics of each layer after each epoch, in long format."""

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from models.errors import InputError

FILE = "layers.csv"
Row = tuple[int, str, str, float]  # epoch, statistic, layer, value
COLUMNS = ("epoch", "statistic", "layer", "value")


def write(rows: Iterable[Row], path: Path) -> None:
    """CSV with a line for each epoch, statistic and layer."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def read(path: Path) -> np.ndarray:
    """A structured array with the columns of layers.csv. Raises InputError where the columns differ from COLUMNS."""
    rows = np.atleast_1d(np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf-8"))
    if rows.dtype.names != COLUMNS:
        raise InputError(f"{path}: columns {rows.dtype.names}; allowed: {COLUMNS}; run `dvc repro` to train again")
    return rows
