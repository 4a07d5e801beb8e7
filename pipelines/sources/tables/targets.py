"""The column that is learned: classes, or numbers."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.config.params import DataSource
from pipelines.sources.tables.columns import Column

FEW = 20  # different whole numbers up to which they are taken for classes
LARGEST = 2**53  # from here on, float64 does not tell a whole number from the next
NAMED = 5  # rows that an error names


def parse(path: Path, column: Column, config: DataSource) -> tuple[tuple[str, ...], NDArray[Any]]:
    """Labels and class numbers int64 [N], or no labels and numbers float32 [N]; which of them is told.

    Text, truth values and up to FEW different whole numbers are classes; other numbers are a regression,
    unless `data.task` says otherwise. Raises InputError for missing values, for text in a regression, and
    for classes of LARGEST and beyond.
    """
    where = f"{path}: target '{column.name}'"
    _require_all(where, column.values)
    task = _task(column) if config.task == "auto" else config.task
    if config.task == "auto":
        rule = f"text, true and false, and up to {FEW} different whole numbers are classes; data.task decides otherwise"
        print(f"target '{column.name}': {task} ({rule})")
    if task == "classification":
        labels, targets = _classes(where, column)
        if len(labels) < 2:
            raise InputError(f"{where} has one class, '{labels[0]}'; allowed: two or more")
        return labels, targets
    if column.categories:
        raise InputError(f"{where} holds text such as '{column.categories[0]}'; allowed in a regression: numbers")
    return (), column.values.astype(np.float32)


def _task(column: Column) -> str:
    values = np.unique(column.values)
    few = len(values) <= FEW and bool((values == np.rint(values)).all())
    return "classification" if column.categories or few else "regression"


def _classes(where: str, column: Column) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    if column.categories:
        return column.categories, column.values.astype(np.int64)
    values, targets = np.unique(column.values, return_inverse=True)
    if np.abs(values).max() >= LARGEST:
        raise InputError(
            f"{where} holds {values[np.abs(values).argmax()]:.0f}; allowed as a class: below 2^53, or text"
        )
    return tuple(map(_label, values.tolist())), targets.astype(np.int64)


def _label(value: float) -> str:
    """All digits, so that no two classes share a label; a whole number without a point."""
    return str(int(value)) if value.is_integer() else repr(value)


def _require_all(where: str, values: NDArray[np.float64]) -> None:
    missing = np.flatnonzero(np.isnan(values)) + 1
    if len(missing):
        rows = ", ".join(map(str, missing[:NAMED])) + (", ..." if len(missing) > NAMED else "")
        found = f"is missing in {len(missing)} of {len(values)} rows ({rows})"
        raise InputError(f"{where} {found}; allowed: in none, and NA, null, None and the like are no classes")
