"""Constants of the first layer of models of tables, which encodes raw columns; the same for both frameworks."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.spec import DataSpec

Row = NDArray[np.float32]


class Encoding(NamedTuple):
    """The encoding of F raw columns as D numbers. Constants have the batch's dimension too: [1, ...].

    `fill` [1, F] stands for missing values, None where none may be missing. `column` int64 [D] is the
    raw column that each number comes from, None where that is each once. A number is
    (value - mean) * factor, and 1 more where the value equals `code`: never the NaN of a column of
    numbers; of a category mean and factor are 0. All three are [1, D].
    """

    fill: Row | None
    column: NDArray[np.int64] | None
    code: Row
    mean: Row
    factor: Row


def encoding(spec: DataSpec) -> Encoding:
    """The constants of a tabular spec: standardised numbers, and a one-hot column for each category.

    An unknown or missing category is no category: all its columns are 0.
    """
    widths = [len(names) or 1 for names in spec.categories]
    index = np.repeat(np.arange(len(widths)), widths)
    codes = [code for names in spec.categories for code in (range(len(names)) if names else (np.nan,))]
    is_number = np.isnan(codes)
    mean, std = np.array(spec.mean)[index], np.array(spec.std)[index]
    return Encoding(
        _row([np.nan if value is None else value for value in spec.fill]) if any_missing(spec) else None,
        None if is_number.all() else index,
        _row(codes),
        _row(np.where(is_number, mean, 0)),
        _row(np.where(is_number, 1 / std, 0)),
    )


def any_missing(spec: DataSpec) -> bool:
    """True if a value of any column may be missing."""
    return any(value is not None for value in spec.fill)


def _row(values: object) -> Row:
    return np.array(values, np.float32)[np.newaxis]
