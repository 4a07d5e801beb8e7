"""Conversion of table columns to numbers or category codes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.config.params import DataSource
from pipelines.sources.tables import date_features, number_format
from pipelines.sources.tables.number_format import Decimal, is_text

# Text for a missing value, as in `pandas.read_csv` (keep_default_na).
MISSING = (
    *("", "NA", "N/A", "n/a", "#NA", "#N/A", "#N/A N/A", "NULL", "null", "NaN", "nan", "-NaN", "-nan"),
    *("1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "None", "<NA>"),
)
MAX_CATEGORIES = 1000  # each is one input column of the model
# Share of a column's distinct texts that are numbers: a note from the first on, an error above the second.
MIN_MIXED_SHARE, MAX_MIXED_SHARE = 0.5, 0.9
MIN_DISTINCT_KEPT = 0.9  # share of distinct numbers that remain distinct in float32; a note below it
EXCLUDE = "exclude it with data.features"


class ParsedColumn(NamedTuple):
    """`values` float64 [N], NaN for missing ones: numbers, or indices into `categories` if there are any.

    `note` is a warning about the conversion; empty if there is none.
    """

    name: str
    values: NDArray[np.float64]
    categories: tuple[str, ...]
    note: str = ""


def parse(
    path: Path, name: str, array: Any, *, config: DataSource, decimal: Decimal, advice: str = EXCLUDE
) -> ParsedColumn:
    """Convert a `normalized` array: to numbers if all values are numbers; text and booleans to categories.

    Numbers of the columns in `data.categories` are categories, too. Raises InputError, with the column and the
    `advice`, for dates and other types, infinite numbers, a few texts among numbers, a column without values, and more
    than MAX_CATEGORIES categories.
    """
    where, as_category = f"{path}: column '{name}'", name in (config.categories or ())
    if array.null_count == len(array):
        raise InputError(f"{where}: all {len(array)} values are missing; {advice}")
    if as_category or pa.types.is_boolean(array.type):
        array = pc.cast(array, pa.string())  # false, true
    if not as_category and date_features.are_dates(array):
        listed = ", or list it in data.dates" if advice == EXCLUDE else ""  # only features are replaced by theirs
        raise InputError(f"{where} holds dates ({_first(array)}); {advice}{listed}")
    numbers = None if as_category else _numbers_in(array, decimal)
    if numbers is None:
        return _categories(where, name, array, decimal, as_category, advice)
    return _numbers(where, name, *numbers)


def free_texts(arrays: Mapping[str, Any], config: DataSource) -> dict[str, Any]:
    """The text columns that may hold numbers: all but those in `data.categories` and `data.dates`."""
    fixed = {*(config.categories or ()), *(config.dates or ())}
    return {name: array for name, array in arrays.items() if is_text(array) and name not in fixed}


def expand_dates(
    path: Path, arrays: Mapping[str, Any], config: DataSource, read: Callable[[str, Any], ParsedColumn]
) -> list[ParsedColumn]:
    """The feature columns, converted by `read`; those in `data.dates` are replaced by their year, month and weekday.

    Raises InputError as `read` and `date_features.features`, and if a new name is that of another column.
    """
    parsed: list[ParsedColumn] = []
    for name, array in arrays.items():
        if name not in (config.dates or ()):
            parsed.append(read(name, array))
            continue
        for feature, values in date_features.features(path, name, array, config.day_first).items():
            if feature in arrays:
                raise InputError(f"{path}: column '{feature}' is also a feature of the dates in '{name}'; rename it")
            parsed.append(ParsedColumn(feature, values, ()))
    return parsed


def precision_note(column: ParsedColumn) -> str:
    """A warning if float32 does not distinguish the numbers of a column; empty if it does, and for categories.

    Up to one in ten distinct numbers may be lost without a warning, as large tables always lose some by rounding.
    """
    if column.categories:
        return ""
    distinct, kept = len(np.unique(column.values)), len(np.unique(column.values.astype(np.float32)))
    if kept >= MIN_DISTINCT_KEPT * distinct:
        return ""
    return f"holds {distinct} different numbers, of which float32 distinguishes {kept}; subtract a common offset"


def normalized(array: Any) -> Any:
    """A single chunk; text trimmed, null if MISSING; type float64 if all values are null."""
    array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if is_text(array):
        array = pc.utf8_trim_whitespace(array)
        missing = pc.is_in(array, value_set=pa.array(MISSING, array.type))
        array = _parse_booleans(pc.if_else(missing, pa.scalar(None, array.type), array))
    return pa.nulls(len(array), pa.float64()) if array.null_count == len(array) else array


def _parse_booleans(array: Any) -> Any:
    """Booleans if each text is true or false, else the array; 0 and 1 remain numbers."""
    booleans = _cast(array, pa.bool_()) if _cast(array, pa.float64()) is None else None
    return array if booleans is None else booleans


def _cast(array: Any, dtype: Any) -> Any:
    """The array converted to another type; None if a value cannot be converted."""
    try:
        return pc.cast(array, dtype, safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _numbers_in(array: Any, decimal: Decimal) -> tuple[Any, str] | None:
    """The values as float64 and a note on their interpretation; None if one of them is not a number."""
    if not is_text(array):
        numbers = _cast(array, pa.float64())
        return None if numbers is None else (numbers, "")
    parsed = number_format.parse(array, decimal)
    return (pc.cast(parsed.texts, pa.float64()), parsed.note) if parsed else None


def _numbers(where: str, name: str, array: Any, note: str) -> ParsedColumn:
    values = np.asarray(array.fill_null(np.nan).to_numpy(zero_copy_only=False), np.float64)
    invalid = np.flatnonzero(np.abs(values) > np.finfo(np.float32).max)
    if len(invalid):
        raise InputError(f"{where}, row {invalid[0] + 1}: {values[invalid[0]]:g}; allowed: finite numbers in float32")
    return ParsedColumn(name, values, (), note)


def _categories(where: str, name: str, array: Any, decimal: Decimal, as_category: bool, advice: str) -> ParsedColumn:
    if not is_text(array):
        raise InputError(f"{where} is of type {array.type}; allowed: numbers, text, true and false")
    note = "" if as_category else _mixed_note(where, array, decimal, advice)
    names = sorted(pc.unique(array).drop_null().to_pylist())
    if len(names) > MAX_CATEGORIES:
        problem = f"{len(names)} different texts such as '{names[0][:40]}'"
        raise InputError(f"{where}: {problem}; allowed: {MAX_CATEGORIES} categories; {advice}")
    codes = pc.index_in(array, value_set=pa.array(names, array.type))
    values = codes.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return ParsedColumn(name, values, tuple(names), note)


def _mixed_note(where: str, array: Any, decimal: Decimal, advice: str) -> str:
    """A note if many distinct texts are numbers, as in 12, 12a. Raises InputError if nearly all are."""
    number = number_format.pattern(decimal)
    texts, are_numbers = pc.unique(array).drop_null(), pc.match_substring_regex(array, number)
    share = pc.mean(pc.match_substring_regex(texts, number)).as_py()
    if share < MIN_MIXED_SHARE:
        return ""
    row = pc.index(are_numbers, False).as_py()
    numbers, known = pc.sum(are_numbers).as_py(), len(array) - array.null_count
    mixture = f"'{str(array[row])[:40]}' in row {row + 1}, while {numbers} of {known} values are numbers"
    if share > MAX_MIXED_SHARE:
        allowed = "only numbers, so clear such cells; or categories, by listing the column in data.categories"
        raise InputError(f"{where}: {mixture}; allowed: {allowed}; or {advice}")
    return f"holds {mixture}; it is read as categories; clear such cells to read it as numbers"


def _first(array: Any) -> str:
    return str(array.drop_null()[0])
