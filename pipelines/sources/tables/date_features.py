"""Numerical features of dates: year, month and ISO weekday."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.sources.tables.number_format import Decimal, all_match, is_text

# 14:05 with anything after it, or 14.05, 14.05.30 and 14h05; after kl. or klo in Scandinavia and Finland.
TIME = r"(?:,?(?:T| (?:klo? |kl\. ?)?)\d{1,2}:\d{2}.*|,? (?:klo? |kl\. ?)?\d{1,2}[.h]\d{2}(?:\.\d{2})?)?$"
MARK = r"(?:[-/]|\. ?)"  # a space follows the points in Czech, Slovak, Slovenian and Hungarian
AFTER_YEAR = r"\.?(?: ?г\.)?"  # a point in Croatian, Hungarian and Latvian, `г.` (year) in Bulgarian
YEAR_FIRST = rf"(?i)^(?P<year>\d{{4}}){MARK}(?P<a>\d{{1,2}}){MARK}(?P<b>\d{{1,2}}){AFTER_YEAR}{TIME}"
YEAR_LAST = rf"(?i)^(?P<a>\d{{1,2}})(?P<mark>[-/.]) ?(?P<b>\d{{1,2}}){MARK}(?P<year>\d{{4}}|\d{{2}}){AFTER_YEAR}{TIME}"
# Texts that are taken for dates without being listed: with two-digit years only 1/31/26 and 31.01.26, as 1.2.10 is a
# version, too, as is 2026.1.31.
NUMERIC = (
    r"\d{4}[-/]\d{1,2}[-/]\d{1,2}|\d{1,2}/\d{1,2}/\d{2}|\d{2}\.\d{2}\.\d{2}\.?|"
    r"(?:19|20)\d{2}\. ?(?:0[1-9]|1[0-2])\. ?(?:0[1-9]|[12]\d|3[01])\.?|"
    r"(?:19|20)\d{2}\. (?:[1-9]|1[0-2])\. (?:[1-9]|[12]\d|3[01])\.?|"
    rf"\d{{1,2}}{MARK}\d{{1,2}}{MARK}\d{{4}}{AFTER_YEAR}"
)
# How the names of the months begin in German, English, French, Italian, Spanish and Dutch.
MONTHS = (
    *("jan|jän|gen|ene", "feb|fév|fev", "mär|mrz|mar|maa", "apr|avr|abr", "mai|may|mag|mei", "jun|juin|giu"),
    *("jul|juil|lug", "aug|aoû|aou|ago", "sep|set", "okt|oct|ott", "nov", "dez|dec|déc|dic"),
)
# What stands before the year, such as 31. Januar; names in other languages only count beside a year of this century or
# the last one, as 12-AB-3456 is a code.
NAMED = r"(\d{1,2})(?:er)?[. -]+(?:de )?(?:%s)\p{L}{0,9}[. -]+(?:de )?"
NAME_FIRST = r"(?:%s)\p{L}{0,9}\.? (\d{1,2}),? (\d{4})"  # January 31, 2026
WORDED = "|".join(
    (
        NAMED % "|".join(MONTHS) + r"(?:\d{4}|\d{2})",
        NAME_FIRST % "|".join(MONTHS),
        NAMED % r"\p{L}{3}" + r"(?:19|20)\d{2}",
    )
)
WEEKDAY = r"\p{L}{2,10}\.?,? "
DATE = rf"(?i)^(?:{WEEKDAY})?(?:{NUMERIC}|{WORDED}){TIME}"
KINDS = {
    "dates": DATE,
    "months": (
        rf"(?i)^(?:(?:0?[1-9]|1[0-2]|(?:{'|'.join(MONTHS)})\p{{L}}*\.?)[ ./-](?:19|20)\d{{2}}|"
        r"(?:19|20)\d{2}[-/](?:0?[1-9]|1[0-2]))$"
    ),
    "times": r"^\d{1,3}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?(?:Uhr|h|[AP]M))?$",
}
# Months, or numbers with four decimals such as 1.2000: only reported, unless the decimal mark is a comma.
DECIMAL_MONTH = r"^(?:[1-9]|1[0-2])\.(?:19|20)\d{2}$"
# Possibly dates, or versions: only reported.
SHORT = (
    r"^(?:(?:0?[1-9]|[12]\d|3[01])\. ?(?:0?[1-9]|1[0-2])\. ?\d{2}\.?|"
    r"(?:19|20)\d{2}\.(?:0?[1-9]|1[0-2])\.(?:0?[1-9]|[12]\d|3[01]))$"
)
COMPACT = r"^(\d{4})(\d{2})(\d{2})(?:\d{4}|\d{6})?$"  # 20260131, 202601311230 and 20260131123059
PIVOT = 69  # two-digit years from it on are of the 20th century (POSIX strptime)


def kind(array: Any, decimal: Decimal | None = None) -> str:
    """`dates`, `months` or `times` if the type is temporal or all texts are of this kind; else empty.

    Months that are numbers with this `decimal` mark as well are none.
    """
    if not is_text(array):
        return "dates" if pa.types.is_temporal(array.type) else ""
    if decimal == "point" and are_decimal_months(array):
        return ""
    return next((kind for kind, expression in KINDS.items() if all_match(array, expression)), "")


def are_decimal_months(texts: Any) -> bool:
    """True if all texts are months such as 1.2026, without leading zeros, which may also be numbers."""
    return all_match(texts, DECIMAL_MONTH)


def are_compact(numbers: NDArray[np.float64]) -> bool:
    """True if all numbers are dates of the years 1900 to 2099 without separators, such as 20260131, or with a time."""
    if np.nanmin(numbers) < 19_000_101:  # nearly all columns
        return False
    for digits in (14, 12):
        numbers = np.where(numbers >= 10 ** (digits - 1), numbers // 10 ** (digits - 8), numbers)
    year, month, day = numbers // 10_000, numbers // 100 % 100, numbers % 100
    possible = (year // 100 >= 19) & (year < 2100) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    return bool((possible | np.isnan(numbers)).all() and (numbers[~np.isnan(numbers)] % 1 == 0).all())


def features(path: Path, name: str, array: Any, day_first: bool | None) -> dict[str, NDArray[np.float64]]:
    """`NAME_year`, `NAME_month` (1 to 12) and `NAME_weekday` (1 is Monday), float64 [N], NaN where the date is missing.

    Raises InputError, with column and value, for text that is not a date, dates that do not exist, and if it is
    ambiguous whether the day or the month comes first and `day_first` (`data.day_first`) is None.
    """
    where = f"{path}: column '{name}'"
    if pa.types.is_integer(array.type):
        array = pc.cast(array, pa.string())
    if not (is_text(array) or pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)):
        raise InputError(f"{where} is listed in data.dates and of type {array.type}; allowed: dates")
    dates = days(where, array, day_first)
    months = dates.astype("datetime64[M]")
    values = (
        months.astype("datetime64[Y]").astype(np.int64) + 1970,
        months.astype(np.int64) % 12 + 1,
        (dates.astype(np.int64) + 3) % 7 + 1,  # 1970-01-01 was a Thursday
    )
    missing = np.isnat(dates)
    parts = ("year", "month", "weekday")
    return {f"{name}_{part}": np.where(missing, np.nan, value) for part, value in zip(parts, values, strict=True)}


def days(where: str, array: Any, day_first: bool | None) -> NDArray[np.datetime64]:
    """The days of dates, datetime64[D] [N], NaT where missing. Raises InputError as `features`."""
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        local = pc.local_timestamp(array) if getattr(array.type, "tz", None) else array
        return np.asarray(local.cast(pa.timestamp("s"), safe=False).to_numpy(zero_copy_only=False), "datetime64[D]")
    year, month, day = _parts(where, array, day_first)
    missing = np.asarray(array.is_null(), bool)
    if len(other := np.flatnonzero(np.isnan(year) & ~missing)):
        problem = f"{where} is listed in data.dates and holds '{str(array[other[0]])[:40]}' in row {other[0] + 1}"
        allowed = "dates such as 2026-01-31, and texts for missing values that are listed in data.missing"
        raise InputError(f"{problem}; allowed: {allowed}")
    y, m, d = (np.where(missing, 1, part).astype(np.int64) for part in (year, month, day))
    months = (y - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (m - 1).astype("timedelta64[M]")
    dates: NDArray[np.datetime64] = months.astype("datetime64[D]") + (d - 1).astype("timedelta64[D]")
    valid = (m >= 1) & (m <= 12) & (d >= 1) & (dates.astype("datetime64[M]") == months)
    if not valid.all():
        row = int(valid.argmin())
        raise InputError(f"{where}, row {row + 1}: '{array[row]}'; allowed: dates that exist")
    dates[missing] = np.datetime64("NaT")
    return dates


def _parts(where: str, array: Any, day_first: bool | None) -> tuple[NDArray[np.float64], ...]:
    """Year, month and day, float64 [N], NaN where the date is missing."""
    array = _numeric(array)
    iso, other = pc.extract_regex(array, YEAR_FIRST), pc.extract_regex(array, YEAR_LAST)
    year, month, day = (_numbers(iso, group) for group in ("year", "a", "b"))
    last, a, b = (_numbers(other, group) for group in ("year", "a", "b"))
    last = np.where(last < 100, last + np.where(last >= PIVOT, 1900, 2000), last)
    dotted = np.asarray(pc.equal(pc.struct_field(other, "mark"), ".").fill_null(False), bool)
    slashed = ~np.isnan(a) & ~dotted
    first = dotted | _day_comes_first(where, array, a, b, slashed, day_first)
    is_iso = np.isnan(a)
    return (
        np.where(is_iso, year, last),
        np.where(is_iso, month, np.where(first, b, a)),
        np.where(is_iso, day, np.where(first, a, b)),
    )


def _numeric(array: Any) -> Any:
    """The dates without weekday, with the number of the month in place of its name, and compact ones in ISO 8601."""
    if pc.any(pc.match_substring_regex(array, r"^\P{L}*\p{L}|" + COMPACT)).as_py():
        array = pc.replace_substring_regex(array, COMPACT, r"\1-\2-\3")
        for number, prefixes in enumerate(MONTHS, 1):
            first = rf"(?i)^(?:{WEEKDAY})?{NAME_FIRST % prefixes}"
            array = pc.replace_substring_regex(array, first, rf"\1.{number}.\2")
        array = pc.replace_substring_regex(array, rf"^{WEEKDAY}(\d)", r"\1")
        for number, prefixes in enumerate(MONTHS, 1):
            array = pc.replace_substring_regex(array, f"(?i)^{NAMED % prefixes}", rf"\1.{number}.")
    return array


def _day_comes_first(
    where: str, array: Any, a: NDArray[Any], b: NDArray[Any], slashed: NDArray[Any], day_first: bool | None
) -> bool:
    """Order of day and month in dates such as 1/2/2026: as configured, or as the numbers above 12 require."""
    if day_first is not None or not slashed.any():
        return bool(day_first)
    day, month = bool((a[slashed] > 12).any()), bool((b[slashed] > 12).any())
    if day == month:
        row = int(slashed.argmax())
        problem = f"'{array[row]}' in row {row + 1}: the order of day and month is ambiguous"
        raise InputError(f"{where}: {problem}; set data.day_first to true or false")
    return day


def _numbers(groups: Any, name: str) -> NDArray[np.float64]:
    texts = pc.struct_field(groups, name)
    return np.asarray(pc.cast(texts, pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False), np.float64)
