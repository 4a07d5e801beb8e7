"""A column of a table as numbers: as they are, or the numbers of categories."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.errors import InputError

MOST_CATEGORIES = 1000  # each becomes a column of its own in the model


class Column(NamedTuple):
    """`values` float32 [N], NaN where missing: numbers, or places in `categories` where there are any."""

    name: str
    values: NDArray[np.float32]
    categories: tuple[str, ...]


def parse(path: Path, name: str, array: Any) -> Column:
    """A `pyarrow.ChunkedArray` as numbers where all values are; text and truth values as categories.

    Raises InputError, naming the column, for dates and other kinds, for infinite numbers, where all
    values are missing, and for more than MOST_CATEGORIES categories.
    """
    array, where = _decoded(array), f"{path}: column '{name}'"
    if pa.types.is_boolean(array.type):
        array = pc.cast(array, pa.string())  # false, true
    if pa.types.is_temporal(array.type):
        raise InputError(f"{where} holds dates ({_first(array)}); leave it out by data.features, or make it numbers")
    numbers = _cast(array, pa.float64())
    column = _categories(where, name, array) if numbers is None else _numbers(where, name, numbers)
    if np.isnan(column.values).all():
        raise InputError(f"{where}: all {len(array)} values are missing; leave it out by data.features")
    return column


def _decoded(array: Any) -> Any:
    """One piece; text without the space around it, and missing where nothing is left."""
    array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return array
    array = pc.utf8_trim_whitespace(array)
    array = pc.if_else(pc.equal(array, ""), pa.scalar(None, array.type), array)
    return _read_kind(array)


def _read_kind(array: Any) -> Any:
    """Text in which each value is a date in ISO 8601, or true or false, as what it is."""
    for kind in (pa.timestamp("us"), pa.bool_()):
        if _cast(array, pa.float64()) is None and (found := _cast(array, kind)) is not None:
            return found
    return array


def _cast(array: Any, kind: Any) -> Any:
    """The array as another kind, or None where a value is none of that kind."""
    try:
        return pc.cast(array, kind, safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _numbers(where: str, name: str, array: Any) -> Column:
    values = np.asarray(array.fill_null(np.nan).to_numpy(zero_copy_only=False), np.float64)
    wrong = np.flatnonzero(np.abs(values) > np.finfo(np.float32).max)
    if len(wrong):
        raise InputError(f"{where}, row {wrong[0] + 1}: {values[wrong[0]]:g}; allowed: finite numbers within float32")
    return Column(name, values.astype(np.float32), ())


def _categories(where: str, name: str, array: Any) -> Column:
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        raise InputError(f"{where} is of type {array.type}; allowed: numbers, text, true and false")
    names = sorted(pc.unique(array).drop_null().to_pylist())
    if len(names) > MOST_CATEGORIES:
        found = f"{len(names)} different texts such as '{names[0][:40]}'"
        raise InputError(f"{where}: {found}; allowed: {MOST_CATEGORIES} categories; leave it out by data.features")
    places = pc.index_in(array, value_set=pa.array(names, array.type))
    return Column(name, places.cast(pa.float32()).fill_null(np.nan).to_numpy(zero_copy_only=False), tuple(names))


def _first(array: Any) -> str:
    return str(array.drop_null()[0])
