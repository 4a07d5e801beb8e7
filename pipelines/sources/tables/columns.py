"""Conversion of table columns to numbers or category codes."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.errors import InputError

# Text for a missing value, as in `pandas.read_csv` (keep_default_na).
MISSING = (
    *("", "NA", "N/A", "n/a", "#NA", "#N/A", "#N/A N/A", "NULL", "null", "NaN", "nan", "-NaN", "-nan"),
    *("1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN", "None", "<NA>"),
)
MAX_CATEGORIES = 1000  # each is one input column of the model
# Share of a column's distinct texts that are numbers: a note from the first on, an error above the second.
MIN_MIXED_SHARE, MAX_MIXED_SHARE = 0.5, 0.9
MIN_DISTINCT_KEPT = 0.9  # share of distinct numbers that remain distinct in float32; a note below it
NUMBER = r"(?i)^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)$"  # numbers as parsed by Arrow
DATE = (  # 2026-01-31, 1/31/2026, 31.1.2026 or 1/31/26, optionally with a time
    r"^(\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d{1,2}/\d{1,2}/\d{2})([ T]\d{1,2}:\d{2}.*)?$"
)
EXCLUDE = "exclude it with data.features"


class ParsedColumn(NamedTuple):
    """`values` float64 [N], NaN for missing ones: numbers, or indices into `categories` if there are any.

    `note` is a warning about the conversion; empty if there is none.
    """

    name: str
    values: NDArray[np.float64]
    categories: tuple[str, ...]
    note: str = ""


def parse(path: Path, name: str, array: Any, advice: str = EXCLUDE) -> ParsedColumn:
    """Convert a `pyarrow.ChunkedArray`: to numbers if all values are numbers; text and booleans to categories.

    Raises InputError, with the column and the `advice`, for dates and other types, infinite numbers, a few texts among
    numbers, a column without values, and more than MAX_CATEGORIES categories.
    """
    array, where = _normalized(array), f"{path}: column '{name}'"
    if pa.types.is_boolean(array.type):
        array = pc.cast(array, pa.string())  # false, true
    if _are_dates(array):
        raise InputError(f"{where} holds dates ({_first(array)}); {advice}, or convert it to numbers")
    numbers = _cast(array, pa.float64())
    column = _categories(where, name, array, advice) if numbers is None else _numbers(where, name, numbers)
    if np.isnan(column.values).all():
        raise InputError(f"{where}: all {len(array)} values are missing; {advice}")
    return column


def precision_note(column: ParsedColumn) -> str:
    """The note of a categorical column; for numbers, a warning if float32 does not distinguish them; empty if neither.

    Up to one in ten distinct numbers may be lost without a warning, as large tables always lose some by rounding.
    """
    if column.categories:
        return column.note
    distinct, kept = len(np.unique(column.values)), len(np.unique(column.values.astype(np.float32)))
    if kept >= MIN_DISTINCT_KEPT * distinct:
        return ""
    return f"holds {distinct} different numbers, of which float32 distinguishes {kept}; subtract a common offset"


def _normalized(array: Any) -> Any:
    """A single chunk; text trimmed, null if MISSING; type float64 if all values are null."""
    array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if _is_text(array):
        array = pc.utf8_trim_whitespace(array)
        missing = pc.is_in(array, value_set=pa.array(MISSING, array.type))
        array = _parse_booleans(pc.if_else(missing, pa.scalar(None, array.type), array))
    return pa.nulls(len(array), pa.float64()) if array.null_count == len(array) else array


def _is_text(array: Any) -> bool:
    return bool(pa.types.is_string(array.type) or pa.types.is_large_string(array.type))


def _are_dates(array: Any) -> bool:
    """True if the type is temporal or each text matches DATE."""
    if _is_text(array):
        return bool(pc.all(pc.match_substring_regex(array, DATE)).as_py())
    return bool(pa.types.is_temporal(array.type))


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


def _numbers(where: str, name: str, array: Any) -> ParsedColumn:
    values = np.asarray(array.fill_null(np.nan).to_numpy(zero_copy_only=False), np.float64)
    invalid = np.flatnonzero(np.abs(values) > np.finfo(np.float32).max)
    if len(invalid):
        raise InputError(f"{where}, row {invalid[0] + 1}: {values[invalid[0]]:g}; allowed: finite numbers in float32")
    return ParsedColumn(name, values, ())


def _categories(where: str, name: str, array: Any, advice: str) -> ParsedColumn:
    if not _is_text(array):
        raise InputError(f"{where} is of type {array.type}; allowed: numbers, text, true and false")
    note = _mixed_note(where, array, advice)
    names = sorted(pc.unique(array).drop_null().to_pylist())
    if len(names) > MAX_CATEGORIES:
        problem = f"{len(names)} different texts such as '{names[0][:40]}'"
        raise InputError(f"{where}: {problem}; allowed: {MAX_CATEGORIES} categories; {advice}")
    codes = pc.index_in(array, value_set=pa.array(names, array.type))
    values = codes.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return ParsedColumn(name, values, tuple(names), note)


def _mixed_note(where: str, array: Any, advice: str) -> str:
    """A note if many distinct texts are numbers, as in 12, 12a. Raises InputError if nearly all are."""
    texts, are_numbers = pc.unique(array).drop_null(), pc.match_substring_regex(array, NUMBER)
    share = pc.mean(pc.match_substring_regex(texts, NUMBER)).as_py()
    if share < MIN_MIXED_SHARE:
        return ""
    row = pc.index(are_numbers, False).as_py()
    numbers, known = pc.sum(are_numbers).as_py(), len(array) - array.null_count
    mixture = f"'{str(array[row])[:40]}' in row {row + 1}, while {numbers} of {known} values are numbers"
    if share > MAX_MIXED_SHARE:
        allowed = "only numbers, so clear such cells; or categories, so prefix each value with a letter"
        raise InputError(f"{where}: {mixture}; allowed: {allowed}; or {advice}")
    return f"holds {mixture}; it is read as categories; clear such cells to read it as numbers"


def _first(array: Any) -> str:
    return str(array.drop_null()[0])
