"""Conversion of the target column to classes or numbers."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.config.params import DataSource
from pipelines.sources.tables.columns import ParsedColumn

MAX_CLASSES = 20  # distinct integers up to which a numeric target is a classification
MAX_CLASS_SHARE = 0.5  # classes per row; a warning above it
INTEGER_LIMIT = 2**53  # float64 represents all integers below it exactly
MAX_ROWS = 5  # in error messages


def parse(path: Path, column: ParsedColumn, config: DataSource) -> tuple[tuple[str, ...], NDArray[Any]]:
    """Labels and class indices int64 [N], or no labels and numbers float32 [N].

    If `data.task` is `auto`, text, booleans and up to MAX_CLASSES distinct integers are classes, other numbers are a
    regression, and the task is printed. Raises InputError for missing values, for text in a regression, and for
    numeric classes from INTEGER_LIMIT on.
    """
    where = f"{path}: target '{column.name}'"
    _require_complete(where, column.values)
    task = _task(column) if config.task == "auto" else config.task
    if config.task == "auto":
        rule = f"text, true and false, and up to {MAX_CLASSES} whole numbers are classes; data.task overrides this"
        print(f"target '{column.name}': {task} ({rule})")
    if task == "classification":
        labels, targets = _classes(where, column)
        if len(labels) > MAX_CLASS_SHARE * len(targets):
            problem = f"has {len(labels)} classes in {len(targets)} rows"
            allowed = "for a regression it must hold plain numbers and not be listed in data.categories"
            print(f"warning: target '{column.name}' {problem}; {allowed}", flush=True)
        if len(labels) < 2:
            raise InputError(f"{where} has one class, '{labels[0]}'; allowed: two or more")
        return labels, targets
    if column.categories:
        raise InputError(f"{where} holds text such as '{column.categories[0]}'; allowed in a regression: numbers")
    return (), column.values.astype(np.float32)


def _task(column: ParsedColumn) -> str:
    values = np.unique(column.values)
    integers = len(values) <= MAX_CLASSES and bool((values == np.rint(values)).all())
    return "classification" if column.categories or integers else "regression"


def _classes(where: str, column: ParsedColumn) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    if column.categories:
        return column.categories, column.values.astype(np.int64)
    values, targets = np.unique(column.values, return_inverse=True)
    if np.abs(values).max() >= INTEGER_LIMIT:
        raise InputError(
            f"{where} holds {values[np.abs(values).argmax()]:.0f}; allowed as a class: below 2^53, or text"
        )
    return tuple(map(_label, values.tolist())), targets.astype(np.int64)


def _label(value: float) -> str:
    """The number with all digits, so that labels are unique; integers without a decimal point."""
    return str(int(value)) if value.is_integer() else repr(value)


def _require_complete(where: str, values: NDArray[np.float64]) -> None:
    missing = np.flatnonzero(np.isnan(values)) + 1
    if len(missing):
        rows = ", ".join(map(str, missing[:MAX_ROWS])) + (", ..." if len(missing) > MAX_ROWS else "")
        problem = f"is missing in {len(missing)} of {len(values)} rows ({rows})"
        raise InputError(f"{where} {problem}; allowed: in none; NA, null, None and similar text counts as missing")
