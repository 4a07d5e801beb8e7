"""Numbers as they are written in texts: decimal point or comma, thousands separators, signs and units."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from models.errors import InputError
from pipelines.sources.tables.text_format import TextFormat

Decimal = Literal["point", "comma"]
MARK = {"point": ".", "comma": ","}
OTHER: dict[Decimal, Decimal] = {"point": "comma", "comma": "point"}
SPACES = " \u00a0\u202f'’"  # thousands separators besides the mark that is not the decimal one
HEAD = 1000  # rows that are tried first
EXPONENT = r"(?:e[+-]?\d+)?"
AS_CATEGORY = "data.categories reads it as a category"
MINUS = "\u2212"  # the typographic minus sign
MIN_NUMBERS = 0.5  # smallest share of numbers in the distinct texts of a column that shows the decimal mark
# What surrounds each number of a column, by kind; the sign of the number is kept.
CURRENCY = r"(?-i:\p{Sc}|EUR|CHF|PLN|CZK|HUF|RON|SEK|DKK|NOK|GBP|BGN|USD|zł|Kč|kr\.?|Ft|lei|лв\.?)"  # ft are feet
UNITS = {
    "percentages": r"()[\s\p{Zs}]*%$",
    "amounts of money": rf"^([+-]?){CURRENCY}[\s\p{{Zs}}]*|[\s\p{{Zs}}]*{CURRENCY}$",
}


class Detected(NamedTuple):
    """The decimal mark of a table, and `notes` on how it was chosen.

    It is not `certain` in a file with semicolons that has no decimal mark in any column.
    """

    decimal: Decimal
    notes: tuple[str, ...] = ()
    certain: bool = True


class Numbers(NamedTuple):
    """A text column whose values are all numbers, in Arrow's notation (1234.5), and a note on their interpretation."""

    texts: Any
    note: str


def is_text(array: Any) -> bool:
    """True if the values are of an Arrow string type."""
    return bool(pa.types.is_string(array.type) or pa.types.is_large_string(array.type))


def pattern(decimal: Decimal) -> str:
    """Regular expression of one number without thousands separators, as inf and nan are parsed by Arrow."""
    mark = rf"\{MARK[decimal]}"
    return rf"(?i)^[+-]?(?:(?:\d+{mark}?\d*|{mark}\d+){EXPONENT}|inf(?:inity)?|nan)$"


def any_notation(*decimals: Decimal) -> str:
    """Regular expression of one number with any thousands separator, sign and unit, also those that `parse` rejects."""
    return rf"(?i)^(?:{'|'.join(map(_notation, decimals or OTHER))})$"


def _notation(decimal: Decimal) -> str:
    mark = rf"\{MARK[decimal]}"
    grouped = "|".join(rf"[1-9]\d{{0,2}}(?:[{group}]\d{{3}})+" for group in (MARK[OTHER[decimal]], *SPACES))
    number = rf"(?:(?:{grouped}|\d+)(?:{mark}\d*)?|{mark}\d+){EXPONENT}"
    sign, space = rf"[+{MINUS}-]?", r"[\s\p{Zs}]*"
    return rf"\(?{sign}{CURRENCY}?{space}{sign}{number}(?:[-–—]|{space}(?:[%‰]|{CURRENCY}))?\)?"


def decimal(path: Path, columns: Mapping[str, Any], text: TextFormat | None) -> Detected:
    """The decimal mark of all text `columns`, given the format of a text file.

    Columns of which only a part are numbers count if no other column shows it, but not in a file with commas, where
    they may be lists such as 1,2 and 1,2,3. Raises InputError, with columns and values, if they disagree, or if only
    the separator of a file with semicolons suggests whether 1,234 is a fraction.
    """
    complete, partial = {}, {}
    for name, texts in columns.items():
        distinct = pc.unique(texts).drop_null()
        numbers = distinct.filter(pc.match_substring_regex(distinct, any_notation()))
        if len(numbers) == len(distinct):
            complete[name] = numbers
        elif len(numbers) >= MIN_NUMBERS * len(distinct):
            partial[name] = numbers
    votes, ambiguous = _votes(complete)
    if not votes and not (text and text.separator == ","):
        votes, other = _votes(partial)
        ambiguous = ambiguous or other
    if len(votes) == len(OTHER):
        examples = " and ".join(f"'{value}' in column '{name}'" for name, value in votes.values())
        raise InputError(f"{path}: {examples} have different decimal marks; set data.decimal to point or comma")
    if votes:
        comma = ("numbers are read with decimal commas (data.decimal)",)
        return Detected("comma", comma) if "comma" in votes else Detected("point")
    if ambiguous and text and text.separator == ";":
        problem = f"'{ambiguous[1]}' in column '{ambiguous[0]}' is a fraction or has a thousands separator"
        raise InputError(f"{path}: {problem}; set data.decimal to point or comma")
    if ambiguous and "." in ambiguous[1]:
        fraction = f"'{ambiguous[1]}' in column '{ambiguous[0]}' is read as a fraction"
        return Detected("point", (f"{fraction}; data.decimal = comma reads the point as a thousands separator",))
    return Detected("point", certain=not (text and text.separator == ";"))


