"""Summary of the columns of a table: kind, missing values, range, and warnings."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from pipelines.artifacts.raw_data import Table

MAX_CATEGORIES = 4  # listed for each column
MIN_ROWS = 20  # below it, values that are all different are no reason for a warning


def summary(rows: NDArray[np.float32], table: Table, notes: Sequence[str] = ()) -> str:
    """A table with a line for each column of `rows` [N, F], then the `notes` of the source and the warnings."""
    columns = [(name, rows[:, index], table.categories[index]) for index, name in enumerate(table.features)]
    lines = [
        (name, "categories" if categories else "numbers", int(np.isnan(values).sum()), _values(values, categories))
        for name, values, categories in columns
    ]
    warnings = [
        f"column '{name}' {warning}"
        for name, values, categories in columns
        if (warning := _column_warning(values, categories))
    ]
    text = tabulate(lines, ("column", "kind", "missing", "values"), disable_numparse=True)
    return "\n".join([text, *(f"note: {note}" for note in (*notes, *warnings))])


def _values(values: NDArray[np.float32], categories: tuple[str, ...]) -> str:
    """The range of numbers, or the number of categories and the first of them."""
    if not categories:
        return f"{np.nanmin(values):g} to {np.nanmax(values):g}"
    ellipsis = ", ..." if len(categories) > MAX_CATEGORIES else ""
    return f"{len(categories)}: {', '.join(categories[:MAX_CATEGORIES])}{ellipsis}"


def _column_warning(values: NDArray[np.float32], categories: tuple[str, ...]) -> str:
    """The reason why a column is not useful as a feature; empty if there is none."""
    distinct = len(np.unique(values[~np.isnan(values)]))
    if distinct == 1:
        return "holds the same value in every row"
    if categories and distinct > len(values) / 2 >= MIN_ROWS / 2:
        return f"has {distinct} categories in {len(values)} rows, like an identifier; exclude it with data.features"
    if not categories and distinct == len(values) >= MIN_ROWS and (np.abs(np.diff(values)) == 1).all():
        return "numbers the rows; exclude it with data.features"
    return ""
