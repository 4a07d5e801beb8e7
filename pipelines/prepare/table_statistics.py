"""What the training split of a table tells about each column; no other split is looked at."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.spec import UNKNOWN
from pipelines.artifacts.raw_data import Table
from pipelines.prepare.splits import Split


class Learned(NamedTuple):
    """Of a column: the categories that occur and their numbers in the raw data; what stands for a missing value,
    None where none may be missing; mean and standard deviation of numbers, 0 and 1 of categories."""

    categories: tuple[str, ...]
    codes: NDArray[np.int64]
    fill: float | None
    mean: float
    std: float


def learn(train: Split, table: Table) -> list[Learned]:
    """Each column of the training rows. Raises InputError where a column has no value there."""
    return [_column(train, place, table) for place in range(len(table.features))]


def encode(rows: NDArray[np.float32], columns: Sequence[Learned], table: Table) -> NDArray[np.float32]:
    """Raw rows [n, F] with the categories renumbered as they were learned; UNKNOWN where training had none of them."""
    encoded = rows.copy()
    for place, column in enumerate(columns):
        if column.categories:
            numbers = np.full(len(table.categories[place]) + 1, UNKNOWN, np.float32)
            numbers[column.codes] = np.arange(len(column.codes))
            numbers[-1] = np.nan  # of a missing value
            values = rows[:, place]
            encoded[:, place] = numbers[np.where(np.isnan(values), -1, values).astype(np.int64)]
    return encoded


def _column(train: Split, place: int, table: Table) -> Learned:
    values = np.asarray(train.inputs[:, place])[train.rows].astype(np.float64)
    known = values[~np.isnan(values)]
    if not len(known):
        where = f"column '{table.features[place]}'"
        raise InputError(f"{where} has no value in the {len(values)} training rows; leave it out by data.features")
    if names := table.categories[place]:
        codes = np.unique(known).astype(np.int64)
        return Learned(tuple(names[code] for code in codes), codes, UNKNOWN if table.missing else None, 0.0, 1.0)
    median = float(np.float32(np.median(known)))
    filled = np.where(np.isnan(values), median, values)
    fill = median if table.missing else None
    return Learned((), np.empty(0, np.int64), fill, float(filled.mean()), float(filled.std()))
