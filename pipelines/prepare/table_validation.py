"""Checks of the rows and targets of a table."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.artifacts import raw_data
from pipelines.artifacts.npy import spans
from pipelines.artifacts.raw_data import RawData, Table
from pipelines.execution.counts import counted
from pipelines.prepare import class_validation

MIN_ROWS = 10  # of a regression


def check_part(folder: Path, part: str, rows: NDArray[Any], targets: NDArray[Any], raw: RawData, table: Table) -> None:
    """Raise InputError, with file, column and row, if the `part`, train or test, is not valid."""
    targets_path = raw_data.array_path(folder, f"{part}_targets")
    _check_rows(raw_data.array_path(folder, f"{part}_inputs"), rows, table)
    if raw.is_classification:
        class_validation.check(targets_path, targets, len(rows), raw.labels)
    else:
        _check_numbers(targets_path, targets, len(rows))


def _check_rows(path: Path, rows: NDArray[Any], table: Table) -> None:
    width = len(table.features)
    if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != width or not len(rows):
        raise InputError(f"{path}: {rows.dtype} {rows.shape}; allowed: float32 (N, {width}), one row or more")
    for span in spans(rows):
        part = rows[span]
        wrong = np.argwhere(np.isinf(part) if table.missing else ~np.isfinite(part))
        if len(wrong):
            row, column = wrong[0]
            where = f"column '{table.features[column]}', row {span.start + row}"
            raise InputError(f"{path}: {where}: {part[row, column]}; allowed: finite numbers")


def _check_numbers(path: Path, targets: NDArray[Any], count: int) -> None:
    if targets.dtype != np.float32 or targets.shape != (count,):
        raise InputError(f"{path}: {targets.dtype} {targets.shape}; allowed: float32 ({count},), one for each row")
    if not np.isfinite(targets).all():
        row = int(np.isfinite(targets).argmin())
        raise InputError(f"{path}: {targets[row]} in row {row}; allowed: finite numbers")
    if count < MIN_ROWS:
        raise InputError(f"{path}: {counted(count, 'row')}; allowed: {MIN_ROWS} or more")
    if targets.min() == targets.max():
        raise InputError(f"{path}: every target is {targets[0]:g}; allowed: numbers that differ")
