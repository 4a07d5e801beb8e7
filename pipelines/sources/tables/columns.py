"""A column of a table as numbers: as they are, or the numbers of categories."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.errors import InputError

# What pandas takes for a missing value (`pandas.read_csv`, keep_default_na), and Arrow too but for the last two.
MISSING = (
    *("", "NA", "N/A", "n/a", "#NA", "#N/A", "#N/A N/A", "NULL", "null", "NaN", "nan", "-NaN", "-nan"),
    *("1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "None", "<NA>"),
)
MOST_CATEGORIES = 1000  # each becomes a column of its own in the model
MIXED, STRAY = 0.5, 0.9  # shares of a column's different texts that are numbers: from which it is told, refused above
KEPT = 0.9  # share of different numbers that float32 keeps apart; below it is told
NUMBER = r"(?i)^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)$"  # what Arrow takes for one
DATE = (  # 2026-01-31, 1/31/2026, 31.1.2026 or 1/31/26, and perhaps a time
    r"^(\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d{1,2}/\d{1,2}/\d{2})([ T]\d{1,2}:\d{2}.*)?$"
)
LEAVE_OUT = "leave it out by data.features"


class Column(NamedTuple):
    """`values` float64 [N], NaN where missing: numbers, or places in `categories` where there are any.

    `note` is what a person should know about how it was read, or nothing.
    """

    name: str
    values: NDArray[np.float64]
    categories: tuple[str, ...]
    note: str = ""


def parse(path: Path, name: str, array: Any, advice: str = LEAVE_OUT) -> Column:
    """A `pyarrow.ChunkedArray` as numbers where all values are; text and truth values as categories.

    Raises InputError, naming the column and ending in `advice`, for dates and other kinds, for infinite numbers,
    for a few texts among numbers, where all values are missing, and for more than MOST_CATEGORIES categories.
    """
    array, where = _decoded(array), f"{path}: column '{name}'"
    if pa.types.is_boolean(array.type):
        array = pc.cast(array, pa.string())  # false, true
    if _are_dates(array):
        raise InputError(f"{where} holds dates ({_first(array)}); {advice}, or make it numbers")
    numbers = _cast(array, pa.float64())
    column = _categories(where, name, array, advice) if numbers is None else _numbers(where, name, numbers)
    if np.isnan(column.values).all():
        raise InputError(f"{where}: all {len(array)} values are missing; {advice}")
    return column


def odd(column: Column) -> str:
    """What a person should know about how the column was read, and of numbers what float32 makes of them, or nothing.

    Large tables lose a few different numbers to any rounding, so that up to one in ten is not told.
    """
    if column.categories:
        return column.note
    different, kept = len(np.unique(column.values)), len(np.unique(column.values.astype(np.float32)))
    if kept >= KEPT * different:
        return ""
    return f"holds {different} different numbers, of which float32 keeps {kept} apart; subtract what they share"


def _decoded(array: Any) -> Any:
    """One piece; text without the space around it, null where it is MISSING; numbers where all is null."""
    array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if _is_text(array):
        array = pc.utf8_trim_whitespace(array)
        missing = pc.is_in(array, value_set=pa.array(MISSING, array.type))
        array = _read_truth(pc.if_else(missing, pa.scalar(None, array.type), array))
    return pa.nulls(len(array), pa.float64()) if array.null_count == len(array) else array


def _is_text(array: Any) -> bool:
    return bool(pa.types.is_string(array.type) or pa.types.is_large_string(array.type))


def _are_dates(array: Any) -> bool:
    """Whether the type says so, or each text looks like one."""
    if _is_text(array):
        return bool(pc.all(pc.match_substring_regex(array, DATE)).as_py())
    return bool(pa.types.is_temporal(array.type))


def _read_truth(array: Any) -> Any:
    """Text in which each value is true or false as what it is; 0 and 1 stay numbers."""
    truth = _cast(array, pa.bool_()) if _cast(array, pa.float64()) is None else None
    return array if truth is None else truth


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
    return Column(name, values, ())


def _categories(where: str, name: str, array: Any, advice: str) -> Column:
    if not _is_text(array):
        raise InputError(f"{where} is of type {array.type}; allowed: numbers, text, true and false")
    note = _mixed(where, array, advice)
    names = sorted(pc.unique(array).drop_null().to_pylist())
    if len(names) > MOST_CATEGORIES:
        found = f"{len(names)} different texts such as '{names[0][:40]}'"
        raise InputError(f"{where}: {found}; allowed: {MOST_CATEGORIES} categories; {advice}")
    places = pc.index_in(array, value_set=pa.array(names, array.type))
    values = places.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return Column(name, values, tuple(names), note)


def _mixed(where: str, array: Any, advice: str) -> str:
    """A note where many of the different texts are numbers, as in 12, 12a. Raises InputError where nearly all are."""
    texts, are_numbers = pc.unique(array).drop_null(), pc.match_substring_regex(array, NUMBER)
    share = pc.mean(pc.match_substring_regex(texts, NUMBER)).as_py()
    if share < MIXED:
        return ""
    row = pc.index(are_numbers, False).as_py()
    numbers, known = pc.sum(are_numbers).as_py(), len(array) - array.null_count
    found = f"'{str(array[row])[:40]}' in row {row + 1}, while {numbers} of {known} values are numbers"
    if share > STRAY:
        allowed = "numbers only: empty such cells; as categories, put a letter before each value"
        raise InputError(f"{where}: {found}; allowed: {allowed}; or {advice}")
    return f"holds {found}; it is read as categories; as numbers, where such cells are empty"


def _first(array: Any) -> str:
    return str(array.drop_null()[0])
