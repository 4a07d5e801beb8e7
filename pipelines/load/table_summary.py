"""The columns of a table as a person looks at them: what each holds, and what is odd about it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from pipelines.artifacts.raw_data import Table

SHOWN = 4  # categories
FEWEST = 20  # rows from which on it is odd that no two are alike


def describe(rows: NDArray[np.float32], table: Table, noted: Sequence[str] = ()) -> str:
    """A line for each column of `rows` [N, F], what the source `noted`, and a note on each that is worth a look."""
    columns = [(name, rows[:, place], table.categories[place]) for place, name in enumerate(table.features)]
    lines = [(name, "categories" if names else "numbers", *_found(values, names)) for name, values, names in columns]
    notes = [f"column '{name}' {odd}" for name, values, names in columns if (odd := _odd(values, names))]
    shown = tabulate(lines, ("column", "kind", "missing", "values"), disable_numparse=True)
    return "\n".join([shown, *(f"note: {note}" for note in (*noted, *notes))])


def _found(values: NDArray[np.float32], names: tuple[str, ...]) -> tuple[int, str]:
    """How many are missing, and the range of numbers, or the first categories."""
    missing = int(np.isnan(values).sum())
    if not names:
        return missing, f"{np.nanmin(values):g} to {np.nanmax(values):g}"
    return missing, f"{len(names)}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"


def _odd(values: NDArray[np.float32], names: tuple[str, ...]) -> str:
    """Why a column can hardly help, or nothing."""
    different = len(np.unique(values[~np.isnan(values)]))
    if different == 1:
        return "holds the same value in every row"
    if names and different > len(values) / 2 >= FEWEST / 2:
        return f"has {different} categories in {len(values)} rows, as names have; leave it out by data.features"
    if not names and different == len(values) >= FEWEST and (np.abs(np.diff(values)) == 1).all():
        return "counts the rows; leave it out by data.features"
    return ""
