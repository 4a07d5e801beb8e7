"""Statistics of each column of a table, computed from the training split only, and encoding by them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.spec import UNKNOWN
from pipelines.artifacts.raw_data import Table
from pipelines.prepare.splits import SplitRows


class ColumnStatistics(NamedTuple):
    """Categories that occur in a column, with their codes in the raw data; the replacement `fill` of missing values,
    None if none may be missing; mean and standard deviation of numbers, 0 and 1 for categories."""

    categories: tuple[str, ...]
    codes: NDArray[np.int64]
    fill: float | None
    mean: float
    std: float


def compute(train: SplitRows, table: Table) -> list[ColumnStatistics]:
    """The statistics of each column. Raises InputError if a column has no value in the training split."""
    return [_column(train, index, table) for index in range(len(table.features))]


def encode(rows: NDArray[np.float32], columns: Sequence[ColumnStatistics], table: Table) -> NDArray[np.float32]:
    """Raw rows [n, F] with the categories renumbered; UNKNOWN for those that do not occur in the training split."""
    encoded = rows.copy()
    for index, column in enumerate(columns):
        if column.categories:
            numbers = np.full(len(table.categories[index]) + 1, UNKNOWN, np.float32)
            numbers[column.codes] = np.arange(len(column.codes))
            numbers[-1] = np.nan  # for a missing value
            values = rows[:, index]
            encoded[:, index] = numbers[np.where(np.isnan(values), -1, values).astype(np.int64)]
    return encoded


def _column(train: SplitRows, index: int, table: Table) -> ColumnStatistics:
    values = np.asarray(train.inputs[:, index])[train.rows].astype(np.float64)
    known = values[~np.isnan(values)]
    if not len(known):
        where = f"column '{table.features[index]}'"
        raise InputError(f"{where} has no value in the {len(values)} training rows; exclude it with data.features")
    if names := table.categories[index]:
        codes = np.unique(known).astype(np.int64)
        fill = UNKNOWN if table.missing else None
        return ColumnStatistics(tuple(names[code] for code in codes), codes, fill, 0.0, 1.0)
    median = float(np.float32(np.median(known)))
    filled = np.where(np.isnan(values), median, values)
    fill = median if table.missing else None
    return ColumnStatistics((), np.empty(0, np.int64), fill, float(filled.mean()), float(filled.std()))
