"""Conversion of table columns to numbers or category codes."""

from collections.abc import Callable, Mapping, Sequence
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
# Error values of spreadsheets, such as #N/A in German (#NV), Italian (#N/D) and Dutch (#N/B), #DIV/0! and #NAME?.
ERROR_VALUE = r"^#(?:NV|N/[BD]!?|[¡¿]?[\p{Lu}/]+0?[!?])$"
BOOLEAN = r"(?i)^(?:true|false)$"
PLACEHOLDER = r"^(?:[-–—.?*_/]+|(?i)[kn]\. ?[abdv]\.)$"  # probably a missing value: -, ?, k. A., n. v.
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
    `advice`, for dates, times and other types, infinite numbers, a few texts among numbers or dates, a column without
    values, and more than MAX_CATEGORIES categories.
    """
    where, as_category = f"{path}: column '{name}'", name in (config.categories or ())
    if array.null_count == len(array):
        raise InputError(f"{where}: all {len(array)} values are missing; {advice}")
    if as_category or pa.types.is_boolean(array.type):
        array = pc.cast(array, pa.string())  # false, true
    if kind := "" if as_category else date_features.kind(array, decimal):
        listed = ", or list it in data.categories"
        if kind == "dates":  # only features are replaced by theirs
            listed = ", or list it in data.dates or data.categories" if advice == EXCLUDE else ""
        raise InputError(f"{where} holds {kind} ({_first(array)}); {advice}{listed}")
    numbers = None if as_category else _numbers_in(array, decimal)
    if numbers is None:
        return _categories(where, name, array, decimal, as_category, advice)
    return _numbers(where, name, *numbers, advice)


def free_texts(arrays: Mapping[str, Any], config: DataSource) -> dict[str, Any]:
    """The text columns that may hold numbers: all but those in `data.categories` and `data.dates`, and months."""
    return {name: array for name, array in _texts(arrays, config).items() if date_features.kind(array) != "months"}


def require_no_decimal_months(path: Path, arrays: Mapping[str, Any], config: DataSource) -> None:
    """Raise InputError for a column such as 1.2026, which may hold numbers or months."""
    for name, array in _texts(arrays, config).items():
        if date_features.are_decimal_months(array):
            raise InputError(
                f"{path}: column '{name}' holds numbers or months ({_first(array)}); set data.decimal to point if they "
                "are numbers, else list it in data.categories"
            )


def _texts(arrays: Mapping[str, Any], config: DataSource) -> dict[str, Any]:
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
    distinguished = f"{distinct} different numbers, of which float32 distinguishes {kept}"
    return f"holds {distinguished}; subtract a common offset, or list it in data.categories"


def normalized(array: Any, missing: Sequence[str] | None) -> Any:
    """A single chunk; text trimmed, null if MISSING, an ERROR_VALUE or `missing`; NaN null; float64 if all are null."""
    array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    if is_text(array):
        array = pc.utf8_trim_whitespace(array)
        is_missing = pc.is_in(array, value_set=pa.array((*MISSING, *(missing or ())), array.type))
        if pc.any(pc.starts_with(array, "#")).as_py():
            is_missing = pc.or_(is_missing, pc.match_substring_regex(array, ERROR_VALUE))
        array = _parse_booleans(pc.if_else(is_missing, pa.scalar(None, array.type), array))
    return pa.nulls(len(array), pa.float64()) if array.null_count == len(array) else array


def _parse_booleans(array: Any) -> Any:
    """Booleans if each text is true or false, else the array; 0 and 1 are numbers, or categories beside other texts."""
    return pc.cast(array, pa.bool_()) if number_format.all_match(array, BOOLEAN) else array


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
    if parsed is None:
        return None
    note = parsed.note
    if date_features.are_decimal_months(array):
        note = f"may hold months: '{_first(array)}' is read as a number; {number_format.AS_CATEGORY}"
    return pc.cast(parsed.texts, pa.float64()), note


def _numbers(where: str, name: str, array: Any, note: str, advice: str) -> ParsedColumn:
    values = np.asarray(array.fill_null(np.nan).to_numpy(zero_copy_only=False), np.float64)
    if np.isnan(values).all():
        raise InputError(f"{where}: all {len(values)} values are missing; {advice}")
    invalid = np.flatnonzero(np.abs(values) > np.finfo(np.float32).max)
    if len(invalid):
        raise InputError(f"{where}, row {invalid[0] + 1}: {values[invalid[0]]:g}; allowed: finite numbers in float32")
    if advice != EXCLUDE:  # the target
        note = note.replace(number_format.AS_CATEGORY, "only for classes list it in data.categories")
    if date_features.are_compact(values):
        first = f"{values[~np.isnan(values)][0]:.0f}"
        note = f"holds dates: {first} is read as a number; data.dates replaces a feature by year, month and weekday"
    return ParsedColumn(name, values, (), note)


def _categories(where: str, name: str, array: Any, decimal: Decimal, as_category: bool, advice: str) -> ParsedColumn:
    if not is_text(array):
        raise InputError(f"{where} is of type {array.type}; allowed: numbers, text, true and false")
    note = "" if as_category else _text_note(where, array, decimal, advice)
    names = sorted(pc.unique(array).drop_null().to_pylist())
    if len(names) > MAX_CATEGORIES:
        problem = f"{len(names)} different texts such as '{names[0][:40]}'"
        raise InputError(f"{where}: {problem}; allowed: {MAX_CATEGORIES} categories; {advice}")
    codes = pc.index_in(array, value_set=pa.array(names, array.type))
    values = codes.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return ParsedColumn(name, values, tuple(names), note)


def _text_note(where: str, array: Any, decimal: Decimal, advice: str) -> str:
    """A note on text that looks like numbers or dates: most of it, as in 12, 12a, or all with a unit, as in 12 kg.

    Also on a text that looks like a missing value. Raises InputError if nearly all are numbers or dates.
    """
    texts = pc.unique(array).drop_null()
    for kind, expression in {"numbers": number_format.any_notation(), "dates": date_features.DATE}.items():
        share = pc.mean(pc.match_substring_regex(texts, expression)).as_py()
        if share >= MIN_MIXED_SHARE:
            return _mixed_note(where, array, kind, expression, share, decimal, advice)
    if number_format.all_match(texts, date_features.SHORT):
        return f"may hold dates: '{texts[0]}' is read as a category; data.dates replaces it by year, month and weekday"
    if text := number_format.with_unit(texts):
        return f"holds numbers with text: '{text}' is read as a category; remove the text to read it as a number"
    placeholders = texts.filter(pc.match_substring_regex(texts, PLACEHOLDER)).to_pylist()
    if placeholders and "+" not in texts.to_pylist():
        count = pc.sum(pc.equal(array, placeholders[0])).as_py()
        rows = "1 row" if count == 1 else f"{count} rows"
        return f"holds '{placeholders[0]}' in {rows}, read as a category; data.missing reads it as missing"
    return ""


def _mixed_note(where: str, array: Any, kind: str, expression: str, share: float, decimal: Decimal, advice: str) -> str:
    """A note if a part of the distinct texts are of a kind. Raises InputError if nearly all are."""
    matches = pc.match_substring_regex(array, expression)
    if share == 1:  # numbers that `number_format.parse` does not read
        matches = pc.match_substring_regex(array, number_format.pattern(decimal))
    row = max(pc.index(matches, False).as_py(), 0)
    mixture = f"'{str(array[row])[:40]}' in row {row + 1}"
    if share == 1:
        mixture += ", in a notation that is not supported or that others do not have"
    else:
        mixture += f", while {pc.sum(matches).as_py()} of {len(array) - array.null_count} values are {kind}"
    if share > MAX_MIXED_SHARE:
        allowed = f"only {kind}{' of one notation' if share == 1 else ''}; texts that are listed in data.missing"
        listed = (
            "or list the column in data.categories" if advice == EXCLUDE else "for classes, list it in data.categories"
        )
        raise InputError(f"{where}: {mixture}; allowed: {allowed}; {listed}; or {advice}")
    change = f"to read {kind}, change such cells, or list texts for missing values in data.missing"
    return f"holds {mixture}; it is read as categories; {change}"


def _first(array: Any) -> str:
    return str(array.drop_null()[0])