def _votes(columns: Mapping[str, Any]) -> tuple[dict[Decimal, tuple[str, str]], tuple[str, str] | None]:
    """The decimal marks that columns of numbers show, and the first column that has either, with a value of each."""
    votes: dict[Decimal, tuple[str, str]] = {}
    ambiguous = None
    for name, numbers in columns.items():
        fitting: list[Decimal] = [mark for mark in OTHER if all_match(numbers, any_notation(mark))]
        marked = pc.match_substring_regex(numbers, "[.,]\\d")
        if not fitting or not pc.any(marked).as_py():
            continue
        example = name, str(numbers[pc.index(marked, True).as_py()])
        if len(fitting) == 1:
            votes.setdefault(fitting[0], example)
        else:
            ambiguous = ambiguous or example
    return votes, ambiguous


def parse(texts: Any, decimal: Decimal) -> Numbers | None:
    """The texts without units and thousands separators, if all of them are then numbers; else None.

    Only groups of three digits are thousands. Percent or currency signs are removed where every value has the same. A
    minus sign may follow the number.
    """
    original = texts.drop_null()
    unit = next((name for name, expression in UNITS.items() if all_match(original, expression)), "")
    if unit == "amounts of money" and _currency_signs(original) > 1:
        unit = ""
    texts = _signed(_without(unit, texts))
    plain = pattern(decimal)
    for group in ("", MARK[OTHER[decimal]], *SPACES):
        grouped = rf"(?i)^[+-]?[1-9]\d{{0,2}}(?:[{group}]\d{{3}})+(?:\{MARK[decimal]}\d*)?$" if group else plain
        expression = f"(?:{plain})|(?:{grouped})"
        if all_match(texts, expression):
            texts = _in_arrow_notation(texts, group, decimal)
            return Numbers(texts, _note(original, texts.drop_null(), unit, group, decimal))
    return None


def with_unit(texts: Any) -> str:
    """The first of several distinct texts that are all numbers with the same text before or after them; else empty.

    Letters directly before a number, as in A1, make it a code.
    """
    number = f"(?:{'|'.join(map(_notation, OTHER))})"
    parts = pc.extract_regex(texts, rf"(?i)^(?P<before>(?:[^\d]*[^\d\p{{L}}.,+-])?){number}(?P<after>[^\d]*)$")
    units = pc.unique(pc.binary_join_element_wise(*(pc.struct_field(parts, part) for part in ("before", "after")), " "))
    return str(texts[0]) if len(texts) > 1 == len(units) and units[0].is_valid else ""


def _signed(texts: Any) -> Any:
    """The texts with a minus sign that `pattern` allows, at the start."""
    if pc.any(pc.match_substring(texts, MINUS)).as_py():
        texts = pc.replace_substring(texts, MINUS, "-")
    if pc.any(pc.ends_with(texts, "-")).as_py():
        texts = pc.replace_substring_regex(texts, r"^(\d.*\d)-$|^(\d)-$", r"-\1\2")
    return texts


def all_match(texts: Any, expression: str) -> bool:
    """True if all texts match a regular expression; the first rows are tried before the others."""
    head = pc.all(pc.match_substring_regex(texts[:HEAD], expression), min_count=0)  # all of them may be missing
    return bool(head.as_py() and pc.all(pc.match_substring_regex(texts, expression)).as_py())


def _currency_signs(texts: Any) -> int:
    signs = pc.struct_field(pc.extract_regex(texts, rf"(?P<sign>{CURRENCY})"), "sign")
    return len(pc.unique(pc.utf8_rtrim(signs, ".")))  # kr and kr. are the same


def _without(unit: str, texts: Any) -> Any:
    return pc.replace_substring_regex(texts, UNITS[unit], r"\1") if unit else texts


def _in_arrow_notation(texts: Any, group: str, decimal: Decimal) -> Any:
    if group:
        texts = pc.replace_substring(texts, group, "")
    return texts if decimal == "point" else pc.replace_substring(texts, ",", ".")


def _note(texts: Any, numbers: Any, unit: str, group: str, decimal: Decimal) -> str:
    """The interpretation of the first text that is no plain number, given all `numbers` in Arrow's notation."""
    signs = {unit: ".", "thousands separators": group and f"[{group}]"}
    kinds = signs | {"minus signs at the end": "-$", "leading zeros": r"^[+-]?0\d", "exponents": r"(?i)^\d+e\d+$"}
    for kind, expression in kinds.items():
        row = pc.index(pc.match_substring_regex(texts, expression), True).as_py() if kind and expression else -1
        if row >= 0:
            break
    else:
        return ""
    number, other = pc.cast(numbers[row], pa.float64()).as_py(), OTHER[decimal]
    fraction = f", data.decimal = {other} as a fraction" if group and all_match(texts, pattern(other)) else ""
    change = f"{AS_CATEGORY}{fraction}"
    return f"holds {kind}: '{texts[row]}' is read as {number:.15g}; {change}"
